"""Metadata that ties objects together: owners, hashes of templates, the difference between two states.

Objects are JSON (dicts) or `lightkube` structs; both have the same field names.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from skerry.machinery.merge import merge_diff

__all__ = ["controller_of", "hash_template", "is_controlled_by", "merge_diff", "owner_reference"]

# Kubernetes' alphabet for generated names: no vowels, nothing that looks alike.
ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
HASH_LENGTH: Final = 10


def hash_template(template: Any) -> str:
    """Return the pod-template-hash of a template: the same for equal JSON, whatever the order of its keys.

    Kubernetes uses 32 bits of FNV over a dump of Go memory, which nobody else can reproduce; all that clients see of it
    is a short label value, so ours is 10 characters of a real hash, and collisions need no counter.
    """
    canonical = msgspec.json.encode(_plain(template), order="deterministic")
    number = int.from_bytes(hashlib.sha256(canonical).digest()[:8], "big")
    characters = []
    for _ in range(HASH_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def owner_reference(
    owner: Any, api_version: str | None = None, kind: str | None = None, *, controller: bool = True
) -> dict[str, Any]:
    """Return the reference that makes an object belong to `owner`.

    Lists and watches leave `apiVersion` and `kind` out of their items: say them then.
    """
    fields = _plain(owner)
    return {
        "apiVersion": api_version or fields["apiVersion"],
        "kind": kind or fields["kind"],
        "name": fields["metadata"]["name"],
        "uid": fields["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": controller,
    }


def controller_of(obj: Any) -> Mapping[str, Any] | None:
    """Return the owner reference of the one controller of an object."""
    references = _plain(_member(obj, "metadata")).get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def is_controlled_by(obj: Any, owner: Any) -> bool:
    """Say whether an object belongs to this very owner; one of the same name that was deleted before is another."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == _plain(_member(owner, "metadata"))["uid"]


def _member(obj: Any, name: str) -> Any:
    return obj[name] if isinstance(obj, dict) else getattr(obj, name)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value
