"""Protobuf fields of events.k8s.io/v1."""

from typing import Final

MESSAGES: Final = {
    "events.Event": """
        1 metadata:ObjectMeta / 2 eventTime:MicroTime / 3 series:events.EventSeries / 4 reportingController
        5 reportingInstance / 6 action / 7 reason / 8 regarding:ObjectReference / 9 related:ObjectReference / 10 note
        11 type / 12 deprecatedSource:EventSource / 13 deprecatedFirstTimestamp:Time / 14 deprecatedLastTimestamp:Time
        15 deprecatedCount:int""",
    "events.EventSeries": "1 count:int? / 2 lastObservedTime:MicroTime",
}
