"""Which lists of the built-in kinds are merged by a strategic merge patch, and by which key.

Facts: the `patchMergeKey` and `patchStrategy` tags of k8s.io/api, each verified by patching with kubectl. A list that
is not named here is replaced whole. Surprises worth knowing: tolerations, `envFrom`, readiness gates, taints, container
statuses and a service account's `imagePullSecrets` are replaced; ports are merged by number alone, so two protocols on
one number collide.
"""

from typing import Final

from skerry.machinery.strategic import MergeRule, MergeRules

_NAME: Final = MergeRule("name")
_TYPE: Final = MergeRule("type")
_IP: Final = MergeRule("ip")
_SET: Final = MergeRule()

_CONTAINER: Final = {
    "env": _NAME,
    "ports": MergeRule("containerPort"),
    "volumeDevices": MergeRule("devicePath"),
    "volumeMounts": MergeRule("mountPath"),
}

_META = {"ObjectMeta": {"finalizers": _SET, "ownerReferences": MergeRule("uid")}}

_CORE = {
    "Container": _CONTAINER,
    "EphemeralContainer": _CONTAINER,
    "NamespaceStatus": {"conditions": _TYPE},
    "NodeSpec": {"podCIDRs": _SET},
    "NodeStatus": {"addresses": _TYPE, "conditions": _TYPE},
    "PersistentVolumeClaimStatus": {"conditions": _TYPE},
    "PodSpec": {
        "containers": _NAME,
        "ephemeralContainers": _NAME,
        "hostAliases": _IP,
        "imagePullSecrets": _NAME,
        "initContainers": _NAME,
        "resourceClaims": MergeRule("name", retain_keys=True),
        "schedulingGates": _NAME,
        "topologySpreadConstraints": MergeRule("topologyKey"),
        "volumes": MergeRule("name", retain_keys=True),
    },
    "PodStatus": {"conditions": _TYPE, "hostIPs": _IP, "podIPs": _IP, "resourceClaimStatuses": _NAME},
    "ReplicationControllerStatus": {"conditions": _TYPE},
    "ServiceAccount": {"secrets": _NAME},
    "ServiceSpec": {"ports": MergeRule("port")},
    "ServiceStatus": {"conditions": _TYPE},
}

_APPS = {
    "DaemonSetStatus": {"conditions": _TYPE},
    "DeploymentSpec": {"strategy": MergeRule(retain_keys=True)},
    "DeploymentStatus": {"conditions": _TYPE},
    "ReplicaSetStatus": {"conditions": _TYPE},
    "StatefulSetStatus": {"conditions": _TYPE},
}

_OTHERS = {
    "CSINodeSpec": {"drivers": _NAME},
    "FlowSchemaStatus": {"conditions": _TYPE},
    "HorizontalPodAutoscalerStatus": {"conditions": _TYPE},
    "JobStatus": {"conditions": _TYPE},
    "MutatingWebhook": {"matchConditions": _NAME},
    "MutatingWebhookConfiguration": {"webhooks": _NAME},
    "PodDisruptionBudgetSpec": {"selector": MergeRule(replace=True)},
    "PodDisruptionBudgetStatus": {"conditions": _TYPE},
    "PriorityLevelConfigurationStatus": {"conditions": _TYPE},
    "ValidatingAdmissionPolicySpec": {"matchConditions": _NAME, "variables": _NAME},
    "ValidatingWebhook": {"matchConditions": _NAME},
    "ValidatingWebhookConfiguration": {"webhooks": _NAME},
}

MERGE_RULES: Final[MergeRules] = {
    (struct, field): rule
    for group in (_META, _CORE, _APPS, _OTHERS)
    for struct, fields in group.items()
    for field, rule in fields.items()
}
