"""The command line's own thinking: naming objects, three-way apply, ports of a Route, what a file is."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from skerry.cli import apply as apply_command
from skerry.cli import expose, infer
from skerry.cli.documents import read_documents
from skerry.cli.main import COMMANDS, cli
from skerry.cli.objects import Wanted, wanted
from skerry.cli.text import dump
from skerry.machinery.merge import merge_patch


def test_objects_are_named_as_with_kubectl() -> None:
    assert wanted(["pods"]) == [Wanted("pods", ())]
    assert wanted(["isvc", "a", "b"]) == [Wanted("isvc", ("a", "b"))]
    assert wanted(["pods,svc"]) == [Wanted("pods", ()), Wanted("svc", ())]
    assert wanted(["isvc/a", "route/b"]) == [Wanted("isvc", ("a",)), Wanted("route", ("b",))]
    for mixed in ([], ["isvc/a", "route"], ["isvc/"]):
        with pytest.raises(click.UsageError, match="for example"):
            wanted(mixed)


def test_apply_removes_what_it_set_before_and_leaves_the_rest() -> None:
    first: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    present = apply_command._marked(first)
    present["data"]["foreign"] = "kept"
    present["metadata"]["resourceVersion"] = "7"
    second = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "changed"}}
    patch = apply_command._removed(present, second, apply_command._marked(second))
    result = merge_patch(present, patch)
    assert result["data"] == {"a": "changed", "foreign": "kept"}
    assert result["metadata"]["resourceVersion"] == "7"
    again = apply_command._removed(result, second, apply_command._marked(second))
    assert merge_patch(result, again) == result


@pytest.mark.parametrize(
    ("ports", "given", "chosen"),
    [
        ([{"port": 80, "targetPort": 8888, "name": "http"}], None, "http"),
        ([{"port": 80, "targetPort": 8888}], None, 8888),
        ([{"port": 80, "targetPort": "web"}], None, "web"),
        ([{"port": 80}], None, 80),
        ([{"port": 53, "protocol": "UDP"}, {"port": 80, "targetPort": 1}], None, 1),
        ([{"port": 80}], "9000", 9000),
    ],
)
def test_a_route_takes_the_port_that_oc_takes(ports: list[dict[str, Any]], given: str | None, chosen: Any) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": ports}}
    assert expose._port(service, given) == chosen


def test_a_service_without_tcp_cannot_be_exposed() -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 53, "protocol": "UDP"}]}}
    with pytest.raises(click.ClickException, match='service "s" doesn\'t support TCP'):
        expose._port(service, None)


def test_a_picture_becomes_the_walkthroughs_request() -> None:
    picture = b"\xff\xd8\xff\xe0 picture"
    payload = infer._payload(None, "m", "ns", picture, "0")  # type: ignore[arg-type]
    assert payload.header_length is not None
    header, rest = payload.body[: payload.header_length], payload.body[payload.header_length :]
    assert json.loads(header) == {"inputs": [{"name": "0", "shape": [1], "datatype": "BYTES"}]}
    assert rest == len(picture).to_bytes(4, "little") + picture
    assert infer._payload(None, "m", "ns", b' {"inputs": []}', None).header_length is None  # type: ignore[arg-type]
    with pytest.raises(click.ClickException, match="cannot tell what this file is"):
        infer._payload(None, "m", "ns", b"plain words", None)  # type: ignore[arg-type]


def test_files_directories_and_lists(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n---\n")
    item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}))
    (tmp_path / "notes.txt").write_text("not read")
    found = read_documents([str(tmp_path)])
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("Secret", "a"), ("ConfigMap", "b")]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: b: c", "bad.yaml"), ("just text", "apiVersion and kind"), ("", "no objects found")],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(click.ClickException, match=said):
        read_documents([str(path)])
    with pytest.raises(click.ClickException, match="does not exist"):
        read_documents([str(tmp_path / "missing.yaml")])


def test_yaml_is_written_as_kubectl_writes_it() -> None:
    value = {"b": "2026-01-01T00:00:00Z", "a": "true", "text": "one\ntwo\n", "metadata": {"managedFields": [1]}}
    assert dump(value, "yaml") == 'a: "true"\nb: "2026-01-01T00:00:00Z"\nmetadata: {}\ntext: |\n  one\n  two'


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4
