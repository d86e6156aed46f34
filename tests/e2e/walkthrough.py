"""The walkthrough's objects and its request."""

WALKTHROUGH_MODEL = "localhost/ovms-resnet50:test"

ISVC = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: ovms-resnet50
spec:
  predictor:
    model:
      protocolVersion: v2
      modelFormat:
        name: openvino_ir
      storageUri: "oci://localhost/ovms-resnet50:test"
      args:
      - --layout=NHWC:NCHW
"""


def binary_request(picture: bytes) -> tuple[bytes, int]:
    """Build what the guide builds with printf, tac and xxd."""
    header = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'
    return header + len(picture).to_bytes(4, "little") + picture, len(header)
