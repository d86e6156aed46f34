"""Protobuf fields of batch/v1 and policy/v1. `JobSpec.scheduling`, an alpha field, is not known here."""

from typing import Final

MESSAGES: Final = {
    "Eviction": "1 metadata:ObjectMeta / 2 deleteOptions:DeleteOptions",
    "Job": "1 metadata:ObjectMeta / 2 spec:JobSpec / 3 status:JobStatus",
    "JobCondition": """
        1 type? / 2 status? / 3 lastProbeTime:Time / 4 lastTransitionTime:Time / 5 reason / 6 message""",
    "JobSpec": """
        1 parallelism:int? / 2 completions:int? / 3 activeDeadlineSeconds:int? / 4 selector:LabelSelector
        5 manualSelector:bool? / 6 template:PodTemplateSpec / 7 backoffLimit:int? / 8 ttlSecondsAfterFinished:int?
        9 completionMode? / 10 suspend:bool? / 11 podFailurePolicy:PodFailurePolicy / 12 backoffLimitPerIndex:int?
        13 maxFailedIndexes:int? / 14 podReplacementPolicy? / 15 managedBy? / 16 successPolicy:SuccessPolicy""",
    "JobStatus": """
        1 conditions:JobCondition* / 2 startTime:Time / 3 completionTime:Time / 4 active:int / 5 succeeded:int
        6 failed:int / 7 completedIndexes / 8 uncountedTerminatedPods:UncountedTerminatedPods / 9 ready:int?
        10 failedIndexes? / 11 terminating:int?""",
    "PodFailurePolicy": "1 rules:PodFailurePolicyRule*",
    "PodFailurePolicyOnExitCodesRequirement": "1 containerName? / 2 operator? / 3 values:int*",
    "PodFailurePolicyOnPodConditionsPattern": "1 type? / 2 status?",
    "PodFailurePolicyRule": """
        1 action? / 2 onExitCodes:PodFailurePolicyOnExitCodesRequirement
        3 onPodConditions:PodFailurePolicyOnPodConditionsPattern*""",
    "SuccessPolicy": "1 rules:SuccessPolicyRule*",
    "SuccessPolicyRule": "1 succeededIndexes? / 2 succeededCount:int?",
    "UncountedTerminatedPods": "1 succeeded* / 2 failed*",
}
