"""`/metrics`: Kubernetes' names and labels in Prometheus' text format, so that its dashboards and alerts fit.

Counting a request is one look-up in a dictionary and two additions; everything else happens when somebody asks. What is
counted for each kind of request appears with the first one of that kind; everything else is there from the start.

Facts: k8s.io/apiserver `pkg/endpoints/metrics`, `pkg/storage/etcd3/metrics`.
"""

import os
import resource
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from skerry.api.registry import Registry
from skerry.cluster.apiserver.documents import version
from skerry.cluster.apiserver.replies import Reply
from skerry.cluster.apiserver.request_info import RequestInfo
from skerry.cluster.store import Store

_BOUNDS: Final = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope", "dry_run")

Sample = tuple[str, Mapping[str, str], float]  # suffix of the name, labels, value


class Series:
    """What is counted of requests with the same labels."""

    __slots__ = ("buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0


class ApiMetrics:
    """The counts of one API server."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._requests: dict[RequestInfo, Series] = {}
        self.long_running: dict[RequestInfo, int] = {}
        self.in_flight = {"mutating": 0, "readOnly": 0}
        self.rejected = {"mutating": 0, "readOnly": 0, "watch": 0}
        self.terminated = 0
        self.watch_events: defaultdict[tuple[str, str, str], int] = defaultdict(int)  # kinds come and go
        self.watch_events |= {(kind.group, kind.version, kind.kind): 0 for kind in registry if "watch" in kind.verbs}

    def count(self, info: RequestInfo, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        series = self._requests.get(info)
        if series is None:
            series = self._requests[info] = Series()
        series.codes[code] = series.codes.get(code, 0) + 1
        series.buckets[bisect_left(_BOUNDS, seconds)] += 1
        series.seconds += seconds

    def reply(self) -> Reply:
        """Answer `/metrics`."""
        return Reply(200, "".join(self._lines()).encode(), _TEXT)

    def _lines(self) -> Iterator[str]:
        for name, kind, text, samples in self._families():
            yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
            for suffix, labels, value in samples:
                quoted = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                yield f"{name}{suffix}{{{quoted}}} {value:.16g}\n" if quoted else f"{name}{suffix} {value:.16g}\n"

    def _families(self) -> Iterator[tuple[str, str, str, Iterable[Sample]]]:
        yield "apiserver_request_total", "counter", "Requests that were answered.", self._totals()
        yield "apiserver_request_duration_seconds", "histogram", "Time until the answer was sent.", self._durations()
        in_flight = _each("request_kind", self.in_flight)
        yield "apiserver_current_inflight_requests", "gauge", "Requests that are being served.", in_flight
        rejected = _each("request_kind", self.rejected)
        yield "apiserver_dropped_requests_total", "counter", "Requests refused with 429.", rejected
        terminated: list[Sample] = [("", {"component": "apiserver"}, self.terminated)]
        yield "apiserver_request_terminations_total", "counter", "Requests ended by their time limit.", terminated
        yield "apiserver_longrunning_requests", "gauge", "Watches and streams that are open.", self._long()
        yield "apiserver_watch_events_total", "counter", "Events sent to watchers.", self._events()
        yield "apiserver_storage_objects", "gauge", "Objects that are stored.", self._objects()
        size: list[Sample] = [("", {"storage_cluster_id": "etcd-0"}, self._store.size())]
        yield "apiserver_storage_size_bytes", "gauge", "Size of the database file.", size
        facts = version()
        build: list[Sample] = [("", {"git_version": facts["gitVersion"], "platform": facts["platform"]}, 1)]
        yield "kubernetes_build_info", "gauge", "What serves this.", build
        for name, kind, text, value in _process():
            yield name, kind, text, [("", {}, value)]

    def _totals(self) -> Iterator[Sample]:
        for info, series in self._requests.items():
            for code, count in series.codes.items():
                yield "", {**_labels(info), "code": str(code)}, count

    def _durations(self) -> Iterator[Sample]:
        for info, series in self._requests.items():
            if info.long_running:
                continue  # how long a client watches says nothing
            labels, total = _labels(info), 0
            for bound, count in zip((*map(_number, _BOUNDS), "+Inf"), series.buckets, strict=True):
                total += count
                yield "_bucket", {**labels, "le": bound}, total
            yield "_sum", labels, series.seconds
            yield "_count", labels, total

    def _long(self) -> Iterator[Sample]:
        for info, count in self.long_running.items():
            labels = _labels(info)
            del labels["dry_run"]
            yield "", labels, count

    def _events(self) -> Iterator[Sample]:
        for (group, version_, kind), count in self.watch_events.items():
            yield "", {"group": group, "version": version_, "kind": kind}, count

    def _objects(self) -> Iterator[Sample]:
        counts = self._store.counts()
        for kind in self._registry:
            if kind.stored_as is None:
                yield "", {"resource": kind.group_resource}, counts.get(kind.storage_key, 0)


def _labels(info: RequestInfo) -> dict[str, str]:
    return {**{name: getattr(info, name) for name in _LABELS}, "component": "apiserver"}


def _each(label: str, values: Mapping[str, int]) -> list[Sample]:
    return [("", {label: name}, value) for name, value in values.items()]


def _number(value: float) -> str:
    return f"{value:g}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _process() -> Iterator[tuple[str, str, str, float]]:
    """Read what the kernel knows of this process."""
    # The name of the program stands in brackets and may hold spaces.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    running = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / tick
    yield "process_cpu_seconds_total", "counter", "Processor time.", (int(fields[11]) + int(fields[12])) / tick
    yield "process_resident_memory_bytes", "gauge", "Resident memory.", int(fields[21]) * page
    yield "process_virtual_memory_bytes", "gauge", "Virtual memory.", int(fields[20])
    yield "process_start_time_seconds", "gauge", "When the process began.", time.time() - running
    yield "process_open_fds", "gauge", "Open files.", sum(1 for _ in Path("/proc/self/fd").iterdir())
    yield "process_max_fds", "gauge", "How many may be open.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
