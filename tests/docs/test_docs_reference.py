"""The reference is complete and fresh: generated pages, every setting, every link."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from skerry.daemon.config import Config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_generated_pages_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def settings(section: Any, path: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        name = f"{path}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from settings(field.type, f"{name}.")
        else:
            yield name


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    missing = [name for name in settings(Config) if f"`{name}`" not in page]
    assert not missing


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
        broken += [f"{page.relative_to(ROOT)} → {target}" for target in missing]
    assert not broken
