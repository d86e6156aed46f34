"""What is imported when, and that the compiled declarations are those of the `.proto` files."""

import subprocess
import sys

from skerry.server.grpc.protos.generate import compiled
from skerry.server.grpc.services.reflection import DESCRIPTORS


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


def test_without_a_port_nothing_of_it_is_imported() -> None:
    modules = loaded("import skerry.server.serving")
    assert not [name for name in modules if name.startswith("skerry.server.grpc")]


def test_the_port_opens_before_heavy_libraries_are_imported() -> None:
    modules = loaded("import skerry.server.grpc.server")
    assert "skerry.server.grpc.h2.connection" in modules
    assert not modules & {"numpy", "openvino", "cv2", "grpc", "google.protobuf", "hpack", "h2"}


def test_the_compiled_declarations_are_up_to_date() -> None:
    assert compiled() == DESCRIPTORS.read_bytes(), "run src/skerry/server/grpc/protos/generate.py"
