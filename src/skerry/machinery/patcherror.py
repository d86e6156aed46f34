"""The one error of all kinds of patches: malformed, or not fitting the object. The text is meant for the client."""


class PatchError(Exception):
    """A patch that cannot be applied."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
