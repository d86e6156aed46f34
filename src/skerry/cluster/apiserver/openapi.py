"""OpenAPI documents: what `kubectl explain` prints, and what `kubectl create` and `apply` look at before they send.

    /openapi/v3                      an index: one entry a group and version, with a hash to cache by
    /openapi/v3/api/v1, …/apis/G/V   the schemas and paths of one version, complete in itself
    /openapi/v2                      all of it in the older form, for Go's discovery client as protobuf

A document is some hundred kilobytes of text that is asked for rarely: it is built when somebody first asks, piece by
piece straight into a compressor, and only the compressed bytes are kept. The hash in the index must not need the
documents, so it is taken from what they are made of: the kinds, and size and date of the modules with their structs.

Facts: k8s.io/kube-openapi `pkg/handler3`; client-go's query_param_verifier_v3 (fieldValidation on a patch); kubectl's
`pkg/cmd/apply/patcher` (strategic merge in the request body of a patch, merge keys) and `pkg/explain/v2` (paths, GVKs).
"""

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from lightkube.models import meta_v1

from skerry.api import schemas
from skerry.api.registry import Kind, Registry
from skerry.api.schemas import V2, V3, Components, Dialect, Schema
from skerry.cluster.apiserver import openapi_protobuf
from skerry.cluster.apiserver.custom.openapi import custom_component, custom_name
from skerry.cluster.apiserver.openapi_paths import gvk, paths_v2, paths_v3
from skerry.cluster.apiserver.replies import JSON, Reply
from skerry.cluster.apiserver.requests import Request
from skerry.machinery import status

_INDEX: Final = "/openapi/v3"
_V2: Final = "/openapi/v2"
# A year; the address changes with the content.
_FOR_EVER: Final = {"cache-control": "public, immutable, max-age=31536000"}


class OpenApi:
    """Answers requests for OpenAPI documents."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision = -1
        self._paths: dict[str, tuple[str, str]] = {}
        self._compressed: dict[tuple[str, str], bytes] = {}  # by path and media type
        self._hash = ""

    def find(self, request: Request) -> Reply | None:
        """Return the document at the request's path, None when there is none; raises a 406 for another form."""
        path = request.path.rstrip("/")
        if request.method not in {"GET", "HEAD"} or not path.startswith("/openapi/"):
            return None
        self._follow()
        if path == _INDEX:
            return Reply(200, msgspec.json.encode(self.index()))
        if path != _V2 and path.removeprefix(f"{_INDEX}/") not in self._paths:
            return None
        asked = {entry.partition(";")[0].strip() for entry in request.headers.get("accept", "").split(",")}
        if asked & {"", "*/*", "application/*", JSON}:
            return self._document(request, path, JSON)
        if path == _V2 and asked & openapi_protobuf.ASKED:
            return self._document(request, path, openapi_protobuf.MEDIA_TYPE)
        raise status.not_acceptable([JSON])

    def _follow(self) -> None:
        """Forget what was made of kinds that have come or gone since."""
        if self._revision == self._registry.revision:
            return
        self._revision = self._registry.revision
        self._paths = {
            _group_path(group, version): (group, version)
            for group, versions in self._registry.groups().items()
            for version in versions
        }
        self._compressed, self._hash = {}, ""

    def index(self) -> dict[str, Any]:
        """Return the index of version 3."""
        fingerprint = self._fingerprint()
        return {
            "paths": {
                path: {"serverRelativeURL": f"{_INDEX}/{path}?hash={fingerprint}"} for path in sorted(self._paths)
            }
        }

    def _document(self, request: Request, path: str, media_type: str) -> Reply:
        fingerprint = self._fingerprint()
        headers = {"etag": f'"{fingerprint}"', "vary": "Accept-Encoding, Accept"}
        wanted = request.query.get("hash")
        if wanted and wanted != fingerprint:
            return Reply(301, b"", media_type, {"location": f"{request.path}?hash={fingerprint}"})
        if wanted:
            headers |= _FOR_EVER
        if request.headers.get("if-none-match") == headers["etag"]:
            return Reply(304, b"", media_type, headers)
        body = self._bytes(path, media_type)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Reply(200, body, media_type, {**headers, "content-encoding": "gzip"})
        return Reply(200, gzip.decompress(body), media_type, headers)

    def _bytes(self, path: str, media_type: str) -> bytes:
        body = self._compressed.get((path, media_type))
        if body is None:
            if media_type != JSON:
                pieces = openapi_protobuf.document(_paths_v2(self._registry), _components(V2, self._registry))
            elif path == _V2:
                pieces = document_v2(self._registry)
            else:
                group, version = self._paths[path.removeprefix(f"{_INDEX}/")]
                pieces = document_v3(kind for kind in self._registry if (kind.group, kind.version) == (group, version))
            body = self._compressed[path, media_type] = _squeezed(pieces)
        return body

    def _fingerprint(self) -> str:
        if not self._hash:
            self._hash = fingerprint(self._registry)
        return self._hash


