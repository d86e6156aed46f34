import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import ConfigMap

from skerry.machinery.meta import controller_of, hash_template, is_controlled_by, merge_diff, owner_reference

OWNER: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "uid": "1"}}
TYPED = ConfigMap(metadata=ObjectMeta(name="r", uid="1"))
REFERENCE: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "r",
    "uid": "1",
    "controller": True,
    "blockOwnerDeletion": True,
}


def test_owner_references() -> None:
    assert owner_reference(OWNER) == REFERENCE
    assert owner_reference(TYPED, "apps/v1", "ReplicaSet") == REFERENCE
    assert owner_reference({"metadata": OWNER["metadata"]}, "apps/v1", "ReplicaSet") == REFERENCE
    loose = owner_reference(OWNER, controller=False)
    assert (loose["controller"], loose["blockOwnerDeletion"]) == (False, False)


def test_an_object_has_one_controller() -> None:
    other = {**REFERENCE, "uid": "2", "controller": False}
    pod = {"metadata": {"ownerReferences": [other, REFERENCE]}}
    assert controller_of(pod) == REFERENCE
    assert is_controlled_by(pod, OWNER)
    assert is_controlled_by(pod, TYPED)
    assert not is_controlled_by(pod, {"metadata": {"name": "r", "uid": "2"}})
    assert not is_controlled_by({"metadata": {}}, OWNER)
    typed = ConfigMap(metadata=ObjectMeta(ownerReferences=[OwnerReference(**REFERENCE)]))
    assert is_controlled_by(typed, OWNER)
    assert controller_of(ConfigMap(metadata=ObjectMeta(name="a"))) is None


def test_the_hash_of_a_template() -> None:
    template = PodTemplateSpec(spec=PodSpec(containers=[Container(name="a", image="x")]))
    as_json = {"spec": {"containers": [{"image": "x", "name": "a"}]}}
    assert hash_template(template) == hash_template(as_json)
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{10}", hash_template(as_json))
    assert hash_template(as_json) == "gw94l2jqnk"


def test_another_template_has_another_hash() -> None:
    assert len({hash_template({"spec": {"replicas": number}}) for number in range(500)}) == 500


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=1, max_size=5))
def test_the_order_of_keys_does_not_matter(template: dict[str, int]) -> None:
    backwards = dict(reversed(template.items()))
    assert hash_template(template) == hash_template(backwards)


@pytest.mark.parametrize(("old", "new", "diff"), [({}, {}, {}), ({"a": 1}, {"b": 2}, {"a": None, "b": 2})])
def test_the_difference_of_two_states(old: dict[str, Any], new: dict[str, Any], diff: dict[str, Any]) -> None:
    assert merge_diff(old, new) == diff
