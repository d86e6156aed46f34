"""`python -m skerry.server`: the process, with OVMS's exit codes (64 for usage, 1 when it cannot start)."""

import os
import resource
import sys
import time
from collections.abc import Sequence

from skerry.server import options
from skerry.server.errors import StartError

_STARTED_AT = time.time()


def main(arguments: Sequence[str]) -> int:
    """Run the server and return the exit code."""
    if not arguments or "--help" in arguments:
        sys.stdout.write(f"{options.usage()}\n")
        return 0
    if "--version" in arguments:
        sys.stdout.write(_versions())
        return 0
    try:
        parsed = options.parse(arguments)
    except options.UsageError as why:
        sys.stderr.write(f"{why}\n")
        return options.EXIT_USAGE
    try:
        _run(parsed, options.without_effect(arguments))
    except StartError as why:
        sys.stderr.write(f"{why}\n")
        return 1
    return 0


def _run(parsed: options.Options, without_effect: Sequence[str]) -> None:
    # NumPy and OpenCV each bring a copy of OpenBLAS that starts threads for nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import asyncio

    import uvloop

    from skerry.server import log
    from skerry.server.serving import serve

    try:
        log.configure(parsed.log_level, parsed.log_path)
    except OSError as why:
        raise StartError(f"cannot write the log to {parsed.log_path}: {why.strerror}") from None
    _let_many_connect()
    for name in without_effect:
        log.info("option accepted, it changes nothing here", option=name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parsed, _STARTED_AT))


def _let_many_connect() -> None:
    """A connection is an open file, and the usual limit of 1024 is there for programs that use select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _versions() -> str:
    from importlib.metadata import version

    return f"Skerry model server {version('skerry')}\nOpenVINO backend {version('openvino')}\n"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: engines keep threads, and tearing down the interpreter under them is slow and can crash.
    os._exit(code)
