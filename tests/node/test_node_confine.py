"""Mounts and privileges as a container sees them, made by root and in a user namespace, and never seen by the host."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.node.bench import Bench

from skerry.cluster.node import hardening
from skerry.cluster.node.cgroups import Cgroups, Limits
from skerry.cluster.node.containers import Mount, User
from skerry.cluster.node.exec_session import ExecSession, Surroundings

NOBODY = User(hardening.FIRST_POD_USER + 7, hardening.FIRST_POD_USER + 7)
SETUID_WORKS = os.geteuid() == 0 and (
    hardening.why_no_pod_users() == "" or "cannot enter" in hardening.why_no_pod_users()
)
needs_setuid = pytest.mark.skipif(not SETUID_WORKS, reason="changing users needs CAP_SETUID")


def volume(root: Path, name: str, **files: str) -> Path:
    directory = root / name
    directory.mkdir()
    for file, text in files.items():
        path = directory / file.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory


def names(directory: str) -> list[str]:
    return sorted(entry.name for entry in Path(directory).iterdir())


def host_mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def test_a_volume_is_seen_at_its_path(bench: Bench, isolation: str) -> None:
    models = volume(bench.root, "image", models__model_bin="weights", secret="not yours")
    mounts = [Mount(str(models), "/mnt/models", read_only=True, sub_path="models")]
    there_before, mounted_before = names("/mnt"), host_mounts()
    script = "ls /mnt/models; cat /mnt/models/model_bin; echo; ls /mnt; touch /mnt/models/x"
    what = bench.build("sh", "-c", script, mounts=mounts, isolation=isolation)
    end = await bench.run(what)
    output = bench.output(what)
    assert ["model_bin", "weights"] == output[:2]
    assert sorted({*there_before, "models"}) == output[2:], "what was in /mnt is still reachable"
    assert "Read-only file system" in bench.output(what, "stderr")[0]
    assert 1 == end.exit_code
    assert (there_before, mounted_before) == (names("/mnt"), host_mounts())


async def test_a_writable_volume_is_written_through(bench: Bench, isolation: str) -> None:
    data = volume(bench.root, "data")
    what = bench.build(
        "sh", "-c", "echo kept >/work-area/file", mounts=[Mount(str(data), "/work-area", False)], isolation=isolation
    )
    assert 0 == (await bench.run(what)).exit_code
    assert "kept\n" == (data / "file").read_text()
    assert not Path("/work-area").exists()


async def test_mount_points_below_new_top_level_directories(bench: Bench, isolation: str) -> None:
    first, second = volume(bench.root, "first", a="1"), volume(bench.root, "second", b="2")
    mounts = [
        Mount(str(second), "/skerry-test/outer/inner/deep", read_only=True),
        Mount(str(first), "/skerry-test/outer", read_only=False),
        Mount(str(first / "a"), "/etc/skerry-test/config/one", read_only=True),
        Mount(str(second), "/proc-is-still-there", read_only=True),
    ]
    script = "cat /skerry-test/outer/a /skerry-test/outer/inner/deep/b /etc/skerry-test/config/one; test -e /proc/1"
    what = bench.build("sh", "-c", f"{script}; test -d /etc/ssl && test -x /bin/sh", mounts=mounts, isolation=isolation)
    end = await bench.run(what)
    assert (0, ["121"]) == (end.exit_code, bench.output(what)), bench.output(what, "stderr")
    assert not Path("/skerry-test").exists()
    assert (first / "inner/deep").is_dir(), "inside the pod's own volume a mount point is a real directory"


async def test_the_termination_log_is_a_file_of_ours(bench: Bench, isolation: str) -> None:
    target = bench.root / "termination-log"
    target.touch()
    mounts = [Mount(str(target), "/dev/termination-log", read_only=False)]
    script = "printf 'no model' >/dev/termination-log; echo x >/dev/null; head -c 3 /dev/zero | wc -c"
    what = bench.build("sh", "-c", script, mounts=mounts, isolation=isolation)
    assert 0 == (await bench.run(what)).exit_code, bench.output(what, "stderr")
    assert "no model" == target.read_text()
    assert ["3"] == bench.output(what)


@pytest.mark.parametrize(
    ("sub_path", "why"),
    [
        ("../outside", "it leads out of the volume"),
        ("escape", "it leads out of the volume"),
        ("escape/passwd", "it leads out of the volume"),
        ("missing", "No such file or directory"),
    ],
)
async def test_a_sub_path_stays_in_its_volume(bench: Bench, sub_path: str, why: str) -> None:
    kind = hardening.mount_namespace_available().kind
    if kind == "none":
        pytest.skip("no mount namespaces")
    data = volume(bench.root, "data")
    (data / "escape").symlink_to("/etc")
    volume(bench.root, "outside")
    mounts = [Mount(str(data), "/mnt/models", read_only=True, sub_path=sub_path)]
    end = await bench.run(bench.build("true", mounts=mounts, isolation=kind))
    assert ("StartError", f"cannot mount subPath '{sub_path}': {why}") == (end.reason, end.message)


async def test_links_inside_the_volume_are_followed(bench: Bench, isolation: str) -> None:
    data = volume(bench.root, "data", real__file="found")
    (data / "link").symlink_to("real")
    mounts = [Mount(str(data), "/mnt/one", read_only=True, sub_path="link/file")]
    what = bench.build("cat", "/mnt/one", mounts=mounts, isolation=isolation)
    assert 0 == (await bench.run(what)).exit_code
    assert ["found"] == bench.output(what)


async def test_a_missing_sub_path_of_a_writable_volume_is_made(bench: Bench, isolation: str) -> None:
    data = volume(bench.root, "data")
    mounts = [Mount(str(data), "/mnt/cache", read_only=False, sub_path="a/b")]
    what = bench.build("touch", "/mnt/cache/c", mounts=mounts, isolation=isolation)
    assert 0 == (await bench.run(what)).exit_code
    assert (data / "a/b/c").exists()


async def test_a_directory_cannot_be_mounted_on_a_file(bench: Bench, isolation: str) -> None:
    data = volume(bench.root, "data")
    what = bench.build("true", mounts=[Mount(str(data), "/etc/passwd", read_only=True)], isolation=isolation)
    end = await bench.run(what)
    assert "cannot mount /etc/passwd: the volume is a directory and the path is not" == end.message


async def test_no_new_privileges_and_limits(bench: Bench, isolation: str) -> None:
    what = bench.build("sh", "-c", "grep NoNewPrivs /proc/self/status; ulimit -n; ulimit -c", isolation=isolation)
    await bench.run(what)
    assert ["NoNewPrivs:\t1", "1024", "0"] == bench.output(what)


@pytest.mark.skipif(os.geteuid() != 0, reason="root only")
async def test_root_keeps_no_capability_but_low_ports(bench: Bench, isolation: str) -> None:
    mounts = [Mount(str(volume(bench.root, "data")), "/mnt/models", read_only=True)]
    what = bench.build("grep", "CapEff", "/proc/self/status", mounts=mounts, isolation=isolation)
    await bench.run(what)
    assert ["CapEff:\t0000000000000400"] == bench.output(what)


@needs_setuid
async def test_an_unprivileged_user_reads_the_model(bench: Bench) -> None:
    if hardening.mount_namespace_available().kind != "root":
        pytest.skip("needs CAP_SYS_ADMIN")
    models = volume(bench.root, "image", models__m="weights")
    bench.root.chmod(0o700)  # the way to the model is closed; the mount leads past it
    mounts = [Mount(str(models), "/mnt/models", read_only=True, sub_path="models")]
    script = "id -u; id -G; cat /mnt/models/m; grep CapEff /proc/self/status"
    what = bench.build("sh", "-c", script, mounts=mounts, isolation="root", user=NOBODY)
    assert 0 == (await bench.run(what)).exit_code, bench.output(what, "stderr")
    assert [str(NOBODY.uid), str(NOBODY.gid), "weightsCapEff:\t0000000000000000"] == bench.output(what)


async def test_a_program_of_the_container_sees_what_it_sees(bench: Bench, isolation: str) -> None:
    mounts = [Mount(str(volume(bench.root, "data", m="weights")), "/skerry-models", read_only=True)]
    what = bench.build("sleep", "100", mounts=mounts, isolation=isolation, env={"MODEL": "m"})
    container = await bench.start(what)
    command = [*hardening.supervisor_command(), "--exec", str(what.spec_file), str(container.pid)]
    result = subprocess.run(
        [*command, "sh", "-c", "cat /skerry-models/$MODEL; exit 3"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (3, "weights") == (result.returncode, result.stdout), result.stderr
    result = subprocess.run([*command, "nope"], capture_output=True, text=True, timeout=20, check=False)
    assert (
        127,
        'exec failed: unable to start container process: exec: "nope": executable file not found in $PATH\n',
    ) == (result.returncode, result.stderr)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_session_sees_what_the_container_sees(bench: Bench, isolation: str, *, tty: bool) -> None:
    mounts = [Mount(str(volume(bench.root, "data", m="weights")), "/skerry-models", read_only=True)]
    what = bench.build("sleep", "100", mounts=mounts, isolation=isolation, env={"MODEL": "m"})
    container = await bench.start(what)
    surroundings = Surroundings("main", what.spec_file, container.pid, container.exited)
    script = "cat /skerry-models/$MODEL; test -t 1 && echo $TERM; exit 3"
    session = ExecSession(surroundings, ["sh", "-c", script], stdin=False, tty=tty)
    seen = b""
    while data := await session.output(1):
        seen += data
    assert seen == (b"weightsxterm\r\n" if tty else b"weights")
    assert await session.outcome() == (3, "")
    await session.aclose()


async def test_a_control_group_ends_a_program_that_takes_too_much(bench: Bench) -> None:
    groups = Cgroups.detect()
    name = f"test-{os.getpid()}-{bench.root.name}"
    group = groups.create(name, Limits(memory=48 << 20))
    try:
        if not group.enforces_memory:
            pytest.skip("no memory controller for us here")
        hog = "held = bytearray(200 << 20); import time; time.sleep(100)"
        end = await bench.run(bench.build(sys.executable, "-c", hog, cgroups=group.paths))
        assert (137, "OOMKilled") == (end.exit_code, end.reason)
        assert not any(Path(path).exists() for path in group.paths), "the supervisor takes its groups along"
    finally:
        groups.kill(name)
        groups.remove(name)


def test_the_probe_tells_what_is_possible() -> None:
    found = hardening.mount_namespace_available()
    assert found.kind in {"root", "user", "none"}
    assert (found.kind == "none") == bool(found.why)


@pytest.mark.skipif(not SETUID_WORKS or not Path("/usr/bin/python3").exists(), reason="needs root and a public python3")
def test_an_ordinary_user_gets_mounts_of_his_own() -> None:
    command = ["/usr/bin/python3", *hardening.supervisor_command()[1:], "--probe"]
    if hardening.hidden_from_others(hardening.SUPERVISOR) is not None:
        pytest.skip("the source tree is closed to other users")
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=True, user=12345, group=12345, extra_groups=[]
    )
    found = json.loads(result.stdout)
    assert found["isolation"] in {"user", "none"}, "an ordinary user cannot do what root does"
    assert (found["isolation"] == "none") == bool(found["why"])


async def test_a_container_without_mounts_shares_the_hosts_view(bench: Bench) -> None:
    what = bench.build("readlink", "/proc/self/ns/mnt", isolation="none")
    await bench.run(what)
    assert [str(Path("/proc/self/ns/mnt").readlink())] == bench.output(what)
