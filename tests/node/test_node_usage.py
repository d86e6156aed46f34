"""What containers use: rates between two readings, and where the counters come from."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.node.cluster import Shelf, api, running, shell
from tests.node.machines import Machine

from skerry.api.metrics import Amounts
from skerry.cluster.node.cgroups import Cgroups, Limits
from skerry.cluster.node.usage import Measured, Meters, Running, UsageMeter, of_machine, of_processes
from skerry.kit.clock import SystemClock

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = 10**9


class TurnedClock(SystemClock):
    def __init__(self) -> None:
        self.moment = BEGIN

    def now(self) -> datetime:
        return self.moment


class World:
    """Containers that use what the test says."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.used: dict[Running, Measured] = {}
        self.machine: Measured | None = Measured(0, 0)
        self.meter = UsageMeter(self.clock, "skerry", lambda: list(self.used), Meters(self.used.get, self._machine))

    def _machine(self) -> Measured | None:
        return self.machine

    def start(self, container: str = "main", uid: str = "u", attempt: int = 0) -> Running:
        made = Running(uid, container, attempt, 1, self.clock.moment, "g")
        self.used[made] = Measured(0, 0)
        return made

    def later(self, seconds: float) -> None:
        self.clock.moment += timedelta(seconds=seconds)
        self.meter.read()


@pytest.fixture
def world() -> World:
    return World()


def test_a_rate_is_what_was_used_between_two_readings(world: World) -> None:
    main = world.start()
    world.later(5)
    assert world.meter.pods() == {}, "too young to say"
    world.used[main] = Measured(3 * SECOND, 100)
    world.later(15)
    found = world.meter.pods()["u"]
    assert found.containers == {"main": Amounts(SECOND // 5, 100)}
    assert (found.at, found.window) == (BEGIN + timedelta(seconds=20), timedelta(seconds=15))
    world.used[main] = Measured(3 * SECOND, 50)
    world.later(10)
    assert world.meter.pods()["u"].containers == {"main": Amounts(0, 50)}


def test_a_container_that_was_read_once_counts_from_its_start(world: World) -> None:
    main = world.start()
    world.used[main] = Measured(6 * SECOND, 1)
    world.later(12)
    found = world.meter.pods()["u"]
    assert (found.containers["main"].cpu_nanocores, found.window) == (SECOND // 2, timedelta(seconds=12))


def test_a_found_one_waits_for_its_second_reading(world: World) -> None:
    main = world.start()
    world.used[main] = Measured(500 * SECOND, 1)
    world.later(1000)
    assert world.meter.pods() == {}
    world.later(15)
    assert world.meter.pods()["u"].containers["main"].cpu_nanocores == 0


def test_a_pod_is_known_when_all_its_containers_are(world: World) -> None:
    world.start()
    world.later(12)
    side = world.start("side")
    world.later(5)
    assert world.meter.pods() == {}
    world.later(15)
    assert set(world.meter.pods()["u"].containers) == {"main", "side"}
    del world.used[side]
    world.later(15)
    assert set(world.meter.pods()["u"].containers) == {"main"}


def test_a_restart_is_another_container(world: World) -> None:
    first = world.start()
    world.used[first] = Measured(60 * SECOND, 1)
    world.later(15)
    del world.used[first]
    world.start(attempt=1)
    world.later(5)
    assert world.meter.pods() == {}, "not a rate of minus four cores"


def test_what_is_gone_is_forgotten(world: World) -> None:
    for number in range(50):
        world.used.clear()
        world.start(uid=str(number))
        world.later(15)
    assert len(world.meter.pods()) == len(world.meter._last) == len(world.meter._pairs) == 1


def test_the_machine(world: World) -> None:
    assert world.meter.node() is None
    world.later(0)
    world.machine = Measured(30 * SECOND, 4096)
    world.later(15)
    found = world.meter.node()
    assert found is not None
    assert (found[0], found[1].amounts, found[1].window) == ("skerry", Amounts(2 * SECOND, 4096), timedelta(seconds=15))
    world.machine = None
    world.later(15)
    assert world.meter.node() == found


# --- counters ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_counters_of_control_groups_of_version_2(machine: Machine) -> None:
    group = machine.mount("all", "cgroup2", "", "/d", "0:", controllers="memory cpu")
    cgroups = Cgroups.detect(machine.proc)
    cgroups.create("c", Limits())
    own = group / "skerry/c"
    (own / "cpu.stat").write_text("usage_usec 2500\nuser_usec 2000\n")
    (own / "memory.current").write_text("5000\n")
    (own / "memory.stat").write_text("anon 4000\ninactive_file 1200\n")
    assert cgroups.usage("c") == (2_500_000, 3800)
    assert cgroups.usage("gone") == (None, None)


def test_counters_of_control_groups_of_version_1(machine: Machine) -> None:
    cpu = machine.mount("cpu,cpuacct", "cgroup", "cpu,cpuacct", "/", "4:cpu,cpuacct")
    memory = machine.mount("memory", "cgroup", "memory", "/", "5:memory")
    cgroups = Cgroups.detect(machine.proc)
    cgroups.create("c", Limits())
    (cpu / "skerry/c/cpuacct.usage").write_text("77\n")
    (memory / "skerry/c/memory.usage_in_bytes").write_text("9000\n")
    (memory / "skerry/c/memory.stat").write_text("cache 1\ntotal_inactive_file 4000\n")
    assert cgroups.usage("c") == (77, 5000)


def test_no_groups_count_nothing() -> None:
    assert Cgroups([]).usage("c") == (None, None)


async def test_counters_of_processes_include_children() -> None:
    script = "import os\nheap = bytearray(30 << 20)\nprint(flush=True)\ninput()"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"{sys.executable} -c '{script}'; true", stdin=-1, stdout=-1
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            await process.stdout.readline()
        found = of_processes(process.pid)
        assert found is not None
        assert found.memory > 30 << 20
        assert found.cpu > 0
    finally:
        await process.communicate(b"\n")
    assert of_processes(process.pid) is None


def test_the_machine_is_busy_and_has_memory_in_use() -> None:
    found = of_machine()
    assert found is not None
    assert found.cpu > SECOND
    assert 0 < found.memory < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert of_machine(Path("/nonexistent")) is None


async def test_a_pod_that_works_is_seen_working(tmp_path: Path) -> None:
    """A real container that turns: after two readings it uses about what it can get."""
    async with api(tmp_path) as client, running(tmp_path, client, Shelf()) as node:
        await node.create(shell("busy", "while :; do :; done"))
        await node.until(lambda: node.container("busy") and node.container("busy").state.running)
        meter, uid = node.agent.usage, node.pod("busy").metadata.uid
        meter.read()
        async with asyncio.timeout(10):
            while uid not in meter.pods() or meter.pods()[uid].containers["main"].cpu_nanocores < SECOND // 20:
                await asyncio.sleep(0.05)
                meter.read()
        amounts = meter.pods()[uid].containers["main"]
        assert amounts.memory_bytes > 50_000
        assert amounts.cpu_nanocores < 1.5 * SECOND, "one loop on one core"
        assert meter.node() is not None
