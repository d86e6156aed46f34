"""/metrics: the text is read by a parser of its own, counts are what was done, and the page documents every name."""

import re
from pathlib import Path

import httpx2

PAGE = Path(__file__).parents[2] / "docs/reference/metrics-api-server.md"
MAPS = "/api/v1/namespaces/a/configmaps"
SAMPLE = re.compile(r'([a-z_:]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(http: httpx2.AsyncClient) -> Samples:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: Samples = {}
    families: dict[str, str] = {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in families
            families[name] = kind
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            key = (name, frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or "")))
            assert key not in found
            found[key] = float(value)
            assert name in families or re.sub(r"_(bucket|sum|count)$", "", name) in families
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """Add up the samples with these labels, whatever others they have."""
    return sum(number for (one, with_), number in found.items() if one == name and labels.items() <= set(with_))


async def test_what_is_done_is_counted(http: httpx2.AsyncClient) -> None:
    before = await samples(http)
    await http.post(MAPS, json={"metadata": {"name": "x"}})
    await http.post(MAPS, json={"metadata": {"name": "x"}})
    await http.get(f"{MAPS}/x")
    await http.get("/api/v1/configmaps")
    await http.patch(f"{MAPS}/x?dryRun=All", content="{}", headers={"content-type": "application/merge-patch+json"})
    watched = await http.get(MAPS, params={"watch": "1", "timeoutSeconds": "1"})
    assert watched.text.count("\n") == 1
    after = await samples(http)

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    maps = {"resource": "configmaps", "group": "", "version": "v1", "component": "apiserver"}
    total, seconds = "apiserver_request_total", "apiserver_request_duration_seconds"
    assert grew(total, verb="POST", code="201", scope="namespace", **maps) == 1
    assert grew(total, verb="POST", code="409", scope="namespace", **maps) == 1
    assert grew(total, verb="GET", code="200", scope="resource", **maps) == 1
    assert grew(total, verb="LIST", code="200", scope="cluster", **maps) == 1
    assert grew(total, verb="PATCH", code="200", dry_run="All", **maps) == 1
    assert grew(total, verb="WATCH", code="200", **maps) == 1
    assert grew(f"{seconds}_count", verb="POST", **maps) == 2
    assert grew(f"{seconds}_bucket", verb="POST", le="+Inf", **maps) == 2
    assert grew(f"{seconds}_sum", verb="POST", **maps) > 0
    assert not grew(f"{seconds}_count", verb="WATCH")
    assert grew("apiserver_watch_events_total", kind="ConfigMap") == 1
    assert grew("apiserver_storage_objects", resource="configmaps") == 1
    assert value(after, "apiserver_longrunning_requests") == 0
    async with http.stream("GET", MAPS, params={"watch": "1"}):
        watching = await samples(http)
    assert value(watching, "apiserver_longrunning_requests", verb="WATCH", resource="configmaps") == 1


async def test_what_nobody_did_yet_is_zero(http: httpx2.AsyncClient) -> None:
    found = await samples(http)
    names = {name for name, _ in found}
    for zero in ("apiserver_current_inflight_requests", "apiserver_dropped_requests_total"):
        assert {number for (name, _), number in found.items() if name == zero} == {0}
    assert "apiserver_request_terminations_total" in names
    deployments = {("group", "apps"), ("version", "v1"), ("kind", "Deployment")}
    assert ("apiserver_watch_events_total", frozenset(deployments)) in found
    assert ("apiserver_storage_objects", frozenset({("resource", "deployments.apps")})) in found
    assert value(found, "apiserver_storage_size_bytes") > 4096
    assert value(found, "process_resident_memory_bytes") > 1 << 20
    assert value(found, "process_open_fds") > 3


async def test_paths_that_are_not_served_do_not_become_labels(http: httpx2.AsyncClient) -> None:
    for number in range(5):
        await http.get(f"/nope/{number}")
    found = await samples(http)
    assert value(found, "apiserver_request_total", code="404", subresource="") == 5
    assert not [labels for _, labels in found if "nope" in str(labels)]


async def test_every_metric_is_documented_and_every_documented_one_is_there(http: httpx2.AsyncClient) -> None:
    served = {line.split()[2] for line in (await http.get("/metrics")).text.splitlines() if line.startswith("# TYPE")}
    documented = set(re.findall(r"^\| `([a-z_]+)`", PAGE.read_text().partition("## Metrics")[2], re.MULTILINE))
    assert served == documented
