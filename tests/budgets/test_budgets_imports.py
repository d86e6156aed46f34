"""What a process may load: memory on a 2 GB device is spent at import time."""

import subprocess
import sys


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_help_loads_no_client() -> None:
    modules = loaded(
        "from click.testing import CliRunner; from skerry.cli.main import cli; CliRunner().invoke(cli, ['--help'])"
    )
    assert "click" in modules
    assert not modules & {"lightkube", "httpx2", "uvicorn", "yaml", "cryptography", "numpy"}


def test_the_gateway_loads_no_kubernetes_client() -> None:
    modules = loaded("import skerry.cluster.gateway.__main__")
    assert not modules & {"lightkube", "httpx2", "uvicorn", "starlette", "yaml", "cryptography", "numpy", "sqlite3"}


def test_the_daemon_loads_no_tensor_and_no_certificate_library() -> None:
    modules = loaded("import skerry.daemon.platform")
    assert not modules & {"numpy", "openvino", "cv2", "cryptography", "starlette"}
