"""Which runtime serves a model.

A model names its runtime (`select_named`), or one is found by format, version and protocol (`select_automatically`).
The rules are KServe's; what is ours is that a failure tells, for each runtime that was looked at, why it was not
taken, and what to write to have it taken.

    explicit   namespace, then cluster; must be enabled and support format, version and (if given) protocol
    automatic  every enabled single-model runtime that supports the model by an entry with `autoSelect`;
               the namespace's before the cluster's, higher priority first, then protocol rank, then newest, then name

A model without `protocolVersion` asks for `v1`. That is why MicroShift's OVMS runtime (v2, grpc-v2) is only found by a
model that says `protocolVersion: v2`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from skerry.api.serving_types import (
    ClusterServingRuntime,
    ModelSpec,
    ServingRuntime,
    ServingRuntimeSpec,
    SupportedModelFormat,
)
from skerry.operator.events import Failure, Refused, refused

DEFAULT_PROTOCOL: Final = "v1"
_PROTOCOL_RANK: Final = {"v1": 1, "v2": 2, "grpc-v1": 3, "grpc-v2": 4}
_UNKNOWN_RANK: Final = 5
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Runtime:
    """A ServingRuntime or ClusterServingRuntime, as far as selection looks."""

    name: str
    namespace: str  # "" for a cluster-scoped one
    spec: ServingRuntimeSpec
    created: datetime

    @property
    def cluster(self) -> bool:
        return not self.namespace


@dataclass(frozen=True)
class Selected:
    """The chosen runtime and the protocol that will be spoken."""

    runtime: Runtime
    protocol: str


@dataclass(frozen=True)
class Rejection:
    """Why a runtime was not taken, and what would make it taken."""

    why: str
    remedy: str = ""


def runtime_of(item: ServingRuntime | ClusterServingRuntime) -> Runtime:
    """Read a runtime object."""
    meta = item.metadata
    assert meta is not None
    return Runtime(
        name=meta.name or "",
        namespace=meta.namespace or "",
        spec=item.spec or ServingRuntimeSpec(),
        created=meta.creationTimestamp or _LONG_AGO,
    )


def select(model: ModelSpec, *, multi_node: bool, namespace: str, runtimes: Iterable[Runtime]) -> Selected:
    """Choose a runtime for the model; raises `Refused`. `runtimes` are all there are, of all namespaces."""
    everywhere = list(runtimes)
    usable = [runtime for runtime in everywhere if runtime.cluster or runtime.namespace == namespace]
    # The namespace's own come first, in both ways of choosing.
    usable.sort(key=lambda runtime: runtime.cluster)
    if model.runtime:
        chosen = _named(model, model.runtime, usable, everywhere, namespace)
    else:
        chosen = _found(model, usable, everywhere, multi_node=multi_node, namespace=namespace)
    return Selected(chosen, model.protocolVersion or _best_protocol(chosen.spec))


# --- a named runtime --------------------------------------------------------------------------------------------------


def _named(
    model: ModelSpec, name: str, usable: Sequence[Runtime], everywhere: Sequence[Runtime], namespace: str
) -> Runtime:
    runtime = next((runtime for runtime in usable if runtime.name == name), None)
    if runtime is None:
        raise _not_recognized(name, usable, everywhere, namespace)
    if runtime.spec.disabled:
        text = f"specified runtime {name} is disabled"
        raise refused(Failure.RUNTIME_DISABLED, f"{text}; set its spec.disabled to false, or name another runtime")
    wanted = model.protocolVersion
    if wanted and not _speaks(runtime.spec, wanted):
        text = f"specified runtime {name} does not support specified protocol version"
        spoken = ", ".join(runtime.spec.protocolVersions or [])
        raise refused(Failure.NO_SUPPORTING_RUNTIME, f"{text} {wanted}; it speaks {spoken}")
    rejection = _format_rejection(runtime, model, explicit=True)
    if rejection is not None:
        text = f"specified runtime {name} does not support specified framework/version: {rejection.why}"
        raise refused(Failure.NO_SUPPORTING_RUNTIME, _sentence(text, rejection.remedy))
    return runtime


def _not_recognized(name: str, usable: Sequence[Runtime], everywhere: Sequence[Runtime], namespace: str) -> Refused:
    text = f"No ServingRuntimes or ClusterServingRuntimes with the name: {name}"
    elsewhere = next((runtime for runtime in everywhere if runtime.name == name), None)
    if elsewhere is not None:
        hint = f"there is one in namespace {elsewhere.namespace}; {_copy_hint(elsewhere, namespace)}"
    elif usable:
        hint = f"namespace {namespace} can use {', '.join(sorted({runtime.name for runtime in usable}))}"
    else:
        hint = f"namespace {namespace} has no ServingRuntime yet"
    return refused(Failure.RUNTIME_NOT_RECOGNIZED, f"{text}. Waiting for runtime to become available; {hint}")


# --- a runtime to be found --------------------------------------------------------------------------------------------


def _found(
    model: ModelSpec, usable: Sequence[Runtime], everywhere: Sequence[Runtime], *, multi_node: bool, namespace: str
) -> Runtime:
    judged = [(runtime, _rejection(runtime, model, multi_node=multi_node)) for runtime in usable]
    accepted = [runtime for runtime, rejection in judged if rejection is None]
    if accepted:
        return min(accepted, key=lambda runtime: _order(runtime, model))
    rejected = [(runtime.name, rejection) for runtime, rejection in judged if rejection is not None]
    text = f"No runtime found to support specified framework/version: {_described(model)}"
    if rejected:
        text += f". Looked at {', '.join(f'{name} ({rejection.why})' for name, rejection in rejected)}"
    else:
        text += f". There is no ServingRuntime in namespace {namespace} and no ClusterServingRuntime"
    remedies = [f"{rejection.remedy} to use {name}" for name, rejection in rejected if rejection.remedy]
    if not remedies:
        remedies = [
            f"{runtime.name} in namespace {runtime.namespace} would do; {_copy_hint(runtime, namespace)}"
            for runtime in everywhere
            if runtime.namespace != namespace and _rejection(runtime, model, multi_node=multi_node) is None
        ][:1]
    raise refused(Failure.NO_SUPPORTING_RUNTIME, _sentence(text, " or ".join(remedies)))


def _rejection(runtime: Runtime, model: ModelSpec, *, multi_node: bool) -> Rejection | None:
    spec = runtime.spec
    if spec.disabled:
        return Rejection("disabled")
    if spec.multiModel:
        return Rejection("serves many models, multiModel is true")
    if (spec.workerSpec is not None) != multi_node:
        return Rejection("is for several machines" if spec.workerSpec else "is for one machine")
    rejection = _format_rejection(runtime, model, explicit=False)
    if rejection is not None:
        return rejection
    wanted = model.protocolVersion or DEFAULT_PROTOCOL
    if not _speaks(spec, wanted):
        spoken = ", ".join(spec.protocolVersions or [])
        default = "" if model.protocolVersion else ", which is assumed without protocolVersion"
        return Rejection(f"speaks {spoken}, not {wanted}{default}", f"set protocolVersion: {_best_protocol(spec)}")
    return None


def _format_rejection(runtime: Runtime, model: ModelSpec, *, explicit: bool) -> Rejection | None:
    name, version = _wanted_format(model)
    entries = [entry for entry in runtime.spec.supportedModelFormats or [] if entry.name == name]
    if not entries:
        formats = sorted({entry.name for entry in runtime.spec.supportedModelFormats or []})
        return Rejection(f"has no format {name}, only {', '.join(formats)}" if formats else "names no formats")
    auto = entries if explicit else [entry for entry in entries if entry.autoSelect]
    if any(_matches(entry, version) for entry in auto):
        return None
    if any(_matches(entry, version) for entry in entries):
        return Rejection(f"does not select itself for {name}", f"set runtime: {runtime.name}")
    versions = sorted({entry.version for entry in auto or entries if entry.version})
    had = f"version {', '.join(versions)}" if versions else "no version"
    return Rejection(f"has {name} in {had}, not {version}", "leave out modelFormat.version" if auto else "")


def _matches(entry: SupportedModelFormat, version: str | None) -> bool:
    # The texts are compared, not the numbers: "1" is not "1.2".
    return version is None or entry.version == version


def _order(runtime: Runtime, model: ModelSpec) -> tuple[bool, float, int, float, str]:
    return (
        runtime.cluster,
        -_priority(runtime.spec, _wanted_format(model)[0]),
        _rank(_best_protocol(runtime.spec) if runtime.spec.protocolVersions else ""),
        -runtime.created.timestamp(),
        runtime.name,
    )


def _priority(spec: ServingRuntimeSpec, name: str) -> float:
    # Only the first entry of the format counts, as in KServe; none at all comes last.
    first = next((entry for entry in spec.supportedModelFormats or [] if entry.name == name), None)
    return float("-inf") if first is None or first.priority is None else first.priority


# --- protocols and words ----------------------------------------------------------------------------------------------


def _rank(protocol: str) -> int:
    return _PROTOCOL_RANK.get(protocol, _UNKNOWN_RANK)


def _best_protocol(spec: ServingRuntimeSpec) -> str:
    return min(spec.protocolVersions or [DEFAULT_PROTOCOL], key=_rank)


def _speaks(spec: ServingRuntimeSpec, protocol: str) -> bool:
    return not spec.protocolVersions or protocol in spec.protocolVersions


def _wanted_format(model: ModelSpec) -> tuple[str, str | None]:
    wanted = model.modelFormat
    return (wanted.name or "", wanted.version or None) if wanted else ("", None)


def _described(model: ModelSpec) -> str:
    name, version = _wanted_format(model)
    protocol = model.protocolVersion or f"{DEFAULT_PROTOCOL} (assumed)"
    return f"format {name}{f' version {version}' if version else ''}, protocol {protocol}"


def _copy_hint(runtime: Runtime, namespace: str) -> str:
    # Of all metadata only the namespace is in the way of a copy.
    source = f"kubectl get servingruntimes -n {runtime.namespace} {runtime.name} -o yaml"
    return f"copy it with: {source} | grep -v '^  namespace:' | kubectl create -n {namespace} -f -"


def _sentence(text: str, remedy: str) -> str:
    return f"{text}; {remedy}" if remedy else text
