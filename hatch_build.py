"""Compiles `skerry.server._numbers` into the wheel, with what is there: `$CC`, cc, gcc, clang, or zig from a wheel.

The extension uses Python's limited API, so one wheel serves every Python from 3.11 on. Where it cannot be compiled the
wheel is a pure one: `skerry.server.json_numbers` does the same in Python, which is slower with large JSON only.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCE = Path("src/skerry/server/_numbers.c")
_NAME = "_numbers.abi3.so"
# No -march: a wheel travels. -s, because symbols are most of its size.
_FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden", "-shared", "-s")
_TRY = "from _numbers import read; assert read(b'[0.5]', 'd') is not None"
_ZIG_MACHINES = ("x86_64", "aarch64")
_ZIG_GLIBC = "2.17"  # of 2014: as old as wheels can ask for on aarch64


class CompilerHook(BuildHookInterface[Any]):
    """Hatch calls it for wheels, editable ones included."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if _obstacle() or _compiler() or platform.machine() not in _ZIG_MACHINES else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        beside = Path(self.root, _SOURCE).with_name(_NAME)
        self._scratch = tempfile.TemporaryDirectory(prefix="skerry-")
        compiled = Path(self._scratch.name, _NAME)
        if version == "editable":
            beside.unlink(missing_ok=True)
        if why := _obstacle() or _compile(Path(self.root, _SOURCE), compiled):
            self.app.display_warning(f"cannot compile {_SOURCE}: {why}; large JSON will be read by Python, slower")
            return
        if version == "editable":
            shutil.copy(compiled, beside)
            return
        build_data["force_include"][str(compiled)] = f"skerry/server/{_NAME}"
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{_platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._scratch.cleanup()


def _obstacle() -> str:
    """Why there is no use in looking for a compiler."""
    if sys.implementation.name != "cpython" or not sys.platform.startswith("linux"):
        return "it is for CPython on Linux"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h is missing (Debian has it in python3-dev)"
    return ""


def _compiler() -> list[str]:
    """The system's own compiler, as words of a command; empty if there is none."""
    if named := shlex.split(os.environ.get("CC", "")):
        return named
    return next(([name] for name in ("cc", "gcc", "clang") if shutil.which(name)), [])


def _zig() -> list[str]:
    machine = platform.machine()
    libc = f"gnu.{_ZIG_GLIBC}" if platform.libc_ver()[0] == "glibc" else "musl"
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-{libc}"]


def _compile(source: Path, target: Path) -> str:
    """Compile and try the result; the first line of what is wrong, or nothing."""
    include = f"-I{sysconfig.get_path('include')}"
    command = [*(_compiler() or _zig()), *_FLAGS, include, str(source), "-o", str(target)]
    scratch = str(target.parent)
    caches = {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
    for words, settings in ((command, caches), ([sys.executable, "-c", _TRY], {"PYTHONPATH": scratch})):
        try:
            done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, check=False)
        except OSError as why:
            return f"{words[0]}: {why.strerror}"
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "rror" in line] or [f"{words[0]} failed"]
            return lines[0].strip()
    return ""


def _platform_tag() -> str:
    """The system's compiler links with the system's libc; zig with one so old that every system has it."""
    machine = platform.machine()
    if _compiler() or platform.libc_ver()[0] != "glibc":
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"manylinux_{_ZIG_GLIBC.replace('.', '_')}_{machine}.manylinux2014_{machine}"
