"""`skerry serve`: one model, served by itself, without the platform.

The command becomes the server: it checks what it was given, leaves a short-lived process behind that waits until the
model answers and then prints what can be done with it, and replaces itself with `python -m skerry.server`. So there is
one process with the server's own signals and exit codes, and nothing of the command line stays in memory.
"""

import http.client
import json
import math
import os
import re
import select
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

# What may lie in a directory by itself, the likeliest first; the server chooses the engine.
_FILES: Final = (
    *(".xml", ".onnx", ".pdmodel", ".pb", ".tflite"),
    *(".joblib", ".pkl", ".pickle", ".skops", ".ubj", ".bst"),
)
_NAMES: Final = ("model.py", "model.json", "model.txt")  # Python code, XGBoost, LightGBM
_SAVED_MODEL: Final = "saved_model.pb"
_VERSION: Final = re.compile(r"^0*[1-9]\d*")
_POLL_SECONDS: Final = 0.05
_MOST_WAIT_SECONDS: Final = 600.0
_MOST_VALUES: Final = 32
_SIZES: Final = {
    "BOOL": 1,
    "UINT8": 1,
    "INT8": 1,
    "UINT16": 2,
    "INT16": 2,
    "FP16": 2,
    "BF16": 2,
    "UINT64": 8,
    "INT64": 8,
    "FP64": 8,
}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", "--model_name", "name", help="Name of the model; else that of its file or directory.")
@click.option(
    "--host", "--rest_bind_address", "host", default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option(
    "--http-port", "--rest_port", "http_port", default=8000, show_default=True, help="Port of the REST interface."
)
@click.option(
    "--grpc-port", "--port", "grpc_port", default=0, show_default=True, help="Port of the gRPC interface; 0 is none."
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def serve(path: Path, name: str | None, host: str, http_port: int, grpc_port: int, options: tuple[str, ...]) -> None:
    """Serve the model at PATH with the Open Inference Protocol, without the platform.

    PATH is a model file, a directory with one, a directory with numbered versions (1/, 2/, ...), or a config.json with
    several models. When the model answers, its inputs and outputs are printed, with a curl line that works.

    \b
        skerry serve resnet.onnx
        skerry serve ./resnet --grpc-port 9000           with gRPC too
        skerry serve resnet.onnx --layout NHWC:NCHW      takes pictures (Content-Type: image/jpeg)
        skerry serve ./resnet --max_batch_size=8         requests that arrive together run together
        skerry serve ./resnet --metrics_enable           Prometheus at /metrics
        skerry serve config.json --host 0.0.0.0          several models, for other machines

    Options that are not listed here go to the server: docs/reference/model-server.md has them all, with OVMS's names.
    Ctrl-C lets requests under way finish. To keep it running, with routes and roll-outs: skerry up.
    """  # noqa: D301 - click's mark
    words = ["--rest_bind_address", host, "--rest_port", str(http_port), "--log_level", "WARNING"]
    if grpc_port:
        words += ["--grpc_bind_address", host, "--port", str(grpc_port)]
    model = None if _is_config(path) else name or model_name(path)
    if model is None:
        words += ["--config_path", str(path)]
    else:
        words += ["--model_name", model, "--model_path", str(model_path(path))]
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what a client here asks instead
    _leave_behind(address, http_port, grpc_port)
    command = [sys.executable, "-m", "skerry.server", *words, *options]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


def model_path(path: Path) -> Path:
    """What to serve: the path, or the model file in a directory without versions."""
    if path.is_file():
        return path
    entries = sorted(path.iterdir())
    if any(entry.is_dir() and _VERSION.match(entry.name) for entry in entries):
        return path
    if any(entry.name in _NAMES for entry in entries):
        return path
    entries.sort(key=lambda entry: entry.name != _SAVED_MODEL)  # before the other .pb files that lie beside it
    for suffix in _FILES:
        for entry in entries:
            if entry.suffix == suffix and entry.is_file():
                return entry
    held = ", ".join(entry.name for entry in entries[:10]) or "nothing"
    known = ", ".join((*_FILES, *_NAMES))
    raise click.ClickException(
        f"cannot serve {path}: it holds no model ({known}) and no numbered versions, only {held}"
    )


def _is_config(path: Path) -> bool:
    """A list of models; XGBoost has a JSON form too."""
    try:
        return path.suffix == ".json" and b'"model_config_list"' in path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from error


def model_name(path: Path) -> str:
    """A name that fits into a URL as it is."""
    plain = path.absolute()
    if plain.name == _SAVED_MODEL:  # the same for all of them
        plain = plain.parent
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain.stem if plain.is_file() else plain.name).strip("-.") or "model"


def _leave_behind(host: str, port: int, grpc_port: int) -> None:
    """Start what prints the summary. It is a grandchild, so the server gets no child that it does not know of."""
    sys.stdout.flush()
    server = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    code = 1
    try:
        if os.fork() == 0:
            summarize(server, host, port, grpc_port)
        code = 0
    finally:
        os._exit(code)


def summarize(server: int, host: str, port: int, grpc_port: int) -> None:
    """Wait until the server answers, and say what it serves; nothing if it ends before."""
    process = os.pidfd_open(server)
    deadline = time.monotonic() + _MOST_WAIT_SECONDS
    while time.monotonic() < deadline:
        if select.select([process], [], [], _POLL_SECONDS)[0]:
            return  # the server has said why
        try:
            if _get(host, port, "/v2/health/ready")[0] == 200:
                break
        except (OSError, http.client.HTTPException):
            continue
    models = _get(host, port, "/v1/models")[1]["models"]
    lines = [f"REST     http://{_host(host)}:{port}"]
    if grpc_port:
        lines.append(f"gRPC     {_host(host)}:{grpc_port}")
    for model in models:
        lines += summary(_get(host, port, f"/v2/models/{model}")[1], f"http://{_host(host)}:{port}")
    click.echo("\n".join(lines))


def summary(metadata: dict[str, Any], url: str) -> list[str]:
    """What to say of one model."""
    name, versions = metadata["name"], ", ".join(metadata["versions"])
    lines = ["", f"Model    {name} (version {versions}, {metadata['platform']})"]
    for title, tensors in (("Input ", metadata["inputs"]), ("Output", metadata["outputs"])):
        lines += [f"{title}   {one['name']}  {one['datatype']} {one['shape']}" for one in tensors]
    return [*lines, "", f"  {curl(metadata, url)}", f"  skerry bench {url} --model {name}"]


def curl(metadata: dict[str, Any], url: str) -> str:
    """A line that works in a shell as it is: zeros in the model's shapes."""
    inputs = []
    zeros = 0
    small = sum(_count(one) for one in metadata["inputs"]) <= _MOST_VALUES
    for one in metadata["inputs"]:
        tensor = {"name": one["name"], "shape": [max(size, 1) for size in one["shape"]], "datatype": one["datatype"]}
        zero: Any = {"BOOL": False, "BYTES": "text"}.get(one["datatype"], 0)
        if small or one["datatype"] == "BYTES":
            tensor["data"] = [zero] * _count(one)
        else:
            zeros += _count(one) * _SIZES.get(one["datatype"], 4)
        inputs.append(tensor)
    body = json.dumps({"inputs": inputs}, separators=(",", ":"))
    quoted = "'" + body.replace("'", "'\\''") + "'"
    target = f"{url}/v2/models/{metadata['name']}/infer"
    if not zeros:
        return f"curl {target} -d {quoted}"
    header = f"-H 'Inference-Header-Content-Length: {len(body.encode())}'"
    return f"(printf %s {quoted}; head -c {zeros} /dev/zero) | curl {target} {header} --data-binary @-"


def _count(tensor: dict[str, Any]) -> int:
    return math.prod(max(size, 1) for size in tensor["shape"])


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _get(host: str, port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if answer.status == 200 and content else None
    finally:
        connection.close()
