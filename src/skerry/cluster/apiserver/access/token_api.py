"""TokenRequest (`kubectl create token`), TokenReview, SelfSubjectReview (`kubectl auth whoami`)."""

from collections.abc import Mapping
from typing import Any, Final

from lightkube.models import authentication_v1

from skerry.api import reviews
from skerry.api.configuration import SECRET
from skerry.api.core import POD
from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.access.accounts import ISSUER, Accounts
from skerry.cluster.apiserver.access.authentication import Authenticator
from skerry.cluster.apiserver.access.jwt import TokenError, looks_signed
from skerry.cluster.apiserver.access.review_api import asked_object
from skerry.cluster.apiserver.admission import check_form, check_identity
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, json_reply, with_warnings
from skerry.cluster.apiserver.requests import Request, Target, decode_body, json_body, write_options
from skerry.cluster.apiserver.verbs import Handler
from skerry.kit.clock import timestamp
from skerry.machinery import status
from skerry.machinery.fielderrors import FieldError, invalid

_DEFAULT_SECONDS: Final = 3600
_SHORTEST: Final = 600
_LONGEST: Final = 1 << 32

TOKEN_REQUEST: Final = Kind(
    reviews.AUTHENTICATION,
    "v1",
    "TokenRequest",
    "tokenrequests",
    namespaced=True,
    model=authentication_v1.TokenRequest,
    columns=(),
    verbs=("create",),
)


class TokenApi:
    """Gives tokens of ServiceAccounts, and says whose a token is."""

    def __init__(self, reader: Reader, accounts: Accounts, authenticator: Authenticator) -> None:
        self._reader = reader
        self._accounts = accounts
        self._authenticator = authenticator

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("serviceaccounts/token", "create"): self.request,
            (reviews.TOKEN_REVIEW.group_resource, "create"): self.review,
            (reviews.SELF_SUBJECT_REVIEW.group_resource, "create"): self.who,
        }

    async def request(self, request: Request, target: Target) -> Reply:
        """Give a token for the ServiceAccount of the path."""
        options = write_options(request)
        item = decode_body(request)
        check_identity(TOKEN_REQUEST, item, Target(TOKEN_REQUEST, target.namespace, target.name), request)
        check_form(TOKEN_REQUEST, item, json_body(request), options)
        account = self._reader.fetch(Target(target.kind, target.namespace, target.name))
        spec: dict[str, Any] = {"expirationSeconds": _DEFAULT_SECONDS, "boundObjectRef": None}
        spec |= {key: value for key, value in (item.get("spec") or {}).items() if value is not None}
        spec["audiences"] = spec.get("audiences") or [ISSUER]
        _check_seconds(spec["expirationSeconds"])
        bound = self._bound(account, spec["boundObjectRef"]) if spec["boundObjectRef"] else {}
        token, end = self._accounts.issue(account, spec["expirationSeconds"], spec["audiences"], bound)
        item["metadata"] |= {"name": target.name, "namespace": target.namespace}
        item["spec"] = spec
        item["status"] = {"token": token, "expirationTimestamp": timestamp(end)}
        return with_warnings(json_reply(item, 201), options.warnings)

    def _bound(self, account: Object, reference: Mapping[str, Any]) -> dict[str, Any]:
        """Return the claims for what the token is bound to; it must be there."""
        what = (reference.get("apiVersion") or "", reference.get("kind") or "")
        kind = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET}.get(what)
        if kind is None:
            raise status.bad_request(f"cannot bind token to object of type {what[0]}, Kind={what[1]}")
        name = reference.get("name") or ""
        item = self._reader.fetch(Target(kind, account["metadata"]["namespace"], name))
        uid, wanted = item["metadata"]["uid"], reference.get("uid")
        if kind is POD:
            _check_pod(account["metadata"]["name"], item)
        if wanted and wanted != uid:
            raise status.conflict(
                what[1],
                name,
                f"the UID in the bound object reference ({wanted}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )
        claims: dict[str, Any] = {what[1].lower(): {"name": name, "uid": uid}}
        if kind is POD and (node := item["spec"].get("nodeName")):
            claims = {"node": {"name": node}, **claims}
        return claims

    async def review(self, request: Request, target: Target) -> Reply:
        """Say whose token it is."""
        item, warnings = asked_object(request, target)
        token = item["spec"].get("token")
        if not token:
            raise status.bad_request("token is required for TokenReview in authentication")
        audiences = item["spec"].get("audiences") or [ISSUER]
        try:
            item["status"] = self._reviewed(token, audiences)
        except TokenError as error:
            item["status"] = {"user": {}, "error": f"[invalid bearer token, {error}]"}
        item["spec"]["token"] = token
        return with_warnings(json_reply(item, 201), warnings)

    def _reviewed(self, token: str, audiences: list[str]) -> dict[str, Any]:
        if not looks_signed(token):
            user, meant = self._authenticator.user_of_token(token), [one for one in audiences if one == ISSUER]
            if not meant:
                raise TokenError("the token is meant for another audience")
        else:
            verified = self._accounts.check(token, audiences)
            user, meant = verified.user, list(verified.audiences)
        return {"authenticated": True, "user": user.info(), "audiences": meant}

    async def who(self, request: Request, target: Target) -> Reply:
        """Say who asks."""
        item, warnings = asked_object(request, target)
        item["status"] = {"userInfo": request.user.info()}
        return with_warnings(json_reply(item, 201), warnings)


def _check_seconds(seconds: int) -> None:
    errors: list[FieldError] = []
    field = "spec.expirationSeconds"
    if seconds < _SHORTEST:
        errors.append(invalid(field, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > _LONGEST:
        errors.append(invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
    if errors:
        raise status.invalid("TokenRequest", reviews.AUTHENTICATION, "", errors)


def _check_pod(account: str, pod: Object) -> None:
    runs_as = pod["spec"].get("serviceAccountName") or ""
    if runs_as != account:
        raise status.bad_request(
            f"cannot bind token for serviceaccount {status.json_quote(account)} to pod running with different "
            "serviceaccount name."
        )
