"""The handler for the first tenths of a second, while the libraries of the real one are imported."""

from skerry.server.http.messages import Request, Response, error


def starting(request: Request) -> Response:
    """Alive, and not ready for anything else."""
    if request.target.startswith(b"/v2/health/live"):
        return Response(body=b'{"live":true}')
    return error(503, "Server is not ready", b"retry-after: 1\r\n")
