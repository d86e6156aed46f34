"""Requests whose tensors are raw bytes behind the JSON, as NVIDIA's client sends them, for a lane.

Their JSON has been read before (`plans`); what is left is to put the bytes of all requests behind each other, and to
cut the common answer apart. Answers are raw bytes too, or JSON, as each client asked.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import msgspec
import numpy as np

from skerry.server.batching import Part
from skerry.server.errors import ServingError
from skerry.server.http.messages import Request, Response
from skerry.server.registry import ServedVersion
from skerry.server.rest.failures import response_of
from skerry.server.rest.lanes import Taken
from skerry.server.rest.plain import PlainVersion, can_be_plain
from skerry.server.rest.plans import Plan, Plans
from skerry.server.rest.reading import HEADER_LENGTH, Encoding
from skerry.server.rest.writing import write_response
from skerry.server.tensors import DTYPES, Array, InferResponse, Tensor

_AS_BYTES: Final = b""  # in place of how an answer in JSON begins


class RawVersion:
    """How such requests to one version are read and answered."""

    def __init__(self, served: ServedVersion, plans: Plans) -> None:
        """Take only what `can_be_plain`."""
        self._plans = plans
        self._plain = PlainVersion(served)
        self._dtype = DTYPES[served.common_datatype]
        self._shapes = [spec.usual_shape for spec in served.model.inputs]
        self._tensors = [(spec.name, spec.datatype, spec.usual_shape) for spec in served.model.inputs]
        self._outputs = [spec.name for spec in served.model.outputs]
        zeros = [
            Tensor(spec.name, spec.datatype, spec.usual_shape, np.zeros(prod(spec.usual_shape), DTYPES[spec.datatype]))
            for spec in served.model.outputs
        ]
        sample = write_response(InferResponse(served.name, served.version, zeros), Encoding(all_binary=True))
        size = sum(len(tensor.values.tobytes()) for tensor in zeros if not isinstance(tensor.values, list))
        self._before = sample.body[: len(sample.body) - size]
        self._sample = sample

    def read(self, requests: Sequence[Request]) -> Taken:
        """Read requests whose JSON is known."""
        found = Taken()
        tails = []
        for place, request in enumerate(requests):
            plan = self._plans.find(request.body, request.headers[HEADER_LENGTH])
            if plan is not None and plan.tensors == self._tensors and (begin := self._begin(plan)) is not None:
                found.places.append(place)
                found.begins.append(begin)
                tails.append(request.body[plan.cuts[0].offset :])
        if not tails:
            return found
        values = np.frombuffer(b"".join(tails), self._dtype).reshape(len(tails), -1)
        found.rows = list(zip(self._columns(values), self._shapes, strict=True))
        return found

    def _columns(self, values: Array) -> list[Array]:
        """The values of each input, those of all requests behind each other."""
        if len(self._shapes) == 1:
            return [values.reshape(-1)]
        ends = np.cumsum([prod(shape) for shape in self._shapes])[:-1]
        return [np.ascontiguousarray(column).reshape(-1) for column in np.split(values, ends, axis=1)]

    def _begin(self, plan: Plan) -> bytes | None:
        """How an answer in JSON begins, or that it is none; None for what only the general way can write."""
        encoding = plan.encoding
        if encoding.id or encoding.parameters or (plan.outputs and plan.outputs != self._outputs):
            return None
        binary = sum(map(encoding.is_binary, self._outputs))
        if binary == len(self._outputs):
            return _AS_BYTES
        return None if binary else self._plain.about

    def written(self, part: Part, begins: list[bytes]) -> list[Response | None]:
        """Write what `writing.write_response` would; None where the outputs are not as usual."""
        count, results = part
        if isinstance(results, ServingError):
            return [response_of(results)]
        if all(begins):
            return self._plain.written(part, begins)
        if (arrays := self._plain.usual(count, results)) is None:
            return [None] * count
        answers: list[Any] = self._plain.written(part, begins) if any(begins) else [None] * count
        data = [array.tobytes() for array in arrays]
        sizes = [len(each) // count for each in data]
        for place, begin in enumerate(begins):
            if begin == _AS_BYTES:
                rows = [each[place * size : (place + 1) * size] for each, size in zip(data, sizes, strict=True)]
                answers[place] = msgspec.structs.replace(self._sample, body=b"".join((self._before, *rows)))
        return answers


def raw_version(served: ServedVersion, plans: Plans) -> RawVersion | None:
    """How a version's raw requests are read and answered; None if it has none."""
    return RawVersion(served, plans) if can_be_plain(served) else None
