"""The text of /metrics, against OVMS's own."""

import pytest

from skerry.server.errors import StartError
from skerry.server.metrics import BUCKETS, Family, Histogram
from skerry.server.model_metrics import ServerMetrics, VersionMetrics

# The bounds that OVMS prints.
OVMS_BUCKETS = """10 18 32 58 104 188 340 612 1101 1983 3570 6426 11568 20822 37481 67466 121439 218591 393464
708235 1274823 2294682 4130428 7434771 13382588 24088659 43359586 78047255
140485060 252873108 455171596 819308872 1474755971"""

WALKTHROUGH = """\
# HELP ovms_requests_success Number of successful requests to a model or a DAG.
# TYPE ovms_requests_success counter
ovms_requests_success{api="KServe",interface="gRPC",method="ModelInfer",name="ovms-resnet50",version="1"} 0
ovms_requests_success{api="KServe",interface="gRPC",method="ModelMetadata",name="ovms-resnet50",version="1"} 0
ovms_requests_success{api="KServe",interface="gRPC",method="ModelReady",name="ovms-resnet50"} 0
ovms_requests_success{api="KServe",interface="REST",method="ModelInfer",name="ovms-resnet50",version="1"} 0
ovms_requests_success{api="KServe",interface="REST",method="ModelMetadata",name="ovms-resnet50",version="1"} 1
ovms_requests_success{api="KServe",interface="REST",method="ModelReady",name="ovms-resnet50"} 4
"""


def test_buckets_are_those_of_ovms() -> None:
    assert " ".join(map(str, BUCKETS)) == " ".join(OVMS_BUCKETS.split())


def test_the_walkthroughs_lines() -> None:
    server = ServerMetrics(["ovms_requests_success"])
    model = VersionMetrics(server, "ovms-resnet50", "1")
    model.success["REST", "ModelReady"].value = 4
    model.success["REST", "ModelMetadata"].value = 1
    assert server.text() == WALKTHROUGH


def test_a_histogram_counts_what_is_at_most_its_bound() -> None:
    family = Family("h", "histogram", "Help.")
    histogram = family.series(Histogram, {"name": "n"})
    for microseconds in (10, 11, 18, 5_000_000_000):
        histogram.observe(microseconds / 1e6)
    lines = list(family.lines())
    assert lines[0] == "# HELP h Help.\n# TYPE h histogram"
    assert lines[1:5] == [
        'h_count{name="n"} 4',
        'h_sum{name="n"} 5000000039',
        'h_bucket{name="n",le="10"} 1',
        'h_bucket{name="n",le="18"} 3',
    ]
    assert lines[-2:] == ['h_bucket{name="n",le="1474755971"} 3', 'h_bucket{name="n",le="+Inf"} 4']


def test_the_default_set_and_the_full_one() -> None:
    default = ServerMetrics()
    VersionMetrics(default, "m", "1")
    families = {line.split()[2] for line in default.text().splitlines() if line.startswith("# TYPE")}
    assert families == {
        "ovms_requests_success",
        "ovms_requests_fail",
        "ovms_request_time_us",
        "ovms_inference_time_us",
        "ovms_wait_for_infer_req_time_us",
        "ovms_streams",
        "ovms_current_requests",
        "skerry_model_load_time_us",
        "skerry_model_memory_bytes",
        "skerry_waiting_requests",
    }
    chosen = ServerMetrics(["ovms_infer_req_queue_size", "ovms_current_graphs"])
    VersionMetrics(chosen, "m", "1")
    assert [line for line in chosen.text().splitlines() if not line.startswith("#")] == [
        'ovms_infer_req_queue_size{name="m",version="1"} 0'
    ]


def test_an_unknown_name_is_fatal() -> None:
    with pytest.raises(StartError, match="Invalid name in metrics_list: ovms_wrong"):
        ServerMetrics(["ovms_streams", "ovms_wrong"])


def test_names_are_escaped() -> None:
    server = ServerMetrics(["ovms_streams"])
    VersionMetrics(server, 'a"b\\c', "1")
    assert 'ovms_streams{name="a\\"b\\\\c",version="1"} 0' in server.text()
