"""Which route takes a request, and which pod of it."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from skerry.cluster.gateway.balance import Target, picker
from skerry.cluster.gateway.endpoint import Endpoint as Live
from skerry.cluster.gateway.endpoint import Registry
from skerry.cluster.gateway.routing import Compiler, RouteMap
from skerry.cluster.gateway.table import Balance, Endpoint, Route, Service, ServicePort, Share, Table, decode, encode

SHARE = (Share((Endpoint("127.0.0.1", 1000),)),)


def compiled(*routes: Route, services: Sequence[Service] = ()) -> RouteMap:
    return Compiler(Registry(), random.Random(1)).compile(Table(routes, tuple(services)))


def found(routes: RouteMap, url: str, *, local: bool = True, own_port: int = 8080) -> str | None:
    host, slash, path = url.partition("/")
    route = routes.find(host.encode(), (slash + path or "/").encode(), local=local, own_port=own_port)
    return None if route is None else route.rule.name


ROUTES = compiled(
    Route("n/plain", "a.example", services=SHARE),
    Route("n/api", "a.example", path="/api", services=SHARE),
    Route("n/v2", "a.example", path="/api/v2", services=SHARE),
    Route("n/tail", "a.example", path="/tail/", services=SHARE),
    Route("n/only-path", "b.example", path="/only", services=SHARE),
    Route("n/root", "c.example", path="/", services=SHARE),
    Route("n/wild", "any.w.example", subdomains=True, services=SHARE),
    Route("n/exact", "exact.w.example", services=SHARE),
    Route("n/exact-path", "path.w.example", path="/x", services=SHARE),
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("a.example", "n/plain"),
        ("a.example:8080/x", "n/plain"),
        ("a.example./x", "n/plain"),
        ("a.example/api", "n/api"),
        ("a.example/api/", "n/api"),
        ("a.example/api/v1", "n/api"),
        ("a.example/api/v2", "n/v2"),
        ("a.example/api/v2/models", "n/v2"),
        ("a.example/api/v22", "n/api"),
        ("a.example/apis", "n/plain"),
        ("a.example/API", "n/plain"),
        ("a.example/tail", "n/plain"),
        ("a.example/tail/", "n/tail"),
        ("a.example/tail/x", "n/tail"),
        ("b.example/only/x", "n/only-path"),
        ("b.example/", None),
        ("c.example/", "n/root"),
        ("c.example/x", "n/root"),
        ("x.a.example", None),
        ("foo.w.example/x", "n/wild"),
        ("exact.w.example", "n/exact"),
        ("path.w.example/x", "n/exact-path"),
        ("path.w.example/y", "n/wild"),
        ("two.levels.w.example", None),
        ("w.example", None),
        ("[::1]:8080", None),
        ("", None),
    ],
)
def test_host_and_longest_path_choose_the_route(url: str, name: str | None) -> None:
    assert found(ROUTES, url) == name


@pytest.mark.parametrize(
    ("termination", "insecure", "outcome"),
    [
        ("", "None", "serve"),
        ("edge", "None", "refuse"),
        ("edge", "Allow", "serve"),
        ("edge", "Redirect", "redirect"),
        ("reencrypt", "None", "refuse"),
        ("reencrypt", "Redirect", "redirect"),
        ("passthrough", "None", "refuse"),
        ("passthrough", "Redirect", "redirect"),
    ],
)
def test_plain_http_follows_the_insecure_policy(termination: str, insecure: str, outcome: str) -> None:
    rule = Route("n/r", "h", termination=termination, insecure=insecure, services=SHARE)  # type: ignore[arg-type]
    route = compiled(rule).find(b"h", b"/", local=False, own_port=80)
    assert ("refuse" if route is None else "redirect" if route.redirect else "serve") == outcome


SERVICES = compiled(
    services=[
        Service("ai-demo", "m", (ServicePort(80, (Endpoint("127.0.0.1", 8888),)),)),
        Service("ai-demo", "two", (ServicePort(80, (Endpoint("127.0.0.1", 8888),)), ServicePort(9000, ()))),
        Service("ai-demo", "odd", (ServicePort(7000, (Endpoint("127.0.0.1", 7001),)),)),
    ]
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("m.ai-demo.svc", "ai-demo/m:80"),
        ("m.ai-demo.svc.cluster.local", "ai-demo/m:80"),
        ("m.ai-demo.svc.cluster.local:80", "ai-demo/m:80"),
        ("m.ai-demo.svc.cluster.local:8888/v2", "ai-demo/m:80"),
        ("m.ai-demo.svc:8080", "ai-demo/m:80"),
        ("m.ai-demo.svc:8081", None),
        ("two.ai-demo.svc:9000", "ai-demo/two:9000"),
        ("odd.ai-demo.svc:7000", "ai-demo/odd:7000"),
        ("odd.ai-demo.svc:7001", "ai-demo/odd:7000"),
        ("odd.ai-demo.svc", "ai-demo/odd:7000"),
        ("none.ai-demo.svc", None),
        ("m.ai-demo", None),
        ("svc", None),
    ],
)
def test_local_clients_reach_services_by_name(url: str, name: str | None) -> None:
    assert found(SERVICES, url) == name
    assert found(SERVICES, url, local=False) is None


def targets(*weights: float) -> list[Target]:
    return [Target(Live("127.0.0.1", number), weight, b"") for number, weight in enumerate(weights)]


def picks(algorithm: Balance, chosen: list[Target], count: int) -> Counter[int]:
    pick = picker(algorithm, chosen, random.Random(3))
    ports: Counter[int] = Counter()
    for number in range(count):
        target = pick(f"10.0.{number // 250}.{number % 250}", ())
        assert target is not None
        ports[target.endpoint.port] += 1
    return ports


@pytest.mark.parametrize("algorithm", ["random", "roundrobin", "source"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (100.0, 50.0, 50.0), (3.0, 1.0), (0.0, 1.0, 1.0)])
def test_shares_follow_the_weights(algorithm: Balance, weights: tuple[float, ...]) -> None:
    count = 4000
    ports = picks(algorithm, targets(*weights), count)
    for number, weight in enumerate(weights):
        assert ports[number] / count == pytest.approx(weight / sum(weights), abs=0.05)


def test_round_robin_takes_exact_turns() -> None:
    assert picks("roundrobin", targets(1 / 3, 1 / 3, 1 / 3), 300) == {0: 100, 1: 100, 2: 100}


def test_the_least_busy_is_chosen_for_its_weight() -> None:
    chosen = targets(1.0, 1.0, 2.0)
    pick = picker("leastconn", chosen, random.Random(3))
    for _ in range(40):
        target = pick("10.0.0.1", ())
        assert target is not None
        target.endpoint.active += 1
    assert [target.endpoint.active for target in chosen] == [10, 10, 20]


def test_random_avoids_the_busier_of_two() -> None:
    chosen = targets(1.0, 1.0)
    chosen[0].endpoint.active = 5
    assert picks("random", chosen, 1000)[1] > 650


def test_a_source_stays_when_another_pod_goes() -> None:
    chosen = targets(1.0, 1.0, 1.0, 1.0)
    before, after = picker("source", chosen, random.Random(1)), picker("source", chosen[1:], random.Random(1))
    for number in range(200):
        first, second = before(f"10.0.0.{number}", ()), after(f"10.0.0.{number}", ())
        assert first is not None
        assert second is first or first is chosen[0]


@pytest.mark.parametrize("algorithm", ["random", "roundrobin", "leastconn", "source"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_was_tried_is_not_chosen_again(algorithm: Balance, count: int) -> None:
    pick = picker(algorithm, targets(*[1.0] * count), random.Random(1))
    tried: list[Live] = []
    while (target := pick("10.0.0.1", tried)) is not None:
        assert target.endpoint not in tried
        tried.append(target.endpoint)
    assert len(tried) == count


def test_services_share_by_weight_whatever_their_pods_number() -> None:
    many = Share(tuple(Endpoint("127.0.0.1", 1 + number) for number in range(9)), 50)
    one = Share((Endpoint("127.0.0.1", 100),), 50)
    route = compiled(Route("n/r", "h", services=(many, one), balance="roundrobin")).find(
        b"h", b"/", local=False, own_port=1
    )
    assert route is not None
    ports = Counter(target.endpoint.port for _ in range(1800) if (target := route.pick("x", ())))
    assert ports[100] == 900
    assert set(ports.values()) == {900, 100}


class TestCompiler:
    """What a new table changes, and what it leaves alone."""

    def test_an_unchanged_route_lives_on(self) -> None:
        compiler = Compiler(Registry(), random.Random(1))
        same, gone = Route("n/same", "a", services=SHARE), Route("n/gone", "b", services=SHARE)
        first = compiler.compile(Table((same, gone))).hosts[b"a"][0]
        second = compiler.compile(Table((same,))).hosts[b"a"][0]
        assert second is first
        assert set(compiler.tallies) == {"n/same"}

    def test_counts_survive_a_change_of_the_route(self) -> None:
        compiler = Compiler(Registry(), random.Random(1))
        first = compiler.compile(Table((Route("n/r", "a", services=SHARE),))).hosts[b"a"][0]
        second = compiler.compile(Table((Route("n/r", "a"),))).hosts[b"a"][0]
        assert second.tally is first.tally
        assert second.pick("x", ()) is None

    def test_endpoints_are_shared_and_retired_when_nobody_names_them(self) -> None:
        compiler = Compiler(Registry(), random.Random(1))
        table = Table((Route("n/a", "a", services=SHARE), Route("n/b", "b", services=SHARE)))
        routes = compiler.compile(table)
        endpoint = routes.hosts[b"a"][0].targets[0].endpoint
        assert routes.hosts[b"b"][0].targets[0].endpoint is endpoint
        compiler.compile(Table(table.routes[:1]))
        assert not endpoint.retired
        compiler.compile(Table())
        assert endpoint.retired


def test_the_table_survives_its_file() -> None:
    table = Table(
        (Route("n/r", "h", path="/p", services=SHARE, cookie="c", timeout=0.5, forwarded="never", balance="source"),),
        (Service("n", "s", (ServicePort(80, (Endpoint("127.0.0.1", 1),)),)),),
    )
    assert decode(encode(table)) == table


def test_a_table_of_a_newer_daemon_is_read() -> None:
    assert decode(b'{"routes": [{"name": "n/r", "host": "h", "colour": "red"}], "version": 9}').routes[0].host == "h"
