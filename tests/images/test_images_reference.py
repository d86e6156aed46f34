"""References as container tools read them, and words for those that are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.images.errors import InvalidReference
from skerry.images.reference import loopback, parse, parse_new_name

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("user/model", "docker.io/user/model:latest"),
        ("index.docker.io/user/model:v1", "docker.io/user/model:v1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("quay.io/microshift/busybox:1.37", "quay.io/microshift/busybox:1.37"),
        ("localhost/ovms-resnet50:test", "localhost/ovms-resnet50:test"),
        ("localhost:5000/model", "localhost:5000/model:latest"),
        ("registry:5000/a/b/c:v1.2_3-x", "registry:5000/a/b/c:v1.2_3-x"),
        ("127.0.0.1:5000/m:v1", "127.0.0.1:5000/m:v1"),
        ("[::1]:5000/m:v1", "[::1]:5000/m:v1"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        (f"quay.io/a/b:v1@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        ("Registry.Example.COM/m", "registry.example.com/m:latest"),
        ("a__b/c.d-e", "docker.io/a__b/c.d-e:latest"),
    ],
)
def test_references_are_written_in_full(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("repo:tag@repo:tag", "only a digest may follow"),
        (f"a@{DIGEST}@{DIGEST}", "only a digest may follow"),
        ("oci://localhost/model:test", "write 'localhost/model:test'"),
        ("https://quay.io/a/b", "leave out 'https://'"),
        ("quay.io/Model:v1", "write 'model'"),
        ("MyTeam/model", "write 'myteam'"),
        ("quay.io/a//b", "a part of the name is empty"),
        ("quay.io/a/b:", 'nothing follows ":"'),
        ("quay.io/a/b:-x", "is not a tag"),
        ("quay.io/a/b:" + "x" * 129, "is not a tag"),
        ("quay.io/a/b@sha256:abc", "is not a digest"),
        ("quay.io/a/b@sha512:" + "ab" * 64, "is not a digest"),
        ("quay.io/" + "a" * 260, "longer than 255"),
        ("quay.io/../etc", "may only hold"),
        ("a b", "may only hold"),
        ("model:v1\n", "is not a tag"),
        ("-x.io/model", "is not a host name"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert words in caught.value.message
    assert caught.value.reason == "InvalidImageName"


def test_local_is_the_store_and_a_port_makes_it_a_registry() -> None:
    assert parse("localhost/model:test").local
    assert not parse("localhost:5000/model:test").local
    assert parse("model").short
    assert not parse("docker.io/library/model").short


def test_new_images_get_localhost_as_podman_does() -> None:
    assert str(parse_new_name("ovms-resnet50:test")) == "localhost/ovms-resnet50:test"
    assert str(parse_new_name("team/model")) == "localhost/team/model:latest"
    assert str(parse_new_name("quay.io/team/model:v1")) == "quay.io/team/model:v1"
    with pytest.raises(InvalidReference, match="a digest follows from the content"):
        parse_new_name(f"model@{DIGEST}")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.8.7", "::1", "registry.localhost"])
def test_loopback_hosts(host: str) -> None:
    assert loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "127.example.com", "10.0.0.1", "127.0.0.1.example.com", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not loopback(host)


@given(st.text(alphabet="abAB01.:/@-_ sha256", max_size=40))
def test_any_text_is_a_reference_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidReference:
        return
    assert parse(str(reference)) == reference
    assert ".." not in reference.path.split("/")


@given(
    domain=st.sampled_from(["", "quay.io/", "localhost/", "localhost:5000/", "r:1/"]),
    path=st.lists(st.sampled_from(["a", "b1", "c-d", "e__f", "g_h", "model"]), min_size=1, max_size=4).map("/".join),
    tag=st.sampled_from(["", ":v1", ":latest", ":1.2_3-x", ":_", ":" + "x" * 128]),
)
def test_well_formed_references_are_read(domain: str, path: str, tag: str) -> None:
    reference = parse(f"{domain}{path}{tag}")
    assert reference.tag == (tag[1:] or "latest")
    assert reference.path.endswith(path.rpartition("/")[2])
