"""One whole platform for all real clients of this directory; each test has namespaces of its own.

The platform runs as a user runs it, with every controller, so that what a client waits for happens. One image more than
the packaged ones is native: `example.com/shell`, which is whatever command the container has.
"""

import uuid
from collections.abc import Iterator

import pytest
from tests.conformance.ctl import Ctl, programs
from tests.e2e.running import Platform, eventually, start

SHELL = "images:\n- {name: shell, match: [example.com/shell], command: []}\n"


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("skerry")
    extra = home / "etc" / "images.d"
    extra.mkdir(parents=True)
    (extra / "shell.yaml").write_text(SHELL)
    running = start(home)
    yield running
    running.skerry("down")
    assert "Traceback" not in running.log()


@pytest.fixture
def namespace(platform: Platform) -> str:
    """A new namespace with its service account, without which no pod would start."""
    name = f"ns-{uuid.uuid4().hex[:6]}"
    assert platform.kubectl("create", "ns", name).returncode == 0
    eventually(lambda: platform.kubectl("get", "-n", name, "sa", "default").returncode == 0, "the service account")
    return name


@pytest.fixture(params=sorted(programs()))
def ctl(request: pytest.FixtureRequest, platform: Platform, namespace: str) -> Ctl:
    """Each kubectl that is here, with a namespace of its own."""
    return Ctl(programs()[request.param], platform, namespace)
