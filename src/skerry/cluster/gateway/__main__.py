"""`python -m skerry.cluster.gateway`: the gateway process. The loop is loaded first: see `lean.py`."""

import argparse
import sys
from pathlib import Path

from skerry.cluster.gateway.lean import load_loop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skerry.cluster.gateway", description="Forward HTTP requests for Routes and Services to pods."
    )
    parser.add_argument("--table", required=True, type=Path, help="routing table file; read again on SIGHUP")
    parser.add_argument("--listen", required=True, action="append", metavar="ADDR:PORT", help="may be given repeatedly")
    parser.add_argument("--pid-file", type=Path, help="say here who listens, for the daemon to find")
    parser.add_argument("--admin-socket", type=Path, help="Unix socket for /healthz, /table and /metrics")
    parser.add_argument("--drain", type=float, default=30.0, metavar="SECONDS", help="for open requests on SIGTERM")
    parser.add_argument("--access-log", action="store_true", help="write a line per request")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)  # the daemon's end of a pipe
    return parser


def main(arguments: list[str]) -> int:
    """Run the process; return its exit code."""
    given = _parser().parse_args(arguments)
    new_loop, loop_name = load_loop()

    import asyncio

    from skerry.cluster.gateway.core import Settings
    from skerry.cluster.gateway.limits import Limits, Timeouts
    from skerry.cluster.gateway.serve import Options, serve
    from skerry.kit.log import configure, logger

    configure(given.log_level)
    logger(__name__).debug("loop chosen", loop=loop_name)
    options = Options(
        table=given.table,
        listen=tuple(given.listen),
        settings=Settings(Limits(), Timeouts(), given.access_log),
        drain=given.drain,
        pid_file=given.pid_file,
        admin_socket=given.admin_socket,
        ready_fd=given.ready_fd,
        arguments=tuple(_without_ready_fd(arguments)),
    )
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(serve(options))


def _without_ready_fd(arguments: list[str]) -> list[str]:
    """Leave out what differs between two starts with the same meaning."""
    if "--ready-fd" not in arguments:
        return arguments
    at = arguments.index("--ready-fd")
    return arguments[:at] + arguments[at + 2 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
