"""Compile the `.proto` files beside this one to `services.binpb`, which reflection hands out.

Run it after a change, with `grpcio-tools` installed: `python src/skerry/server/grpc/protos/generate.py`. A test says
when it was forgotten.
"""

import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).parent


def compiled() -> bytes:
    """The descriptors of all files, as protoc writes them."""
    from grpc_tools import protoc

    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "services.binpb"
        status = protoc.main(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={out}", *files])
        if status:
            raise SystemExit(status)
        return out.read_bytes()


if __name__ == "__main__":
    (PROTOS / "services.binpb").write_bytes(compiled())
    sys.stdout.write("services.binpb is up to date\n")
