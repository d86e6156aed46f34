"""Protobuf fields of coordination.k8s.io/v1."""

from typing import Final

MESSAGES: Final = {
    "Lease": "1 metadata:ObjectMeta / 2 spec:LeaseSpec",
    "LeaseSpec": """
        1 holderIdentity? / 2 leaseDurationSeconds:int? / 3 acquireTime:MicroTime / 4 renewTime:MicroTime
        5 leaseTransitions:int? / 6 strategy? / 7 preferredHolder?""",
}
