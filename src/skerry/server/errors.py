"""What can go wrong, as few classes as callers tell apart.

    ServingError            a request gets an answer other than the one it asked for
      InvalidRequest          the client must change the request
        TooLarge                … make it smaller
        UnsupportedContent      … encode it otherwise
      Forbidden               the server was told not to let clients do this
      UnknownModel            no such model or version is served
      NotReady                it exists and cannot answer now; try again
        Overloaded              too much is queued
      TimedOut                it took longer than a request may
      InferenceFailed         the engine refused or broke
    StartError              the process cannot serve what it was asked to serve; it ends with status 1
      LoadError               because of a model

Transports turn them into their own codes; the text is for the person who reads the answer.
"""


class ServingError(Exception):
    """A request cannot be answered as asked."""


class InvalidRequest(ServingError):
    """The client must change the request."""


class TooLarge(InvalidRequest):
    """The request is beyond a limit of this server."""


class UnsupportedContent(InvalidRequest):
    """The request is encoded in a way that is not understood."""


class Forbidden(ServingError):
    """The server was told not to let clients do this."""


class UnknownModel(ServingError):
    """No such model or version is served."""


class NotReady(ServingError):
    """The model exists and cannot answer now."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(NotReady):
    """More is queued than can be worth waiting for."""


class TimedOut(ServingError):
    """The request took longer than a request may."""


class InferenceFailed(ServingError):
    """The engine refused the tensors or broke."""


class StartError(Exception):
    """The process cannot serve what it was asked to serve."""


class LoadError(StartError):
    """A model cannot be loaded."""
