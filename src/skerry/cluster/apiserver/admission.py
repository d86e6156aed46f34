"""What happens to an object between the wire and the store.

    create: type and names checked → metadata filled → defaults → hooks → validation
    update: the parts that this path may not change are taken from the old object → defaults → hooks → validation

Facts: k8s.io/apiserver `pkg/registry/rest` (strategies), `pkg/registry/generic/registry/store.go`.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.requests import Request, Target, WriteOptions
from skerry.kit.clock import timestamp
from skerry.machinery import names, status, strict
from skerry.machinery.fielderrors import FieldError, forbidden, invalid
from skerry.machinery.strict import Problem

# Metadata that only the server writes; a client's value is replaced by the stored one.
_SERVER_OWNED: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "managedFields",
)

_OMITTED_WHEN_EMPTY: Final = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")
_OWN_FINALIZERS: Final = ("orphan", "foregroundDeletion")
# What may be written beside a status.
_NOTES: Final = ("annotations", "labels")

Hook = Callable[[Kind, Object, Object | None], None]


@dataclass(frozen=True)
class Admission:
    """Prepares objects for the store. Hooks may change the new object or raise a `StatusError`."""

    now: Callable[[], datetime]
    hooks: Sequence[Hook] = ()

    def create(self, kind: Kind, item: Object) -> Object:
        """Prepare a new object; returns what to store."""
        meta = item.setdefault("metadata", {})
        if meta.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        for name in _SERVER_OWNED:
            meta.pop(name, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = timestamp(self.now())
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = names.generate_name(meta["generateName"], random.SystemRandom())
        if kind.has_status:
            item.pop("status", None)
            if kind.built_in:
                item["status"] = {}  # in Kubernetes' own structs the status is no pointer: it is always there
        if kind.counts_generation:
            meta["generation"] = 1
        _drop_empty(meta)
        kind.default(item)
        kind.admit(item, None)
        self._admit(kind, item, None)
        return item

    def update(self, kind: Kind, new: Object, old: Object, subresource: str | None) -> Object:
        """Prepare a changed object; returns what to store."""
        meta, old_meta = new.setdefault("metadata", {}), old["metadata"]
        if subresource == "status":
            return self._update_status(kind, new, old)
        if subresource == "finalize":
            spec = {**(old.get("spec") or {}), "finalizers": (new.get("spec") or {}).get("finalizers") or []}
            return {**old, "spec": spec, "metadata": _kept_meta(meta, old_meta)}
        for name in _SERVER_OWNED:
            if name in old_meta:
                meta[name] = old_meta[name]
            else:
                meta.pop(name, None)
        _drop_empty(meta)
        if kind.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        kind.default(new)
        kind.admit(new, old)
        self._admit(kind, new, old)
        if kind.counts_generation and _desired(kind, new) != _desired(kind, old):
            meta["generation"] = old_meta.get("generation", 0) + 1
        return new

    def _update_status(self, kind: Kind, new: Object, old: Object) -> Object:
        meta = _status_meta(kind, new["metadata"], old["metadata"])
        written = {**old, "status": new.get("status", {}), "metadata": meta}
        if kind.custom is not None:
            kind.default(written)
            self._admit(kind, written, old)
            return written
        if any(meta.get(name) != old["metadata"].get(name) for name in _NOTES):
            _refuse(kind, written, _meta_errors(kind, written, old))
        return written

    def _admit(self, kind: Kind, new: Object, old: Object | None) -> None:
        for hook in self.hooks:
            hook(kind, new, old)
        errors = strict.check(new, kind.model)
        if not errors:
            # The rules of metadata and of the kind may rely on every field having its type. A custom resource's own are
            # a webhook's on a cluster, which sees only what the server has let in.
            errors = _meta_errors(kind, new, old)
            errors += [] if errors and not kind.built_in else kind.validate(new, old)
        _refuse(kind, new, errors)


def check_identity(kind: Kind, item: Object, target: Target, request: Request) -> None:
    """Refuse a body that names another kind, namespace or object than the path."""
    if not item.get("apiVersion") and not item.get("kind"):
        # Typed clients leave them out; the path says what they are.
        item["apiVersion"], item["kind"] = kind.api_version, kind.kind
    found = (item.get("apiVersion"), item.get("kind"))
    if found != (kind.api_version, kind.kind):
        raise status.bad_request(
            f"{found[1] or '(no kind)'} in version {status.json_quote(str(found[0]))} cannot be handled as a "
            f"{kind.kind}: the request was made to {request.path}"
        )
    meta = item.get("metadata")
    if meta is None:
        meta = item["metadata"] = {}
    if not isinstance(meta, dict):
        raise status.bad_request("metadata: want a map")
    namespace = meta.get("namespace")
    if target.namespace is not None and namespace and namespace != target.namespace:
        raise status.bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request "
            f"({namespace} vs {target.namespace})"
        )
    if not kind.namespaced and namespace:
        meta.pop("namespace")
    if target.namespace is not None and not namespace:
        meta["namespace"] = target.namespace
    if target.name is not None and meta.get("name") and meta["name"] != target.name:
        raise status.bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})"
        )
    if target.name is not None:
        meta["name"] = target.name


def check_form(kind: Kind, item: Object, body: bytes | None, options: WriteOptions, old: Object | None = None) -> None:
    """Refuse values of the wrong JSON type, and unknown and duplicate fields as fieldValidation says.

    Both are the 400 of a body that cannot be decoded. What the old object has already is not this client's fault.
    """
    # One walk for both: it is the dearest part of a write. What did not change was looked at when it was written.
    found = _problems(kind, item if old is None or kind.custom else _changed(item, old))
    for problem in found:
        if problem.sort == "type":
            raise status.bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {problem.detail}'
            )
    if options.field_validation == "Ignore":
        return
    problems: list[str] = []
    if any(problem.sort == "unknown" for problem in found):
        known = _unknown(kind, _problems(kind, old)) if old is not None else []
        problems = [problem for problem in _unknown(kind, found) if problem not in known]
    if body is not None:
        problems += strict.duplicate_fields(body)
    if not problems:
        return
    if options.field_validation == "Strict":
        text = ", ".join(problems)
        raise status.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: {text}'
        )
    options.warnings.extend(problems)


def _changed(item: Object, old: Object) -> Object:
    """Return the fields at the top that are not as they were; encoded, because to Python `true` equals `1`."""
    encode = msgspec.json.encode
    return {key: value for key, value in item.items() if key not in old or encode(value) != encode(old[key])}


def _problems(kind: Kind, item: Object) -> list[Problem]:
    return list(kind.custom.schema().problems(item) if kind.custom else strict.problems(item, kind.model))


def _unknown(kind: Kind, problems: Iterable[Problem]) -> list[str]:
    return strict.unknown_of(problems, kind.open_fields)


def warnings_of(kind: Kind, new: Object, old: Object | None) -> list[str]:
    """Return what the client is to be told of an object that is let in."""
    known = (old["metadata"].get("finalizers") or []) if old is not None else []
    bare = [name for name in new["metadata"].get("finalizers") or [] if "/" not in name and name not in known]
    return [
        *(
            f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid '
            "accidental conflicts with other finalizer writers"
            for name in bare
            if not kind.built_in and name not in _OWN_FINALIZERS
        ),
        *kind.warn(new, old),
    ]


def _refuse(kind: Kind, item: Object, errors: Sequence[FieldError]) -> None:
    if errors:
        raise status.invalid(kind.kind, kind.group, item["metadata"].get("name", ""), errors)


def _drop_empty(meta: Object) -> None:
    # As Go's encoder does with the struct that the metadata of every kind is.
    for name in _OMITTED_WHEN_EMPTY:
        if name in meta and not meta[name]:
            del meta[name]


def _status_meta(kind: Kind, meta: Object, old_meta: Object) -> Object:
    # Kubernetes' own kinds take notes with a status (a controller writes a Deployment's revision so, which must not
    # count as a new generation), but for the labels of a Deployment; custom resources take nothing but the status.
    kept = _kept_meta(meta, old_meta)
    if not kind.built_in:
        return kept
    for name in _NOTES[:1] if kind.plural == "deployments" else _NOTES:
        if meta.get(name):
            kept[name] = meta[name]
        else:
            kept.pop(name, None)
    return kept


def _kept_meta(meta: Object, old_meta: Object) -> Object:
    # A sub-resource leaves metadata alone; only the version that the write was made against matters.
    kept = dict(old_meta)
    if "resourceVersion" in meta:
        kept["resourceVersion"] = meta["resourceVersion"]
    return kept


def _desired(kind: Kind, item: Object) -> Object:
    others = {"metadata", "apiVersion", "kind", *(["status"] if kind.has_status else [])}
    wanted = {key: value for key, value in item.items() if key not in others}
    meta = item["metadata"]
    return wanted | {f"metadata.{name}": meta[name] for name in kind.generation_metadata if meta.get(name)}


def _meta_errors(kind: Kind, new: Object, old: Object | None) -> list[FieldError]:
    meta = new["metadata"]
    errors = names.validate_object_meta(meta, namespaced=kind.namespaced, name_rule=kind.name_rule)
    if old is not None:
        errors += _immutable_meta(meta, old["metadata"])
    return errors


def _immutable_meta(meta: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    errors = [
        invalid(f"metadata.{field}", meta.get(field, ""), "field is immutable")
        for field in ("name", "namespace")
        if meta.get(field, "") != old.get(field, "")
    ]
    if old.get("deletionTimestamp"):
        added = [item for item in meta.get("finalizers") or [] if item not in (old.get("finalizers") or [])]
        if added:
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
            errors.append(forbidden("metadata.finalizers", detail))
    return errors
