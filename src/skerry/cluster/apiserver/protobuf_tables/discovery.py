"""Protobuf fields of discovery.k8s.io/v1."""

from typing import Final

MESSAGES: Final = {
    "Endpoint": """
        1 addresses* / 2 conditions:EndpointConditions / 3 hostname? / 4 targetRef:ObjectReference
        5 deprecatedTopology:map<string> / 6 nodeName? / 7 zone? / 8 hints:EndpointHints""",
    "EndpointConditions": "1 ready:bool? / 2 serving:bool? / 3 terminating:bool?",
    "EndpointHints": "1 forZones:ForZone* / 2 forNodes:ForNode*",
    "EndpointPort": "1 name? / 2 protocol? / 3 port:int? / 4 appProtocol?",
    "EndpointSlice": "1 metadata:ObjectMeta / 2 endpoints:Endpoint* / 3 ports:EndpointPort* / 4 addressType?",
    "ForNode": "1 name?",
    "ForZone": "1 name?",
}
