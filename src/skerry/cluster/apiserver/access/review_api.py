"""SubjectAccessReview and its kin: what `kubectl auth can-i` asks. Nothing is stored."""

from collections.abc import Mapping
from typing import Any

from skerry.api import reviews
from skerry.api.rbac_rules import Asked, Rule, compacted
from skerry.api.registry import Object
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.users import User
from skerry.cluster.apiserver.admission import check_form, check_identity
from skerry.cluster.apiserver.replies import Reply, json_reply, with_warnings
from skerry.cluster.apiserver.requests import Request, Target, decode_body, json_body, write_options
from skerry.cluster.apiserver.verbs import Handler
from skerry.machinery import status, strict
from skerry.machinery.fielderrors import FieldError, invalid


def asked_object(request: Request, target: Target) -> tuple[Object, list[str]]:
    """Decode what is asked, well-formed; returns it with warnings for the client."""
    item, options = decode_body(request), write_options(request)
    check_identity(target.kind, item, target, request)
    check_form(target.kind, item, json_body(request), options)
    item.pop("status", None)
    if errors := strict.check(item, target.kind.model):
        raise status.invalid(target.kind.kind, target.kind.group, "", errors)
    return item, options.warnings


class ReviewApi:
    """Answers access reviews."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            (reviews.ACCESS_REVIEW.group_resource, "create"): self.of_subject,
            (reviews.LOCAL_ACCESS_REVIEW.group_resource, "create"): self.of_subject,
            (reviews.SELF_ACCESS_REVIEW.group_resource, "create"): self.of_self,
            (reviews.SELF_RULES_REVIEW.group_resource, "create"): self.rules,
        }

    async def of_self(self, request: Request, target: Target) -> Reply:
        """Say whether the asking user may."""
        item, warnings = asked_object(request, target)
        _refuse(target, _attribute_errors(item.get("spec") or {}))
        return self._decided(item, request.user, warnings)

    async def of_subject(self, request: Request, target: Target) -> Reply:
        """Say whether somebody else may, anywhere or in the namespace of the path."""
        item, warnings = asked_object(request, target)
        spec = item.get("spec") or {}
        errors = _attribute_errors(spec)
        if not spec.get("user") and not spec.get("groups"):
            errors.append(invalid("spec.user", "", "at least one of user or group must be specified"))
        if target.namespace is not None:
            errors += _local_errors(spec, target.namespace)
        _refuse(target, errors)
        extra = {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
        user = User(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)
        return self._decided(item, user, warnings)

    async def rules(self, request: Request, target: Target) -> Reply:
        """List what the asking user may do in a namespace."""
        item, warnings = asked_object(request, target)
        namespace = (item.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise status.bad_request("no namespace on request")
        held = self._authorizer.held(request.user, namespace)
        rules = compacted(held.rules)
        item["status"] = {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [rule.written() for rule in rules if rule.urls],
            "incomplete": False,
            **({"evaluationError": ", ".join(held.errors)} if held.errors else {}),
        }
        return with_warnings(json_reply(item, 201), warnings)

    def _decided(self, item: Object, user: User, warnings: list[str]) -> Reply:
        decision = self._authorizer.decide(user, _asked(item["spec"]))
        item["status"] = {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}
        return with_warnings(json_reply(item, 201), warnings)


def _asked(spec: Mapping[str, Any]) -> Asked:
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = spec["nonResourceAttributes"]
        # A path that is empty is about no path, and nothing but "*" allows it.
        return Asked(path.get("verb") or "", path=path.get("path") or " ")
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Asked(**{field: resource.get(field) or "" for field in fields})


def _resource_rule(rule: Rule) -> dict[str, list[str]]:
    # Kubernetes writes the list of groups even when it is empty; kubectl sorts by it.
    return {"apiGroups": [], **rule.written()}


def _attribute_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        return [
            invalid("spec.nonResourceAttributes", path, "cannot be specified in combination with resourceAttributes")
        ]
    if resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [invalid("spec.resourceAttributes", None, why)]
    return []


def _local_errors(spec: Mapping[str, Any], namespace: str) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if path is not None:
        return [invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request")]
    asked = (resource or {}).get("namespace") or ""
    if asked != namespace:
        return [invalid("spec.resourceAttributes.namespace", asked, f"must match metadata.namespace: {namespace}")]
    return []


def _refuse(target: Target, errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid(target.kind.kind, target.kind.group, "", errors)
