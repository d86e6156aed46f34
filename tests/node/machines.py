"""Machines made of plain files, for what looks at /proc and at control groups."""

from pathlib import Path

import pytest


class Machine:
    """A /proc and /sys/fs/cgroup made of plain files; a group that is made gets its control files."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.proc = root / "proc"
        (self.proc / "self").mkdir(parents=True)
        self._mounts: list[str] = []
        self._groups: list[str] = []
        real = Path.mkdir

        def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
            real(path, mode, parents, exist_ok)
            if path.is_relative_to(root / "cgroup"):
                self._fill(path)

        monkeypatch.setattr(Path, "mkdir", mkdir)

    def mount(self, name: str, kind: str, options: str, own: str, hierarchy: str, *, controllers: str = "") -> Path:
        point = self.root / "cgroup" / name
        group = point / own.lstrip("/")
        self._mounts.append(f"30 24 0:20 / {point} rw - {kind} {kind} rw,{options}")
        self._groups.append(f"{hierarchy}:{own}")
        (self.proc / "self/mountinfo").write_text("\n".join(self._mounts))
        (self.proc / "self/cgroup").write_text("\n".join(self._groups))
        group.mkdir(parents=True)
        (group / "cgroup.controllers").write_text(controllers)
        return group

    def _fill(self, group: Path) -> None:
        names = (
            "cgroup.procs cgroup.subtree_control cgroup.kill memory.max memory.oom.group cpu.max cpu.weight pids.max"
        )
        legacy = "memory.limit_in_bytes cpu.cfs_quota_us cpu.cfs_period_us cpu.shares"
        for name in f"{names} {legacy}".split():
            (group / name).touch()
