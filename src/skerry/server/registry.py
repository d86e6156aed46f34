"""Which models are served, in which versions and states.

    START → LOADING → AVAILABLE → UNLOADING → END          (OVMS's states; a failed load stays in LOADING)

A request without a version goes to the highest version that is AVAILABLE. The server is ready when all that it was
asked for has been tried and something of it can answer: unlike OVMS, where ready means "I have tried". A broken model
beside good ones does not take them out of service; its own readiness tells the truth about it. Only the event loop's
thread changes this object; loading happens elsewhere and publishes its result here.
"""

import enum
from typing import Final

import msgspec

from skerry.server import log
from skerry.server.engines import LoadedModel, Tabular, UserCode
from skerry.server.errors import NotReady, UnknownModel
from skerry.server.execution import Execution
from skerry.server.model_metrics import VersionMetrics

_MOST_DIGITS: Final = 18


class State(enum.Enum):
    """The life of a version."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


class VersionState(msgspec.Struct, frozen=True):
    """One version as a status report shows it; the reason is empty where nothing is wrong."""

    number: int
    state: State
    reason: str


class ModelState(msgspec.Struct, frozen=True):
    """One model as a status report shows it; the reason is about the model as a whole."""

    name: str
    reason: str
    versions: list[VersionState]


class ServedVersion:
    """A version that can answer: everything that a request needs of it."""

    def __init__(
        self, name: str, number: int, model: LoadedModel, execution: Execution, metrics: VersionMetrics
    ) -> None:
        self.name = name
        self.number = number
        self.version = str(number)
        self.model = model
        self.execution = execution
        self.metrics = metrics
        self.tabular = model if isinstance(model, Tabular) else None
        self.may_run_on_loop = not isinstance(model, UserCode)
        # What every request looks at, in the shape in which it looks at it.
        self.expected = [(spec, spec.datatype, spec.usual_shape) for spec in model.inputs]
        self.every_output = range(len(model.outputs))
        kinds = {spec.datatype for spec in model.inputs}
        self.common_datatype = kinds.pop() if len(kinds) == 1 else ""


class _Model:
    """The versions of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.states: dict[int, VersionState] = {}
        self.available: dict[int, ServedVersion] = {}
        self.default: ServedVersion | None = None
        self.reason = ""

    def change(self, number: int, state: State, reason: str = "") -> None:
        new = VersionState(number, state, reason)
        if self.states.get(number) != new:
            self.states[number] = new
            log.info("STATUS CHANGE", model=self.name, version=number, state=state.value, reason=reason or "OK")

    def choose_default(self) -> None:
        self.default = self.available[max(self.available)] if self.available else None

    def why_not(self) -> str:
        """Why no version answers, if it is known: of the newest version that has a reason."""
        reasons = [self.states[number].reason for number in sorted(self.states, reverse=True)]
        reason = self.reason or next((text for text in reasons if text), "")
        return f": {reason}" if reason else ""


class Registry:
    """All models by name."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._started = False

    def declare(self, name: str) -> None:
        """Say that a model will be served; until it is, it is not ready rather than unknown."""
        self._models.setdefault(name, _Model(name))

    def loading(self, name: str, number: int) -> None:
        """A version is being loaded; one that answers meanwhile, with older files, stays AVAILABLE."""
        model = self._models[name]
        if number not in model.available:
            model.change(number, State.LOADING)

    def failed(self, name: str, number: int, reason: str) -> None:
        """A version cannot be loaded; one that answers with older files keeps its state, with the reason beside it."""
        model = self._models[name]
        model.change(number, State.AVAILABLE if number in model.available else State.LOADING, reason)

    def publish(self, version: ServedVersion) -> ServedVersion | None:
        """From now on the version answers; what answered under its number before is returned."""
        model = self._models[version.name]
        before = model.available.get(version.number)
        model.available[version.number] = version
        model.choose_default()
        model.change(version.number, State.AVAILABLE)
        return before

    def retire(self, name: str, number: int) -> ServedVersion:
        """From now on the version gets no new requests."""
        model = self._models[name]
        retired = model.available.pop(number)
        model.choose_default()
        model.change(number, State.UNLOADING)
        return retired

    def ended(self, name: str, number: int) -> bool:
        """The last request of a retired version is answered; return whether nothing answers in its place."""
        model = self._models.get(name)
        if model is None:
            return True
        if model.states.get(number) == VersionState(number, State.UNLOADING, ""):
            model.change(number, State.END)
        return number not in model.available

    def forget_version(self, name: str, number: int) -> None:
        """A version that is not there any more and did not answer."""
        self._models[name].states.pop(number, None)

    def forget(self, name: str) -> None:
        """The model is not to be served any more."""
        self._models.pop(name, None)

    def settled(self, name: str, reason: str = "") -> None:
        """Every version that was to be tried has been; `reason` says why there is none to try."""
        self._models[name].reason = reason

    def ready(self) -> bool:
        """Whether all that was asked for has been tried, and something of it can answer."""
        # Models that are added later change nothing: a server in service stays there while they load.
        models = self._models.values()
        return self._started and (any(model.default is not None for model in models) or not models)

    def started(self) -> None:
        """Every model that the start asked for has been tried."""
        self._started = True

    def names(self) -> list[str]:
        """The models that are served or should be."""
        return list(self._models)

    def state(self) -> list[ModelState]:
        """Everything, for status reports."""
        return [
            ModelState(model.name, model.reason, [model.states[number] for number in sorted(model.states)])
            for model in self._models.values()
        ]

    def versions(self, name: str) -> list[str]:
        """The versions that can answer, lowest first."""
        return [str(number) for number in sorted(self._model(name).available)]

    def find(self, name: str, version: str = "") -> ServedVersion:
        """Return what answers for this name and version; raises `UnknownModel` or `NotReady`."""
        model = self._model(name)
        if not version:
            if model.default is None:
                raise NotReady(f"Model with requested name is not ready: {name}{model.why_not()}")
            return model.default
        if not (version.isascii() and version.isdigit() and len(version) <= _MOST_DIGITS):
            raise UnknownModel(f"invalid model version format in request: {version[:40]!r} is no positive number")
        number = int(version)
        if number in model.available:
            return model.available[number]
        if (found := model.states.get(number)) is not None:
            if found.state in {State.UNLOADING, State.END}:
                raise UnknownModel(f"Model with requested version is retired: {name} version {version}")
            why = f": {found.reason}" if found.reason else ""
            raise NotReady(f"Model with requested version is not loaded yet: {name} version {version}{why}")
        raise UnknownModel(f"Model with requested version is not found: {name} version {version}")

    def _model(self, name: str) -> _Model:
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModel(f"Model with requested name is not found: {name}") from None
