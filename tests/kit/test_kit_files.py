"""Files that are replaced as a whole: every crash leaves the old content or the new one.

A crash is simulated in a child process that dies (`os._exit`, or a signal) at a chosen system call; a full disk is a
real one, a file system of some kilobytes where the kernel lets us mount it, and a file size limit everywhere.
"""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skerry.kit import files

_CRASH = """
import os, sys
from pathlib import Path
from skerry.kit import files

call, path = sys.argv[1], Path(sys.argv[2])

def die(*_args, **_kwargs):
    os._exit(9)

if call == "rename":
    Path.replace = die
elif call == "before fsync":
    os.fsync = die
elif call == "after rename":
    files.sync_directory = die
files.replace(path, b"new" * 1000)
"""


def only_file(directory: Path) -> Path:
    (found,) = [path for path in directory.iterdir() if not path.name.startswith(".")]
    return found


def test_a_new_file_is_private_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "token"
    files.replace(path, b"secret")
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_the_mode_is_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    files.replace(path, b"1")
    files.replace(path, b"2", mode=0o644)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"2", 0o644)


@pytest.mark.parametrize("call", ["before fsync", "rename"])
def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, call: str) -> None:
    path = tmp_path / "config"
    files.replace(path, b"old")
    died = subprocess.run([sys.executable, "-c", _CRASH, call, str(path)], timeout=30, check=False)
    assert died.returncode == 9
    assert only_file(tmp_path).read_bytes() == b"old"


def test_a_crash_after_the_rename_leaves_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    files.replace(path, b"old")
    died = subprocess.run([sys.executable, "-c", _CRASH, "after rename", str(path)], timeout=30, check=False)
    assert died.returncode == 9
    assert only_file(tmp_path).read_bytes() == b"new" * 1000


def test_what_a_crash_left_beside_the_file_never_shows_through(tmp_path: Path) -> None:
    path = tmp_path / "token"
    left = tmp_path / f".token.{os.getpid()}.new"
    native = tmp_path / f".token.{threading.get_native_id()}.new"
    for one in (left, native):
        one.write_bytes(b"x" * 5000)
        one.chmod(0o666)
    files.replace(path, b"secret")
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_that_somebody_put_beside_the_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".token.{threading.get_native_id()}.new").symlink_to(victim)
    files.replace(tmp_path / "token", b"secret")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "token").read_bytes() == b"secret"


def test_the_old_file_survives_a_full_disk_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "config"
    files.replace(path, b"old")
    child = """
import resource, signal, sys
from pathlib import Path
from skerry.kit import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    files.replace(Path(sys.argv[1]), b"x" * 100_000)
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, text=True, check=False)
    assert int(done.stdout) == errno.EFBIG, done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["config"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_no_space_left_is_raised_and_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "config"
    files.replace(path, b"old")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.replace(path, b"new")
    else:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        opened = os.open

        def open_full(name: str, flags: int, mode: int = 0o777) -> int:
            opened_here = opened(name, flags, mode)
            os.close(opened_here)
            return opened("/dev/full", os.O_WRONLY)

        monkeypatch.setattr(os, "open", open_full)
        with pytest.raises(OSError, match="No space"):
            files.replace(path, b"new")
    monkeypatch.undo()
    assert [one.name for one in tmp_path.iterdir()] == ["config"]
    assert path.read_bytes() == b"old"


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.replace(tmp_path / "nowhere" / "x", b"")


def test_many_threads_never_mix_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "shared"

    def write(letter: int) -> None:
        for _ in range(40):
            files.replace(path, bytes([letter]) * 50_000)
            assert len(set(path.read_bytes())) == 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(65, 71)))
    assert [one.name for one in tmp_path.iterdir()] == ["shared"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    """A writer is killed again and again in the middle of its work; whatever is there is whole."""
    path = tmp_path / "state"
    child = """
import itertools, sys
from pathlib import Path
from skerry.kit import files
print("go", flush=True)
for number in itertools.count():
    files.replace(Path(sys.argv[1]), (b"%06d" % (number % 1000000)) * 20_000)
"""
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            while not path.exists():
                pass
            for _ in range(50):
                content = path.read_bytes()
                assert content == content[:6] * 20_000
            writer.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert content == content[:6] * 20_000


def test_private_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    made = files.private_directory(tmp_path / "a" / "b")
    assert made == tmp_path / "a" / "b"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    assert files.private_directory(made) == made
