"""What belongs to the machine: control groups in all their forms, addresses, users, capacity."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.node.machines import Machine

from skerry.cluster.node import node_object
from skerry.cluster.node.addresses import Addresses
from skerry.cluster.node.cgroups import Cgroups, Limits
from skerry.cluster.node.containers import User
from skerry.cluster.node.hardening import FIRST_POD_USER, hidden_from_others
from skerry.cluster.node.pod_users import PodUsers

LIMITS = Limits(memory=64 << 20, cpu_millis=500, cpu_request_millis=250, processes=100)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_version_two_alone(machine: Machine) -> None:
    own = machine.mount("", "cgroup2", "", "/system.slice/skerry.service", "0:", controllers="cpu io memory pids")
    (own / "cgroup.procs").write_text(str(os.getpid()))
    groups = Cgroups.detect(machine.proc)
    assert {"cpu", "memory", "pids"} == groups.controllers
    assert str(os.getpid()) == (own / "daemon/cgroup.procs").read_text(), "the daemon makes room"
    group = groups.create("pod-main-0", LIMITS)
    assert group.enforces_memory
    directory = own / "skerry/pod-main-0"
    assert (str(directory),) == group.paths
    written = {name: (directory / name).read_text() for name in ("memory.max", "cpu.max", "cpu.weight", "pids.max")}
    assert {"memory.max": "67108864", "cpu.max": "50000 100000", "cpu.weight": "10", "pids.max": "100"} == written


def test_version_two_shared_with_strangers(machine: Machine) -> None:
    own = machine.mount("", "cgroup2", "", "/user.slice/session-1.scope", "0:", controllers="memory pids")
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    groups = Cgroups.detect(machine.proc)
    assert frozenset() == groups.controllers
    assert not (own / "daemon").exists()
    group = groups.create("pod-main-0", LIMITS)
    assert not group.enforces_memory
    assert group.paths, "good for killing all the same"


def test_a_daemon_that_moved_before_finds_its_place(machine: Machine) -> None:
    own = machine.mount("", "cgroup2", "", "/skerry.service/daemon", "0:", controllers="memory")
    (own.parent / "cgroup.controllers").write_text("memory")
    (own.parent / "cgroup.subtree_control").touch()
    group = Cgroups.detect(machine.proc).create("x", LIMITS)
    assert (str(own.parent / "skerry/x"),) == group.paths
    assert group.enforces_memory


def test_hybrid(machine: Machine) -> None:
    memory = machine.mount("memory", "cgroup", "memory", "/session", "4:memory")
    machine.mount("cpu,cpuacct", "cgroup", "cpu,cpuacct", "/", "2:cpu,cpuacct")
    machine.mount("freezer", "cgroup", "freezer", "/", "3:freezer")
    unified = machine.mount("unified", "cgroup2", "", "/", "0:")
    groups = Cgroups.detect(machine.proc)
    assert {"memory", "cpu"} == groups.controllers
    group = groups.create("x", LIMITS)
    assert group.enforces_memory
    assert "67108864" == (memory / "skerry/x/memory.limit_in_bytes").read_text()
    quota = machine.root / "cgroup/cpu,cpuacct/skerry/x/cpu.cfs_quota_us"
    assert "50000" == quota.read_text()
    assert str(unified / "skerry/x") in group.paths
    groups.kill("x")
    assert "1" == (unified / "skerry/x/cgroup.kill").read_text()


def test_nothing_usable(tmp_path: Path) -> None:
    groups = Cgroups.detect(tmp_path)
    group = groups.create("x", LIMITS)
    assert ((), False) == (group.paths, group.enforces_memory)
    groups.kill("x")
    groups.remove("x")


def test_a_real_group_is_made_and_removed() -> None:
    groups = Cgroups.detect()
    name = f"test-{os.getpid()}"
    paths = [Path(path) for path in groups.create(name, LIMITS).paths]
    assert all(path.is_dir() for path in paths)
    groups.remove(name)
    assert not any(path.exists() for path in paths)


# Addresses and users


@given(st.sets(st.uuids(), max_size=60))
def test_every_pod_gets_an_address_of_its_own(uids: set[object]) -> None:
    addresses = Addresses([])
    given_out = [addresses.allocate(str(uid)) for uid in uids]
    assert len(set(given_out)) == len(uids)
    for address in given_out:
        first, second, _, last = map(int, address.split("."))
        assert first == 127
        assert 2 <= second <= 254
        assert 1 <= last <= 254


def test_addresses_are_kept_until_released() -> None:
    first = Addresses([]).allocate("a")
    again = Addresses([("other", first)])
    second = again.allocate("a")
    assert first != second, "taken by another pod that was here before"
    assert second == again.allocate("a")
    again.release("other")
    again.release("a")
    assert first == again.allocate("a")


def test_a_namespace_keeps_its_user(tmp_path: Path) -> None:
    users = PodUsers(tmp_path / "users.json", enabled=True)
    assert [User(FIRST_POD_USER, FIRST_POD_USER), User(FIRST_POD_USER + 1, FIRST_POD_USER + 1)] == [
        users.of("a"),
        users.of("b"),
    ]
    assert users.of("b") == PodUsers(tmp_path / "users.json", enabled=True).of("b")
    assert PodUsers(tmp_path / "users.json", enabled=False).of("a") is None


def test_what_others_cannot_reach_is_found(tmp_path: Path) -> None:
    open_to_all = Path("/etc/passwd")
    assert hidden_from_others(open_to_all) is None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").touch()
    hidden = hidden_from_others(closed / "python")
    assert hidden is not None
    assert (closed / "python").is_relative_to(hidden)


# The node


def test_the_machine_has_something_to_give(tmp_path: Path) -> None:
    machine = node_object.look(tmp_path, 250)
    assert machine.cpus >= 1
    assert machine.memory > 100 << 20
    resources = machine.resources()
    assert {"cpu", "memory", "ephemeral-storage", "pods"} == set(resources)
    assert resources["memory"].endswith("Ki")


def test_a_control_group_makes_the_machine_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "own"
    group.mkdir()
    (group / "memory.max").write_text("536870912\n")
    (group / "cpu.max").write_text("100000 100000\n")
    monkeypatch.setattr(node_object, "_own_groups", lambda _: [group])
    machine = node_object.look(tmp_path, 10)
    assert (1, 512 << 20) == (machine.cpus, machine.memory)