def _group_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def fingerprint(registry: Registry) -> str:
    """Hash what the documents are made of."""
    digest = hashlib.sha256()
    modules = {__name__, schemas.__name__, paths_v3.__module__, meta_v1.__name__}
    for kind in registry:
        modules |= {base.__module__ for base in kind.model.__mro__}
        digest.update(f"{kind.api_version}/{kind.kind} {kind.plural} {kind.verbs} {kind.subresources}\n".encode())
        if kind.custom is not None:
            digest.update(f"{kind.custom.fingerprint}\n".encode())
    for name in sorted(modules):
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).exists():
            found = Path(file).stat()
            digest.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32].upper()


def _squeezed(pieces: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])


def document_v3(kinds: Iterable[Kind]) -> Iterator[bytes]:
    """Yield the document of one group and version, piece by piece."""
    served = list(kinds)
    yield b'{"openapi":"3.0.0","info":{"title":"Kubernetes","version":"unversioned"},"paths":'
    yield from _map(pair for kind in served for pair in paths_v3(kind, _names(kind)))
    yield b',"components":{"schemas":'
    yield from _map(_components(V3, served))
    yield b"}}"


def document_v2(registry: Registry) -> Iterator[bytes]:
    """Yield the document of all groups in the older form."""
    yield b'{"swagger":"2.0","info":{"title":"Kubernetes","version":"unversioned"},"paths":'
    yield from _map(_paths_v2(registry))
    yield b',"definitions":'
    yield from _map(_components(V2, registry))
    yield b"}"


def _paths_v2(registry: Registry) -> Iterator[tuple[str, Schema]]:
    return (pair for kind in registry for pair in paths_v2(kind, _names(kind)))


def _map(pairs: Iterable[tuple[str, Schema]]) -> Iterator[bytes]:
    opening = b"{"
    for key, value in pairs:
        yield opening + msgspec.json.encode(key) + b":" + msgspec.json.encode(value)
        opening = b","
    yield b"{}" if opening == b"{" else b"}"


def _names(kind: Kind) -> tuple[str, str]:
    if kind.custom is not None:
        name = custom_name(kind)
    else:
        name = schemas.component_name(kind.model, kind.group, kind.version)
    return name, f"{name}List"


def _components(dialect: Dialect, kinds: Iterable[Kind]) -> Iterator[tuple[str, Schema]]:
    """Yield every struct that a kind is made of, the kinds and their lists marked with what they are."""
    components = Components(dialect)
    yield from schemas.common_schemas(dialect)
    for kind in kinds:
        if kind.custom is not None:
            name, meta = custom_name(kind), components.add(meta_v1.ObjectMeta, kind.group, kind.version)
            yield name, {**custom_component(kind, dialect, meta), "x-kubernetes-group-version-kind": [gvk(kind)]}
        else:
            name = components.add(kind.model, kind.group, kind.version)
        list_meta = components.add(meta_v1.ListMeta, kind.group, kind.version)
        for found, schema in components.drain():
            if found == name:
                _own_fields(schema, kind)
                schema["x-kubernetes-group-version-kind"] = [gvk(kind)]
            yield found, schema
        yield f"{name}List", _list_schema(dialect, kind, name, list_meta)


def _own_fields(schema: Schema, kind: Kind) -> None:
    # Which kind an object is stands in every struct as optional; nothing else is said of it in some.
    properties = schema["properties"]
    for field, text in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if field in properties and "description" not in properties[field]:
            properties[field]["description"] = f"{text!r} for this kind."
    for field in kind.open_fields:
        if field in properties:
            properties[field]["x-kubernetes-preserve-unknown-fields"] = True


def _list_schema(dialect: Dialect, kind: Kind, item: str, list_meta: str) -> Schema:
    return {
        "description": f"{kind.list_kind} is a list of {kind.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": dialect.reference(list_meta),
            "items": {"type": "array", "items": dialect.reference(item)},
        },
        "x-kubernetes-group-version-kind": [gvk(kind, kind.list_kind)],
    }
