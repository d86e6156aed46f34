"""Tokens: what is in them, how long they hold, and what does not get in with a forged one."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apiserver.conftest import no_logs
from tests.apiserver.people import account, allow, posted, rule, token_of, with_token

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.access.accounts import ISSUER
from skerry.cluster.apiserver.access.jwt import TokenError, sign, verify
from skerry.cluster.apiserver.access.keys import SigningKey, SigningKeys, load
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = SigningKeys([SigningKey("new", b"n" * 32, NOW), SigningKey("old", b"o" * 32, NOW)])
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCOUNTS = "/api/v1/namespaces/a/serviceaccounts"


class TurnedClock(SystemClock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def app(store: Store, clock: TurnedClock) -> ApiServer:
    tokens = Tokens({token_hash("secret"): "admin"})
    return ApiServer(ApiServerParts(store, REGISTRY, clock, tokens, no_logs, keys=KEYS))


async def code(app: ApiServer, token: str | None) -> int:
    """Return 401 for who is not known; 403 for who is and has no rights."""
    return (await with_token(app, token).get("/api/v1/namespaces/a/pods")).status_code


def claims_of(token: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


async def test_what_stands_in_a_token(app: ApiServer, http: httpx2.AsyncClient) -> None:
    made = await account(http, "a", "robot")
    token = await token_of(http, "a", "robot", expirationSeconds=1200)
    claims = claims_of(token)
    jti = claims.pop("jti")
    assert claims == {
        "aud": [ISSUER],
        "exp": int(NOW.timestamp()) + 1200,
        "iat": int(NOW.timestamp()),
        "iss": ISSUER,
        "kubernetes.io": {"namespace": "a", "serviceaccount": {"name": "robot", "uid": made["metadata"]["uid"]}},
        "nbf": int(NOW.timestamp()),
        "sub": "system:serviceaccount:a:robot",
    }
    await allow(http, "system:serviceaccount:a:robot", rule("create", "selfsubjectreviews", ["authentication.k8s.io"]))
    said = await posted(with_token(app, token), WHO)
    assert said["status"]["userInfo"] == {
        "username": "system:serviceaccount:a:robot",
        "uid": made["metadata"]["uid"],
        "groups": ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={jti}"]},
    }


async def test_a_token_ends_with_its_time(app: ApiServer, http: httpx2.AsyncClient, clock: TurnedClock) -> None:
    await account(http, "a", "robot")
    token = await token_of(http, "a", "robot", expirationSeconds=600)
    for seconds, expected in ((0, 403), (600, 403), (659, 403), (661, 401), (86400, 401), (1, 403)):
        clock.time = NOW + timedelta(seconds=seconds)
        assert await code(app, token) == expected, seconds


async def test_a_clock_that_was_years_off(app: ApiServer, http: httpx2.AsyncClient, clock: TurnedClock) -> None:
    await account(http, "a", "robot")
    await http.post("/api/v1/namespaces/a/configmaps", json={"metadata": {"name": "kube-root-ca.crt"}})
    annotations = {"kubernetes.io/service-account.name": "robot"}
    kept = await posted(
        http,
        "/api/v1/namespaces/a/secrets",
        metadata={"name": "kept", "annotations": annotations},
        type="kubernetes.io/service-account-token",
    )
    lasting = base64.b64decode(kept["data"]["token"]).decode()
    clock.time = NOW.replace(year=2036)
    ahead = await token_of(http, "a", "robot", expirationSeconds=3600)
    assert await code(app, ahead) == 403
    for year in (1970, 2026, 2036, 2060):
        clock.time = NOW.replace(year=year)
        # A token from a wrong future is refused in the right present; it would be good for ten years.
        assert await code(app, ahead) == (403 if year == 2036 else 401), year
        # Nobody is locked out: these two know no time, and with them others are made.
        assert await code(app, lasting) == 403, year
        assert await code(app, "secret") == 200, year
        assert await code(app, await token_of(http, "a", "robot")) == 403, year


async def test_a_token_ends_with_what_it_is_bound_to(app: ApiServer, http: httpx2.AsyncClient) -> None:
    await account(http, "a", "robot")
    spec = {"serviceAccountName": "robot", "containers": [{"name": "c", "image": "i"}]}
    pod = await posted(http, "/api/v1/namespaces/a/pods", metadata={"name": "p"}, spec=spec)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    bound = await token_of(http, "a", "robot", boundObjectRef=reference)
    free = await token_of(http, "a", "robot")
    assert claims_of(bound)["kubernetes.io"]["pod"] == {"name": "p", "uid": pod["metadata"]["uid"]}
    assert (await code(app, bound), await code(app, free)) == (403, 403)
    await http.delete("/api/v1/namespaces/a/pods/p")
    assert (await code(app, bound), await code(app, free)) == (401, 403)
    await posted(http, "/api/v1/namespaces/a/pods", metadata={"name": "p"}, spec=spec)  # the same name, another pod
    assert await code(app, bound) == 401
    await http.delete(f"{ACCOUNTS}/robot")
    assert await code(app, free) == 401
    await account(http, "a", "robot")  # the same name, another account
    assert await code(app, free) == 401


async def test_a_token_in_a_secret(app: ApiServer, http: httpx2.AsyncClient) -> None:
    robot = await account(http, "a", "robot")
    await http.post(
        "/api/v1/namespaces/a/configmaps", json={"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "PEM"}}
    )
    secret = {"metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "robot"}}}
    kept = await posted(
        http, "/api/v1/namespaces/a/secrets", **secret, type="kubernetes.io/service-account-token", data={"x": "eA=="}
    )
    data = {key: base64.b64decode(value).decode() for key, value in kept["data"].items()}
    assert (data["namespace"], data["ca.crt"], data["x"]) == ("a", "PEM", "x")
    assert kept["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == robot["metadata"]["uid"]
    assert await code(app, data["token"]) == 403
    again = (await http.put("/api/v1/namespaces/a/secrets/s", json=kept)).json()
    assert again["data"] == kept["data"]
    await http.delete("/api/v1/namespaces/a/secrets/s")
    assert await code(app, data["token"]) == 401
    other = await posted(http, "/api/v1/namespaces/a/secrets", **secret, type="kubernetes.io/service-account-token")
    assert await code(app, base64.b64decode(other["data"]["token"]).decode()) == 403


BAD_REQUESTS: list[tuple[dict[str, Any], int, str]] = [
    (
        {"expirationSeconds": 599},
        422,
        (
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: '
            "may not specify a duration less than 10 minutes"
        ),
    ),
    (
        {"expirationSeconds": 2**32 + 1},
        422,
        (
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: '
            "may not specify a duration larger than 2^32 seconds"
        ),
    ),
    ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "none"}}, 404, 'pods "none" not found'),
    (
        {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}},
        400,
        "cannot bind token to object of type v1, Kind=ConfigMap",
    ),
    (
        {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}},
        400,
        'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.',
    ),
    (
        {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "other"}},
        409,
        (
            'Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (other) does not match '
            "the UID in record. The object might have been deleted and then recreated"
        ),
    ),
]


@pytest.mark.parametrize(("spec", "expected", "message"), BAD_REQUESTS)
async def test_requests_that_are_refused(
    http: httpx2.AsyncClient, spec: dict[str, Any], expected: int, message: str
) -> None:
    await account(http, "a", "robot")
    pod = {"serviceAccountName": "other", "containers": [{"name": "c", "image": "i"}]}
    await posted(http, "/api/v1/namespaces/a/pods", metadata={"name": "p"}, spec=pod)
    await posted(http, "/api/v1/namespaces/a/secrets", metadata={"name": "s"})
    answer = await http.post(f"{ACCOUNTS}/robot/token", json={"spec": spec})
    assert (answer.status_code, answer.json()["message"]) == (expected, message)


async def test_audiences(app: ApiServer, http: httpx2.AsyncClient) -> None:
    await account(http, "a", "robot")
    vault = await token_of(http, "a", "robot", audiences=["vault", "bank"])
    assert await code(app, vault) == 401
    asked = {"token": vault, "audiences": ["bank", "other"]}
    said = (await posted(http, REVIEW, spec=asked))["status"]
    assert (said["authenticated"], said["audiences"]) == (True, ["bank"])
    assert said["user"]["username"] == "system:serviceaccount:a:robot"
    for spec in ({"token": vault}, {"token": "nonsense"}, {"token": "a.b.c"}, {"token": "secret", "audiences": ["x"]}):
        said = (await posted(http, REVIEW, spec=spec))["status"]
        assert "authenticated" not in said
        assert said["error"].startswith("[invalid bearer token, ")
    said = (await posted(http, REVIEW, spec={"token": "secret"}))["status"]
    assert said["user"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert (await http.post(REVIEW, json={"spec": {"token": ""}})).status_code == 400


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: Any, claims: Any, secret: bytes = b"n" * 32) -> str:
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


HEADER = {"alg": "HS256", "kid": "new"}
# From a good token's claims to a bad token.
FORGERIES: dict[str, Callable[[Any, str], str]] = {
    "alg none": lambda claims, _: f"{encoded({**HEADER, 'alg': 'none'})}.{encoded(claims)}.",
    "alg none, signed": lambda claims, _: forged({**HEADER, "alg": "none"}, claims),
    "alg in other case": lambda claims, _: forged({**HEADER, "alg": "hs256"}, claims),
    "alg RS256 with our key": lambda claims, _: forged({**HEADER, "alg": "RS256"}, claims),
    "no kid": lambda claims, _: forged({"alg": "HS256"}, claims),
    "unknown kid": lambda claims, _: forged({**HEADER, "kid": "other"}, claims),
    "kid of another key": lambda claims, _: forged({**HEADER, "kid": "old"}, claims),
    "kid a path": lambda claims, _: forged({**HEADER, "kid": "../../dev/null"}, claims, b""),
    "other key": lambda claims, _: forged(HEADER, claims, b"x" * 32),
    "empty key": lambda claims, _: forged(HEADER, claims, b""),
    "critical header": lambda claims, _: forged({**HEADER, "crit": ["b64"], "b64": False}, claims),
    "header no object": lambda claims, _: forged([HEADER], claims),
    "claims no object": lambda claims, _: forged(HEADER, [claims]),
    "no expiry": lambda claims, _: forged(HEADER, {**claims, "exp": None}),
    "expiry a text": lambda claims, _: forged(HEADER, {**claims, "exp": "never"}),
    "other issuer": lambda claims, _: forged(HEADER, {**claims, "iss": "https://elsewhere"}),
    "other audience": lambda claims, _: forged(HEADER, {**claims, "aud": ["elsewhere"]}),
    "audience a text": lambda claims, _: forged(HEADER, {**claims, "aud": ISSUER}),
    "no account": lambda claims, _: forged(HEADER, {**claims, "kubernetes.io": None}),
    "other subject": lambda claims, _: forged(HEADER, {**claims, "sub": "system:admin"}),
    "other namespace": lambda claims, _: forged(
        HEADER, {**claims, "kubernetes.io": {**claims["kubernetes.io"], "namespace": "b"}}
    ),
    "uid empty": lambda claims, _: forged(
        HEADER, {**claims, "kubernetes.io": {"namespace": "a", "serviceaccount": {"name": "robot", "uid": ""}}}
    ),
    "claims exchanged": lambda claims, good: ".".join(
        [good.split(".")[0], encoded({**claims, "exp": claims["exp"] + 1}), good.split(".")[2]]
    ),
    "truncated": lambda _, good: good[:-1],
    "signature cut off": lambda _, good: good.rsplit(".", 1)[0] + ".",
    "no signature": lambda _, good: good.rsplit(".", 1)[0],
    "a fourth part": lambda _, good: f"{good}.e30",
    "padded": lambda _, good: f"{good}=",
    "not canonical": lambda _, good: good[:-1] + chr(ord(good[-1]) + 1),
    "huge": lambda claims, _: forged(HEADER, {**claims, "more": "x" * 20_000}),
    "huge and nested": lambda _, good: "[" * 15_000 + good[-1000:],
    "nested header": lambda claims, _: forged(b'{"alg":"HS256","kid":"new","x":' + b"[" * 8000, claims),
    "not ascii": lambda _, good: f"\xff{good}",
    "nothing": lambda *_: "",
    "dots": lambda *_: "..",
}


@pytest.mark.parametrize("how", sorted(FORGERIES))
async def test_forged_tokens_get_nowhere(app: ApiServer, http: httpx2.AsyncClient, how: str) -> None:
    await account(http, "a", "robot")
    await posted(http, "/api/v1/namespaces", metadata={"name": "b"})
    good = await token_of(http, "a", "robot")
    assert forged(HEADER, claims_of(good)) != good  # only the order of the header differs, and that is signed too
    assert await code(app, forged(HEADER, claims_of(good))) == 403  # the forger of this test knows how
    token = FORGERIES[how](claims_of(good), good)
    answer = await with_token(app, None).get(
        "/api/v1/namespaces/a/pods", headers=[(b"authorization", b"Bearer " + token.encode("latin-1"))]
    )
    assert answer.status_code == 401
    assert answer.json()["message"] == "Unauthorized"


@given(st.text(max_size=60), st.integers(0, 200), st.characters())
def test_damaged_tokens_are_refused_and_break_nothing(noise: str, place: int, character: str) -> None:
    good = sign({"iss": "x"}, KEYS)
    assert verify(good, KEYS) == (b'{"iss":"x"}', "new")
    damaged = good[:place] + character + good[place + 1 :]
    for token in (noise, f"{noise}.{noise}.{noise}", damaged):
        if token != good:
            with pytest.raises(TokenError):
                verify(token, KEYS)


async def test_two_tokens_are_none(app: ApiServer) -> None:
    both = [(b"authorization", b"Bearer secret"), (b"authorization", b"Bearer secret")]
    assert (await with_token(app, None).get("/api", headers=both)).status_code == 401
    assert (await with_token(app, "secret").get("/api")).status_code == 200
    assert (await with_token(app, "wrong").get("/version")).status_code == 401
    assert (await with_token(app, None).get("/version")).status_code == 200
    assert (await with_token(app, None).get("/api")).status_code == 401


def test_keys_are_replaced_by_age_and_never_lost_by_a_wrong_clock(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = load(path, NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path, NOW + timedelta(days=364)) == first
    second = load(path, NOW + timedelta(days=366))
    assert second.keys[1:] == first.keys
    token = sign({}, first)
    assert verify(token, second)[1] == first.newest.id
    # The clock falls back to 1970 and jumps to 2060: one more key, the last ones are still good.
    assert load(path, NOW.replace(year=1970)) == second
    third = load(path, NOW.replace(year=2060))
    assert third.keys[1:] == second.keys
    assert load(path, NOW) == third
    assert verify(token, third)[1] == first.newest.id
    path.write_bytes(b"damaged")
    fresh = load(path, NOW)
    assert load(path, NOW) == fresh
    assert (tmp_path / "keys.damaged").read_bytes() == b"damaged"
    with pytest.raises(TokenError, match="unknown key"):
        verify(token, fresh)
