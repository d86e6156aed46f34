"""The pictures of the model server's own tests."""

from tests.server.conftest import classifier, pictures

__all__ = ["classifier", "pictures"]
