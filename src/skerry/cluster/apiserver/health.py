"""`/healthz`, `/livez` and `/readyz`, as monitors and kubectl ask for them.

`ok` and 200 when every check passes, 500 with one line a check when one fails. `?verbose` shows the lines always,
`?exclude=NAME` leaves a check out, `/readyz/NAME` asks one alone. Live means that starting the daemon again would not
help; ready, that it also serves what clients expect: caches are filled, nothing is being stopped.

The three paths are open to everybody, so the reason of a failure stands in the log and in the answer to `/readyz/NAME`,
which only known users get.

Facts: k8s.io/apiserver `pkg/server/healthz`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from skerry.cluster.apiserver.replies import Reply, text_reply
from skerry.cluster.apiserver.requests import Request
from skerry.kit.log import logger

log = logger(__name__)

# Returns why it fails, None when all is well; called with every request, so it must be quick.
Check = Callable[[], str | None]

_PLAIN: Final = {"x-content-type-options": "nosniff"}


class Health:
    """The checks, in the order in which they are shown."""

    def __init__(self) -> None:
        live: dict[str, Check] = {"ping": lambda: None}
        self._paths: dict[str, dict[str, Check]] = {"healthz": live, "livez": live, "readyz": dict(live)}
        self._failed: dict[str, dict[str, str]] = {}  # what was logged

    def add(self, name: str, check: Check, *, live: bool) -> None:
        """Add a check of readiness, and of life when `live`."""
        self._paths["readyz"][name] = check
        if live:
            self._paths["livez"][name] = check

    def find(self, request: Request) -> Reply | None:
        """Answer a request for health, None when it is for something else."""
        path, _, name = request.path.strip("/").partition("/")
        checks = self._paths.get(path)
        if checks is None or request.method not in {"GET", "HEAD"}:
            return None
        if name:
            return _one(checks[name]) if name in checks else None
        reply, failed = _all(path, checks, request.values("exclude"), verbose="verbose" in request.query)
        if failed and failed != self._failed.get(path):
            log.warning("health check failed", path=path, **failed)
        self._failed[path] = failed
        return reply


def _one(check: Check) -> Reply:
    why = check()
    return text_reply("ok") if why is None else text_reply(f"internal server error: {why}\n", 500)


def _all(
    path: str, checks: Mapping[str, Check], exclude: Sequence[str], *, verbose: bool
) -> tuple[Reply, dict[str, str]]:
    """Answer for all checks; returns the reasons of those that fail too."""
    unknown = sorted({name for name in exclude if name not in checks})
    lines: list[str] = []
    failed: dict[str, str] = {}
    for name, check in checks.items():
        if name in exclude:
            lines.append(f"[+]{name} excluded: ok")
        elif (why := check()) is None:
            lines.append(f"[+]{name} ok")
        else:
            lines.append(f"[-]{name} failed: reason withheld")
            failed[name] = why
    if unknown:
        quoted = ",".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    if failed:
        return _text("\n".join([*lines, f"{path} check failed\n"]), 500), failed
    return _text("\n".join([*lines, f"{path} check passed\n"]) if verbose else "ok", 200), failed


def _text(text: str, code: int) -> Reply:
    plain = text_reply(text, code)
    return Reply(plain.code, plain.body, plain.media_type, _PLAIN)
