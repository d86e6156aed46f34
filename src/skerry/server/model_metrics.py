"""The metrics of OVMS: families, help texts, labels, and what is counted when.

All series of a version exist with 0 from the moment it is loaded, so that a dashboard is never empty. `ModelReady`
has no `version` label. Request time is observed for successful inferences only; a request that cannot be parsed
counts as failed when its model exists; unknown models count nowhere.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from skerry.server.errors import StartError
from skerry.server.metrics import Counter, Family, Gauge, Histogram, SizeHistogram, exposition

Interface: TypeAlias = Literal["REST", "gRPC"]
Method: TypeAlias = Literal["ModelInfer", "ModelMetadata", "ModelReady"]
_INTERFACES: Final[tuple[Interface, ...]] = ("gRPC", "REST")
_METHODS: Final[tuple[Method, ...]] = ("ModelInfer", "ModelMetadata", "ModelReady")

_FAMILIES: Final = (
    ("ovms_requests_success", "counter", "Number of successful requests to a model or a DAG."),
    ("ovms_requests_fail", "counter", "Number of failed requests to a model or a DAG."),
    ("ovms_request_time_us", "histogram", "Processing time of requests to a model or a DAG."),
    ("ovms_streams", "gauge", "Number of OpenVINO execution streams."),
    ("ovms_inference_time_us", "histogram", "Inference execution time in the OpenVINO backend."),
    ("ovms_wait_for_infer_req_time_us", "histogram", "Request waiting time in the scheduling queue."),
    ("ovms_current_requests", "gauge", "Number of inference requests currently in process."),
    ("ovms_infer_req_queue_size", "gauge", "Inference request queue size (nireq)."),
    (
        "ovms_infer_req_active",
        "gauge",
        "Number of currently consumed inference request from the processing queue.",
    ),
    # Ours.
    ("skerry_model_load_time_us", "gauge", "Time from the files of a version to its first answer."),
    ("skerry_model_memory_bytes", "gauge", "Resident memory that the process gained while the version was loaded."),
    ("skerry_waiting_requests", "gauge", "Number of inference requests that wait for a slot of the model."),
    # Ours, for models whose requests are merged.
    ("skerry_batch_size", "histogram", "Rows in one call of the engine."),
    ("skerry_queue_time_us", "histogram", "Time a request waited for others and for its turn."),
    # Ours, where requests are traced.
    ("skerry_trace_spans_dropped", "counter", "Spans that the collector of traces did not take."),
)
_ONLY_ON_REQUEST: Final = frozenset({"ovms_infer_req_queue_size", "ovms_infer_req_active"})
# Families of OVMS's graphs: their names are valid in --metrics_list, and this server never has a series for them.
_GRAPH_FAMILIES: Final = frozenset(
    {
        "ovms_current_graphs",
        "ovms_requests_accepted",
        "ovms_requests_rejected",
        "ovms_responses",
        "ovms_graph_error",
        "ovms_graph_processing_time_us",
    }
)


class ServerMetrics:
    """The families of the process."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names` is `--metrics_list`; without it the default set is shown."""
        every = {name: Family(name, kind, text) for name, kind, text in _FAMILIES}
        if wrong := set(names) - set(every) - _GRAPH_FAMILIES:
            raise StartError(f"Invalid name in metrics_list: {', '.join(sorted(wrong))}")
        shown = set(names) or set(every) - _ONLY_ON_REQUEST
        self._every = every
        self._shown = {name: family for name, family in every.items() if name in shown}

    def family(self, name: str) -> Family:
        return self._every[name]

    def text(self) -> str:
        return exposition(self._shown)


class VersionMetrics:
    """What is counted for one version of a model."""

    def __init__(self, server: ServerMetrics, name: str, version: str) -> None:
        labels = {"name": name, "version": version}
        self._server = server
        self._labels = labels

        def outcomes(family: str) -> dict[tuple[Interface, Method], Counter]:
            return {
                (interface, method): server.family(family).series(
                    Counter,
                    {"api": "KServe", "interface": interface, "method": method, "name": name}
                    | ({} if method == "ModelReady" else {"version": version}),
                )
                for interface in _INTERFACES
                for method in _METHODS
            }

        self.success = outcomes("ovms_requests_success")
        self.fail = outcomes("ovms_requests_fail")
        times = server.family("ovms_request_time_us")
        # What every successful inference counts in, found in one step.
        self.inferred = {
            interface: (
                self.success[interface, "ModelInfer"],
                times.series(Histogram, {"interface": interface} | labels),
            )
            for interface in _INTERFACES
        }
        self.inference_time = server.family("ovms_inference_time_us").series(Histogram, labels)
        self.wait_time = server.family("ovms_wait_for_infer_req_time_us").series(Histogram, labels)
        self.streams = server.family("ovms_streams").series(Counter, labels)
        self.current_requests = server.family("ovms_current_requests").series(Counter, labels)
        self.queue_size = server.family("ovms_infer_req_queue_size").series(Counter, labels)
        self.active = server.family("ovms_infer_req_active").series(Counter, labels)
        self.load_time = server.family("skerry_model_load_time_us").series(Counter, labels)
        self.memory = server.family("skerry_model_memory_bytes").series(Counter, labels)
        self.waiting = server.family("skerry_waiting_requests").series(Gauge, labels)

    def merging(self) -> tuple[SizeHistogram, Histogram]:
        """The sizes of batches, and the time that requests waited in them; only where requests are merged."""
        return (
            self._server.family("skerry_batch_size").series(SizeHistogram, self._labels),
            self._server.family("skerry_queue_time_us").series(Histogram, self._labels),
        )
