"""Protobuf bodies as typed Go clients send them; the bytes of the first test are a real kubectl's."""

import struct
from typing import Any

import pytest

from skerry.cluster.apiserver.protobuf import decode_object
from skerry.machinery.status import StatusError


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value if value >= 0 else value + (1 << 64))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, message: bytes) -> bytes:
    return (
        b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, message) + field(3, "") + field(4, "")
    )


# What kubectl 1.32 wrote for `kubectl create ns ai-demo`.
NAMESPACE = bytes.fromhex(
    "6b3873000a0f0a02763112094e616d657370616365121f0a170a0761692d64656d6f12001a0022002a003200380042001200"
    "1a020a001a002200"
)


def test_a_real_namespace() -> None:
    assert decode_object(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "ai-demo"},
        "spec": {},
        "status": {},
    }


def test_maps_lists_times_and_numbers() -> None:
    meta = (
        field(1, "d")
        + field(8, field(1, 1767225600) + field(2, 0))
        + field(11, field(1, "app") + field(2, "x"))
        + field(11, field(1, "tier") + field(2, ""))
        + field(14, "one")
        + field(14, "two")
    )
    strategy = field(1, "RollingUpdate") + field(
        2, field(1, field(1, 1) + field(3, "25%")) + field(2, field(1, 0) + field(2, 3))
    )
    message = field(1, meta) + field(2, field(1, 0) + field(4, strategy) + field(5, 0) + field(9, -1))
    item = decode_object(body("apps/v1", "Deployment", message))
    assert item["metadata"] == {
        "name": "d",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "x", "tier": ""},
        "finalizers": ["one", "two"],
    }
    assert item["spec"] == {
        "replicas": 0,  # a pointer: zero replicas is a wish
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 3}},
        "progressDeadlineSeconds": -1,
    }


def test_bytes_become_base64_and_embedded_structs_disappear() -> None:
    secret = decode_object(body("v1", "Secret", field(2, field(1, "p") + field(2, b"\x00\xff"))))
    assert secret["data"] == {"p": "AP8="}
    source = field(4, field(1, field(1, "s")) + field(2, "key"))
    env = field(1, "E") + field(2, "") + field(3, source)
    pod = decode_object(body("v1", "Pod", field(2, field(2, field(1, "c") + field(7, env)))))
    assert pod["spec"]["containers"] == [
        {"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}]}
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{}", 400),
        (b"k8s\x00\xff", 400),
        (body("v1", "Namespace", b"\x0a\x7f"), 400),
        (body("v1", "Namespace", b"\x0b"), 400),
        (body("v1", "Namespace", field(99, "x")), 415),
        (body("batch/v1", "CronJob", b""), 415),
        (body("v1", "ConfigMap", field(1, field(1, b"\xff\xfe"))), 400),
        (b"k8s\x00" + struct.pack("<B", 0x80) * 20, 400),
    ],
)
def test_what_cannot_be_decoded_is_said(data: bytes, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        decode_object(data)
    assert caught.value.code == code
