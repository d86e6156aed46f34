"""A request, taken apart once: which kind, which object, which verb, which options.

Paths are Kubernetes' own: `/api/v1/...` for the core group, `/apis/GROUP/VERSION/...` for the others, then
`[namespaces/NAMESPACE/]PLURAL[/NAME[/SUBRESOURCE]]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from skerry.api.registry import Kind, Object, Registry
from skerry.cluster.apiserver.authors import author_errors, author_of
from skerry.machinery import status
from skerry.machinery.fielderrors import not_supported

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
APPLY_PATCH: Final = "application/apply-patch+yaml"
_OPTIONS: Final = {"PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
BODY_LIMIT: Final = 3 * 1024 * 1024  # etcd's and the API server's own limit on a request


@dataclass(frozen=True)
class Request:
    """What arrived: `query` keeps the first value of each parameter, `parameters` all; header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: str
    inside: bool = False  # sent by a part of this process
    parameters: Sequence[tuple[str, str]] = ()

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def flag(self, name: str) -> bool:
        """Read a boolean parameter as Go's `strconv.ParseBool` does; an empty value means true."""
        value = self.query.get(name)
        return value is not None and value.lower() in {"", "1", "t", "true"}

    def values(self, name: str) -> list[str]:
        """Return all values of a parameter that may be repeated."""
        return [value for key, value in self.parameters if key == name]

    def number(self, name: str) -> int | None:
        """Read an integer parameter; raises a 400 for anything else."""
        value = self.query.get(name, "")
        if not value:
            return None
        try:
            return int(value)
        except ValueError:
            raise status.bad_request(f"unable to parse query parameter {name}={value!r}: want a number") from None


@dataclass(frozen=True)
class Target:
    """Which resource a path names. `namespace` is None for all namespaces or a cluster-scoped kind."""

    kind: Kind
    namespace: str | None
    name: str | None = None
    subresource: str | None = None


@dataclass(frozen=True)
class WriteOptions:
    """The options of create, update and patch; `manager` writes, and is to own what it creates when `tracked`."""

    dry_run: bool = False
    field_validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)
    manager: str = ""
    tracked: bool = True
    force: bool = False


def target_of(path: str, registry: Registry) -> Target | None:
    """Resolve a path; None when no kind is served there."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    # `namespaces/x` and its own sub-resources are about the Namespace; anything longer is about what is in it.
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    kind = registry.by_plural(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace is not None and not kind.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else None
    if subresource is not None and subresource not in kind.subresources:
        return None
    if name is not None and kind.namespaced and namespace is None:
        return None
    return Target(kind, namespace, name, subresource)


def write_options(request: Request) -> WriteOptions:
    """Read the options of a write; raises a 422 for values that Kubernetes does not know."""
    dry_run = request.query.get("dryRun", "")
    validation = request.query.get("fieldValidation") or "Warn"
    errors = []
    if dry_run not in {"", "All"}:
        errors.append(not_supported("dryRun", dry_run, ["All"]))
    if validation not in {"Ignore", "Warn", "Strict"}:
        errors.append(not_supported("fieldValidation", validation, ["Ignore", "Strict", "Warn"]))
    patches = request.method == "PATCH"
    errors += author_errors(request.query, applies=patches and request.content_type == APPLY_PATCH, patches=patches)
    if errors:
        raise status.invalid(_OPTIONS.get(request.method, "CreateOptions"), "meta.k8s.io", "", errors)
    return WriteOptions(
        dry_run == "All",
        validation,
        manager=author_of(request.query, request.headers, inside=request.inside),
        tracked=not request.inside or bool(request.query.get("fieldManager")),
        force=request.flag("force"),
    )


def decode_body(request: Request) -> Object:
    """Decode a JSON or YAML object.

    Raises 400 for what cannot be parsed, 415 for another media type.
    """
    media_type = request.content_type
    if media_type in {"", "application/json"} or media_type.endswith("+json"):
        return _as_object(decode_json(request.body))
    if media_type in {"application/yaml", "application/x-yaml"} or media_type.endswith("+yaml"):
        # Loaded when the first YAML comes: kubectl sends JSON.
        from skerry.cluster.apiserver.yaml_body import decode_yaml

        return _as_object(decode_yaml(request.body))
    if media_type == PROTOBUF:
        # Loaded when the first typed Go client comes: its tables are of no use to anybody else.
        from skerry.cluster.apiserver.protobuf import decode_object

        return decode_object(request.body)
    raise status.unsupported_media_type(["application/json", "application/yaml", PROTOBUF])


def json_body(request: Request) -> bytes | None:
    """Return the body when it is JSON, where a key may stand twice; None in other encodings."""
    return request.body if request.content_type in {"", "application/json"} else None


def decode_json(body: bytes) -> Any:
    """Decode JSON; raises a 400 that says where it broke."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise status.bad_request(f"the object provided is unrecognized (must be of type JSON): {error}") from None


def _as_object(decoded: Any) -> Object:
    if not isinstance(decoded, dict):
        raise status.bad_request("the object provided is unrecognized: want a map with apiVersion and kind")
    return decoded
