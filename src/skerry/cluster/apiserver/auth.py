"""The names under which other rooms know the credentials of a request."""

from skerry.cluster.apiserver.access.credentials import (
    BEARER_SUBPROTOCOL,
    CERTIFICATE,
    IN_PROCESS,
    Certificate,
    Tokens,
    is_inside,
    token_hash,
)

__all__ = ["BEARER_SUBPROTOCOL", "CERTIFICATE", "IN_PROCESS", "Certificate", "Tokens", "is_inside", "token_hash"]
