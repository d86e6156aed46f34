"""Requests that are odd: paths, methods, media types, bodies, versions, pages. What a real server answers to them."""

import base64
import json
from typing import Any

import httpx2
import pytest

from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.apiserver.yaml_body import decode_yaml
from skerry.cluster.store import Store
from skerry.machinery.status import StatusError

MAPS = "/api/v1/namespaces/a/configmaps"
PODS = "/api/v1/namespaces/a/pods"
MERGE = {"content-type": "application/merge-patch+json"}
YAML = {"content-type": "application/yaml"}


async def create(http: httpx2.AsyncClient, name: str, path: str = MAPS, **more: Any) -> dict[str, Any]:
    made = await http.post(path, json={"metadata": {"name": name}, **more})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def status_of(answer: httpx2.Response) -> tuple[int, str]:
    body = answer.json()
    assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
    assert body["code"] == answer.status_code
    assert body["message"]
    return answer.status_code, body["reason"]


class TestPaths:
    """What is served where."""

    @pytest.mark.parametrize(
        "path",
        [
            "/nope",
            "/api/v2/pods",
            "/apis/apps/v1/pods",
            "/apis/nope.example.com/v1/things",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/namespaces/b",
            "/api/v1/namespaces/a/pods/p/nope",
            "/api/v1/namespaces/a/pods/p/log/more",
            "/api/v1/pods/p",
            "/api/v1/namespaces/a/configmaps/c/status",
            "/api/v1/watch/pods",
        ],
    )
    async def test_paths_that_are_not_served(self, http: httpx2.AsyncClient, path: str) -> None:
        assert status_of(await http.get(path)) == (404, "NotFound")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", f"{MAPS}/c"),
            ("PUT", MAPS),
            ("PATCH", MAPS),
            ("POST", "/api/v1/configmaps"),
            ("DELETE", "/api/v1/configmaps"),
            ("DELETE", "/api/v1/namespaces"),
            ("DELETE", f"{PODS}/p/status"),
            ("POST", f"{PODS}/p/status"),
            ("POST", f"{PODS}/p/log"),
            ("GET", f"{PODS}/p/binding"),
            ("DELETE", f"{PODS}/p/binding"),
            ("GET", "/api/v1/namespaces/a/finalize"),
            ("PATCH", "/api/v1/namespaces/a/finalize"),
            ("OPTIONS", MAPS),
            ("TRACE", MAPS),
        ],
    )
    async def test_methods_that_a_path_does_not_take(self, http: httpx2.AsyncClient, method: str, path: str) -> None:
        answer = await http.request(method, path, json={})
        assert status_of(answer) == (405, "MethodNotAllowed")

    async def test_a_delete_over_all_namespaces_deletes_nothing(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        await http.request("DELETE", "/api/v1/configmaps")
        assert (await http.get(f"{MAPS}/c")).status_code == 200

    async def test_head_has_the_headers_of_get_and_no_body(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        got, head = await http.get(f"{MAPS}/c"), await http.head(f"{MAPS}/c")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(got.content))
        assert (await http.head(f"{MAPS}/nope")).status_code == 404
        assert (await http.head(MAPS, params={"watch": "true"})).content == b""

    async def test_paths_are_decoded_once(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c.d")
        assert (await http.get(f"{MAPS}/c%2Ed")).json()["metadata"]["name"] == "c.d"
        twice = await http.get(f"{MAPS}/c%252Ed")
        assert status_of(twice) == (404, "NotFound")
        assert twice.json()["details"]["name"] == "c%2Ed"
        assert (await http.get(f"{MAPS}/")).json()["kind"] == "ConfigMapList"

    @pytest.mark.parametrize("name", ["%00", "%C3%A4", "%FF", "..", ".", "a%0Ab", "x" * 3000])
    async def test_names_that_nothing_can_have(self, http: httpx2.AsyncClient, name: str) -> None:
        for method in ("GET", "DELETE"):
            answer = await http.request(method, f"{MAPS}/{name}")
            assert answer.status_code in {200, 404, 405}, answer.text


class TestAccept:
    """Content negotiation."""

    @pytest.mark.parametrize(
        "accept",
        [
            "*/*",
            "application/*",
            "application/json",
            "application/json; charset=utf-8",
            "application/vnd.kubernetes.protobuf, application/json",
            "application/vnd.kubernetes.protobuf,*/*",
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
            "text/html, application/json;q=0.9",
            "application/json;stream=watch",
            "",
        ],
    )
    async def test_plain_json(self, http: httpx2.AsyncClient, accept: str) -> None:
        await create(http, "c")
        for path in (MAPS, f"{MAPS}/c"):
            answer = await http.get(path, headers={"accept": accept})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["kind"] in {"ConfigMap", "ConfigMapList"}

    @pytest.mark.parametrize(
        "accept",
        ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Chair;v=v1;g=meta.k8s.io"],
    )
    async def test_what_is_not_offered(self, http: httpx2.AsyncClient, accept: str) -> None:
        answer = await http.get(MAPS, headers={"accept": accept})
        assert status_of(answer) == (406, "NotAcceptable")
        assert "application/json" in answer.json()["message"]

    async def test_a_write_that_cannot_be_answered_is_not_made(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post(MAPS, json={"metadata": {"name": "c"}}, headers={"accept": "text/html"})
        assert answer.status_code == 406
        assert (await http.get(f"{MAPS}/c")).status_code == 404

    @pytest.mark.parametrize(
        ("include", "row"),
        [
            (None, "PartialObjectMetadata"),
            ("Metadata", "PartialObjectMetadata"),
            ("Object", "ConfigMap"),
            ("None", None),
        ],
    )
    async def test_tables_carry_what_was_asked_for(
        self, http: httpx2.AsyncClient, include: str | None, row: str | None
    ) -> None:
        await create(http, "c", data={"k": "v"})
        params = {"includeObject": include} if include else {}
        for path in (MAPS, f"{MAPS}/c"):
            table = (
                await http.get(path, params=params, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
            ).json()
            assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
            assert [one["name"] for one in table["columnDefinitions"]][:2] == ["Name", "Data"]
            assert table["rows"][0]["cells"][:2] == ["c", 1]
            assert table["rows"][0].get("object", {}).get("kind") == row
            assert ("data" in table["rows"][0].get("object", {})) is (row == "ConfigMap")
            assert table["metadata"]["resourceVersion"]

    async def test_an_unknown_include_is_refused(self, http: httpx2.AsyncClient) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        answer = await http.get(MAPS, params={"includeObject": "Some"}, headers=accept)
        assert status_of(answer) == (400, "BadRequest")

    async def test_metadata_alone(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c", data={"k": "v"})
        accept = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
        listed = (await http.get(MAPS, headers=accept)).json()
        assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
        (item,) = listed["items"]
        assert set(item) == {"kind", "apiVersion", "metadata"}
        one = await http.get(f"{MAPS}/c", headers={"accept": accept["accept"].replace("List", "")})
        assert one.json() == item
        assert one.headers["content-type"].startswith("application/json;as=PartialObjectMetadata;")


class TestBodies:
    """What comes in."""

    async def test_too_large(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post(MAPS, json={"metadata": {"name": "c"}, "data": {"k": "x" * (3 << 20)}})
        assert status_of(answer) == (413, "RequestEntityTooLarge")

    @pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"", b"null", b"7", b'{"metadata":7}'])
    async def test_json_that_is_no_object(self, http: httpx2.AsyncClient, content: bytes) -> None:
        answer = await http.post(MAPS, content=content, headers={"content-type": "application/json"})
        assert status_of(answer) == (400, "BadRequest")

    @pytest.mark.parametrize(
        "content",
        [
            b"a: [b",
            b"- 1",
            b"!!python/object:os.system {}",
            b"? [a, b]\n: c",
            b"&a [*a]",
            b"a: &a [x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 110)),
            b"\xff\xfe\x00",
        ],
    )
    async def test_yaml_that_is_no_object(self, http: httpx2.AsyncClient, content: bytes) -> None:
        assert status_of(await http.post(MAPS, content=content, headers=YAML)) == (400, "BadRequest")

    def test_yaml_is_read_as_go_reads_it(self) -> None:
        text = b"""
        date: 2026-01-01
        moment: 2026-01-01T00:00:00Z
        clock: 12:30
        long: 1:30:00
        equals: =
        mode: 0644
        hex: 0x1F
        number: 1_000
        float: 1.5
        exp: 1e3
        yes: yes
        7: one
        true: x
        nothing: ~
        version: 1.2.3
        plus: +1
        """
        assert decode_yaml(text) == {
            "date": "2026-01-01",
            "moment": "2026-01-01T00:00:00Z",
            "clock": "12:30",
            "long": "1:30:00",
            "equals": "=",
            "mode": 0o644,
            "hex": 31,
            "number": 1000,
            "float": 1.5,
            "exp": 1000.0,
            "true": "x",
            "7": "one",
            "nothing": None,
            "version": "1.2.3",
            "plus": 1,
        }
        with pytest.raises(StatusError):
            decode_yaml(b"a: !!binary aGk=")

    async def test_yaml_with_a_timestamp_is_taken(self, http: httpx2.AsyncClient) -> None:
        text = b"metadata:\n  name: y\n  creationTimestamp: 2026-01-01T00:00:00Z\ndata:\n  k: '2026-01-01'\n"
        made = await http.post(MAPS, content=text, headers=YAML)
        assert (made.status_code, made.json()["data"]) == (201, {"k": "2026-01-01"})

    async def test_duplicates_in_a_patch_are_said(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        body = b'{"data":{"k":"1","k":"2"}}'
        warned = await http.patch(f"{MAPS}/c", content=body, headers=MERGE)
        assert 'duplicate field \\"data.k\\"' in warned.headers["warning"]
        strict = await http.patch(f"{MAPS}/c?fieldValidation=Strict", content=body, headers=MERGE)
        assert status_of(strict) == (400, "BadRequest")

    async def test_an_old_unknown_field_does_not_stop_a_strict_patch(self, http: httpx2.AsyncClient) -> None:
        """It was taken once, and survives; a client that patches something else is not to blame for it."""
        await http.post(f"{MAPS}?fieldValidation=Ignore", json={"metadata": {"name": "c"}, "datta": {"k": "v"}})
        labelled = await http.patch(
            f"{MAPS}/c?fieldValidation=Strict", json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE
        )
        assert labelled.status_code == 200, labelled.text
        assert labelled.json()["datta"] == {"k": "v"}
        assert "warning" not in labelled.headers
        refused = await http.patch(f"{MAPS}/c?fieldValidation=Strict", json={"dattta": {}}, headers=MERGE)
        assert status_of(refused) == (400, "BadRequest")

    @pytest.mark.parametrize("query", ["dryRun=Some", "fieldValidation=Loose"])
    async def test_write_options_that_are_unknown(self, http: httpx2.AsyncClient, query: str) -> None:
        answer = await http.post(f"{MAPS}?{query}", json={"metadata": {"name": "c"}})
        assert status_of(answer) == (422, "Invalid")
        assert answer.json()["message"].startswith('CreateOptions.meta.k8s.io "" is invalid: ')
        assert (await http.get(f"{MAPS}/c")).status_code == 404


class TestLists:
    """Versions, pages, selectors."""

    async def test_pages_tell_the_version_of_the_first(self, http: httpx2.AsyncClient) -> None:
        """A client watches from the version of its list: from that of the last page it would miss what changed."""
        for number in range(5):
            await create(http, f"m{number}")
        first = (await http.get(MAPS, params={"limit": "2"})).json()
        await http.patch(f"{MAPS}/m0", json={"data": {"k": "changed"}}, headers=MERGE)
        second = (await http.get(MAPS, params={"limit": "2", "continue": first["metadata"]["continue"]})).json()
        last = (await http.get(MAPS, params={"limit": "2", "continue": second["metadata"]["continue"]})).json()
        versions = {page["metadata"]["resourceVersion"] for page in (first, second, last)}
        assert versions == {first["metadata"]["resourceVersion"]}
        assert "continue" not in last["metadata"]
        assert [page["metadata"].get("remainingItemCount") for page in (first, second, last)] == [3, 1, None]

    async def test_pages_of_selected_objects_are_full(self, http: httpx2.AsyncClient) -> None:
        for number in range(12):
            labels = {"third": str(number % 3)}
            await http.post(MAPS, json={"metadata": {"name": f"m{number:02}", "labels": labels}})
        seen: list[list[str]] = []
        params = {"limit": "3", "labelSelector": "third=1"}
        while True:
            page = (await http.get(MAPS, params=params)).json()
            seen.append([item["metadata"]["name"] for item in page["items"]])
            assert "remainingItemCount" not in page["metadata"]
            if "continue" not in page["metadata"]:
                break
            params["continue"] = page["metadata"]["continue"]
        assert seen == [["m01", "m04", "m07"], ["m10"]]

    async def test_pages_over_all_namespaces(self, http: httpx2.AsyncClient) -> None:
        await http.post("/api/v1/namespaces", json={"metadata": {"name": "b"}})
        for namespace in "ab":
            for number in range(3):
                await create(http, f"m{number}", f"/api/v1/namespaces/{namespace}/configmaps")
        seen, token = [], ""
        while True:
            page = (await http.get("/api/v1/configmaps", params={"limit": "2", "continue": token})).json()
            seen += [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert seen == ["a/m0", "a/m1", "a/m2", "b/m0", "b/m1", "b/m2"]

    @pytest.mark.parametrize("limit", ["-1", "0", ""])
    async def test_limits_that_are_none(self, http: httpx2.AsyncClient, limit: str) -> None:
        for number in range(3):
            await create(http, f"m{number}")
        page = (await http.get(MAPS, params={"limit": limit})).json()
        assert len(page["items"]) == 3
        assert "continue" not in page["metadata"]

    @pytest.mark.parametrize("token", ["x", "!!", "5", '["a"]', '"ab"', "{}", '{"rv":"1"}', "[1,2]", "\u00e4"])
    async def test_tokens_from_elsewhere(self, http: httpx2.AsyncClient, token: str) -> None:
        for text in (token, base64.urlsafe_b64encode(token.encode()).decode()):
            assert status_of(await http.get(MAPS, params={"continue": text})) == (400, "BadRequest")

    async def test_a_token_that_is_too_old(self, http: httpx2.AsyncClient, store: Store) -> None:
        for number in range(3):
            await create(http, f"m{number}")
        token = (await http.get(MAPS, params={"limit": "1"})).json()["metadata"]["continue"]
        store._reader.execute("PRAGMA query_only=OFF")
        store._reader.execute("UPDATE marks SET value=1000 WHERE name='compacted'")
        assert status_of(await http.get(MAPS, params={"continue": token})) == (410, "Expired")

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({"resourceVersion": "0"}, (200, "")),
            ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}, (200, "")),
            ({"resourceVersion": "1", "resourceVersionMatch": "NotOlderThan"}, (200, "")),
            ({"resourceVersion": "1"}, (200, "")),
            ({"resourceVersion": "1", "resourceVersionMatch": "Exact"}, (200, "")),
            ({"resourceVersion": "99999"}, (504, "Timeout")),
            ({"resourceVersion": "x"}, (400, "BadRequest")),
            ({"resourceVersionMatch": "Exact"}, (422, "Invalid")),
            ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, (422, "Invalid")),
            ({"resourceVersion": "1", "resourceVersionMatch": "Nearly"}, (422, "Invalid")),
            ({"sendInitialEvents": "true"}, (422, "Invalid")),
        ],
    )
    async def test_versions_of_a_list(
        self, http: httpx2.AsyncClient, params: dict[str, str], expected: tuple[int, str]
    ) -> None:
        await create(http, "c")
        answer = await http.get(MAPS, params=params)
        assert (answer.status_code, "") == expected or status_of(answer) == expected
        if answer.status_code == 504:
            details = answer.json()["details"]
            assert details["causes"][0]["reason"] == "ResourceVersionTooLarge"
            assert details["retryAfterSeconds"] == 1

    async def test_the_present_version_exactly(self, http: httpx2.AsyncClient) -> None:
        made = await create(http, "c")
        version = made["metadata"]["resourceVersion"]
        answer = await http.get(MAPS, params={"resourceVersion": version, "resourceVersionMatch": "Exact"})
        assert answer.json()["metadata"]["resourceVersion"] == version

    @pytest.mark.parametrize(
        ("path", "selector", "count"),
        [
            (PODS, "spec.nodeName=", 1),
            (PODS, "spec.nodeName!=", 0),
            (PODS, "status.phase=Pending", 1),
            (PODS, "status.phase!=Pending,spec.restartPolicy=Always", 0),
            (PODS, "spec.restartPolicy=Always,metadata.name=p,metadata.namespace=a", 1),
            (PODS, "spec.hostNetwork=false", 1),
            (PODS, "spec.hostNetwork=true", 0),
            (PODS, "spec.serviceAccountName=default", 1),
            ("/api/v1/nodes", "spec.unschedulable=false", 1),
            ("/api/v1/nodes", "spec.unschedulable=true", 1),
            ("/api/v1/namespaces", "status.phase=Active", 1),
            ("/api/v1/namespaces", "metadata.name=a", 1),
            ("/api/v1/namespaces/a/secrets", "type=Opaque", 1),
            ("/api/v1/namespaces/a/secrets", "type!=Opaque", 0),
            ("/api/v1/namespaces/a/events", "involvedObject.kind=Pod,reason=R,type=Normal", 1),
            ("/api/v1/namespaces/a/events", "source=kubelet", 1),
            ("/api/v1/namespaces/a/events", "reportingComponent=reporter", 1),
            ("/apis/events.k8s.io/v1/namespaces/a/events", "regarding.name=p,reportingController=reporter", 1),
            ("/apis/events.k8s.io/v1/namespaces/a/events", "regarding.name=q", 0),
        ],
    )
    async def test_fields_that_can_be_selected(
        self, http: httpx2.AsyncClient, path: str, selector: str, count: int
    ) -> None:
        await create(
            http, "p", PODS, spec={"containers": [{"name": "c", "image": "i:1"}], "serviceAccountName": "default"}
        )
        await create(http, "n1", "/api/v1/nodes")
        await create(http, "n2", "/api/v1/nodes", spec={"unschedulable": True})
        await create(http, "s", "/api/v1/namespaces/a/secrets")
        event = {
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "a"},
            "reason": "R",
            "type": "Normal",
            "source": {"component": "kubelet"},
            "reportingComponent": "reporter",
        }
        await create(http, "e", "/api/v1/namespaces/a/events", **event)
        answer = await http.get(path, params={"fieldSelector": selector})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == count

    @pytest.mark.parametrize(
        ("path", "selector"),
        [
            (MAPS, "data.k=v"),
            (PODS, "spec.containers=x"),
            ("/api/v1/namespaces/a/events", "regarding.name=p"),
            ("/apis/events.k8s.io/v1/namespaces/a/events", "involvedObject.name=p"),
            ("/apis/route.openshift.io/v1/namespaces/a/routes", "spec.host=x"),
        ],
    )
    async def test_fields_that_cannot(self, http: httpx2.AsyncClient, path: str, selector: str) -> None:
        answer = await http.get(path, params={"fieldSelector": selector})
        assert status_of(answer) == (400, "BadRequest")
        name = selector.partition("=")[0]
        assert answer.json()["message"].endswith(f"field label not supported: {name}")


async def test_a_body_that_never_ends_is_cut_off(app: ApiServer) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": MAPS,
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer secret")],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["message"] == "Request entity too large: limit is 3145728"
