"""The house's doors: which room may import which (contracts in pyproject.toml), and who may write files."""

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "skerry"

# Where a file is written as a stream, or by the one door itself; each syncs and renames on its own.
_MAY_OPEN_FOR_WRITING = {
    "kit/files.py",
    "cluster/node/confine.py",  # files of /proc: the kernel takes them in one write
}


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=SOURCE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_whole_files_are_written_through_the_one_door() -> None:
    """`write_text`, `write_bytes` and `open(…, "w")` leave half a file after a power cut."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name in _MAY_OPEN_FOR_WRITING or name.startswith("server/"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [f"{name}:{call.lineno}" for call in calls if _writes_a_file(call)]
    assert not found, "use skerry.kit.files.replace: " + ", ".join(found)


def _writes_a_file(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"write_text", "write_bytes"}:
        return True
    if name != "open":
        return False
    modes = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and mode.value in {"w", "wt", "wb", "w+"} for mode in modes)
