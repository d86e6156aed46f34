"""Handlers around handlers: what a server may be asked to do to every answer, and pays for only then."""

from collections.abc import Callable

from skerry.server.http.messages import Later, Response


def mapped(result: Response | Later, change: Callable[[Response], Response]) -> Response | Later:
    """The answer with a change, now or when it is there."""
    if isinstance(result, Response):
        return change(result)
    return Later(result.future, lambda done: change(result.render(done)))
