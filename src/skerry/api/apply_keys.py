"""How server-side apply owns the lists, maps and structs of our kinds: by key, as a set, or as a whole.

Not the merge keys of strategic merge patch: ports are told apart by number *and* protocol here, topology constraints by
two fields, and `podIPs` merge while `hostIPs` do not. A list that is not named is atomic.

KServe's and OpenShift's kinds follow the same data. Their predictors, containers and volumes are Kubernetes' structs,
and their custom resource definitions carry the same markers.

Facts: `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` in the OpenAPI document of Kubernetes 1.35, the
markers of github.com/openshift/api `route/v1`, and for the zero values the Go types of k8s.io/api: which fields are
values and not pointers, or lists that are written even when they are empty.
"""

from typing import Final

from skerry.machinery.apply.structs import GRANULAR, SET, WHOLE, ApplyRules, FieldRule, Schemas, keyed

_NAME: Final = keyed("name")
_TYPE: Final = keyed("type")
_IP: Final = keyed("ip")

_META: Final = {"ObjectMeta": {"finalizers": SET, "ownerReferences": keyed("uid")}}

_CONTAINER: Final = {
    "env": _NAME,
    "ports": keyed("containerPort", "protocol", containerPort=0, protocol="TCP"),
    "volumeDevices": keyed("devicePath"),
    "volumeMounts": keyed("mountPath"),
}

_PODS: Final = {
    "Container": _CONTAINER,
    "ContainerRestartRuleOnExitCodes": {"values": SET},
    "ContainerStatus": {"allocatedResourcesStatus": _NAME, "volumeMounts": keyed("mountPath")},
    "EphemeralContainer": _CONTAINER,
    "PodSpec": {
        "containers": _NAME,
        "ephemeralContainers": _NAME,
        "hostAliases": _IP,
        "imagePullSecrets": _NAME,
        "initContainers": _NAME,
        "nodeSelector": WHOLE,
        "resourceClaims": _NAME,
        "schedulingGates": _NAME,
        "topologySpreadConstraints": keyed("topologyKey", "whenUnsatisfiable"),
        "volumes": _NAME,
    },
    "PodStatus": {"conditions": _TYPE, "podIPs": _IP, "resourceClaimStatuses": _NAME},
    "ResourceRequirements": {"claims": _NAME},
    "ResourceStatus": {"resources": keyed("resourceID")},
}

_CORE: Final = {
    "NamespaceStatus": {"conditions": _TYPE},
    "NodeSpec": {"podCIDRs": SET},
    "NodeStatus": {"addresses": _TYPE, "conditions": _TYPE},
    "PersistentVolumeClaimStatus": {"allocatedResourceStatuses": GRANULAR, "conditions": _TYPE},
    "PersistentVolumeSpec": {"claimRef": GRANULAR},
    "ReplicationControllerSpec": {"selector": WHOLE},
    "ReplicationControllerStatus": {"conditions": _TYPE},
    "ServiceAccount": {"secrets": _NAME},
    "ServiceSpec": {"ports": keyed("port", "protocol", port=0, protocol="TCP"), "selector": WHOLE},
    "ServiceStatus": {"conditions": _TYPE},
}

_OTHERS: Final = {
    "CSIDriverSpec": {"volumeLifecycleModes": SET},
    "CSINodeSpec": {"drivers": _NAME},
    "CustomResourceDefinitionStatus": {"conditions": _TYPE},
    "DaemonSetStatus": {"conditions": _TYPE},
    "DeploymentStatus": {"conditions": _TYPE},
    "Endpoint": {"addresses": SET},
    "HorizontalPodAutoscalerStatus": {"conditions": _TYPE},
    "JSONSchemaProps": {"x-kubernetes-validations": keyed("rule")},
    "MutatingWebhook": {"matchConditions": _NAME},
    "MutatingWebhookConfiguration": {"webhooks": _NAME},
    "PodDisruptionBudgetStatus": {"conditions": _TYPE},
    "PodFailurePolicyOnExitCodesRequirement": {"values": SET},
    "ReplicaSetStatus": {"conditions": _TYPE},
    "StatefulSetStatus": {"conditions": _TYPE},
    "UncountedTerminatedPods": {"failed": SET, "succeeded": SET},
    "ValidatingAdmissionPolicyBindingSpec": {"validationActions": SET},
    "ValidatingAdmissionPolicySpec": {"matchConditions": _NAME, "variables": _NAME},
    "ValidatingAdmissionPolicyStatus": {"conditions": _TYPE},
    "ValidatingWebhook": {"matchConditions": _NAME},
    "ValidatingWebhookConfiguration": {"webhooks": _NAME},
}

_KSERVE: Final = {
    "BuiltInAdapter": {"env": _NAME},
    # Part of a PodSpec, written out where KServe writes it out.
    "ServingRuntimePodSpec": {
        "containers": _NAME,
        "imagePullSecrets": _NAME,
        "nodeSelector": WHOLE,
        "resourceClaims": _NAME,
        "volumes": _NAME,
    },
}

_ROUTE: Final = {
    "RouteHTTPHeaderActions": {"request": _NAME, "response": _NAME},
    "RouteIngress": {"conditions": _TYPE},
    "RouteSpec": {"alternateBackends": _NAME},
}

# Structs that are replaced as one: references, selectors and their like.
_ATOMIC: Final = frozenset(
    {
        "ConfigMapKeySelector",
        "CrossVersionObjectReference",
        "EndpointAddress",
        "EndpointPort",
        "FileKeySelector",
        "LabelSelector",
        "LocalObjectReference",
        "MatchResources",
        "NamedRuleWithOperations",
        "NodeSelector",
        "NodeSelectorTerm",
        "ObjectFieldSelector",
        "ObjectReference",
        "OwnerReference",
        "ParamKind",
        "ParamRef",
        "ResourceFieldSelector",
        "RoleRef",
        "ScopeSelector",
        "SecretKeySelector",
        "SecretReference",
        "ServiceBackendPort",
        "Subject",
        "TopologySelectorTerm",
        "TypedLocalObjectReference",
        "Variable",
    }
)

# What an empty Go object of a built-in kind has all the same, so that whoever fills it does not own it as such.
_ZERO: Final = {
    "ClusterRole": ("metadata", "rules"),
    "ClusterRoleBinding": ("metadata", "roleRef"),
    "ConfigMap": ("metadata",),
    "CustomResourceDefinition": ("metadata", "spec", "status"),
    "CustomResourceDefinitionSpec": ("names", "versions"),
    "DaemonSet": ("metadata", "spec", "status"),
    "DaemonSetSpec": ("selector", "template", "updateStrategy"),
    "Deployment": ("metadata", "spec", "status"),
    "DeploymentSpec": ("selector", "strategy", "template"),
    "EndpointSlice": ("endpoints", "metadata", "ports"),
    "HorizontalPodAutoscaler": ("metadata", "spec", "status"),
    "HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    "Job": ("metadata", "spec", "status"),
    "JobSpec": ("template",),
    "Lease": ("metadata", "spec"),
    "Namespace": ("metadata", "spec", "status"),
    "Node": ("metadata", "spec", "status"),
    "NodeDaemonEndpoints": ("kubeletEndpoint",),
    "NodeStatus": ("daemonEndpoints", "nodeInfo"),
    "PersistentVolume": ("metadata", "spec", "status"),
    "PersistentVolumeClaim": ("metadata", "spec", "status"),
    "PersistentVolumeClaimSpec": ("resources",),
    "Pod": ("metadata", "spec", "status"),
    "PodDisruptionBudget": ("metadata", "spec", "status"),
    "PodSpec": ("containers",),
    "PodTemplateSpec": ("metadata", "spec"),
    "ReplicaSet": ("metadata", "spec", "status"),
    "ReplicaSetSpec": ("selector", "template"),
    "ResourceQuota": ("metadata", "spec", "status"),
    "Role": ("metadata", "rules"),
    "RoleBinding": ("metadata", "roleRef"),
    "Secret": ("metadata",),
    "Service": ("metadata", "spec", "status"),
    "ServiceAccount": ("metadata",),
    "ServiceStatus": ("loadBalancer",),
    "StatefulSet": ("metadata", "spec", "status"),
    "StatefulSetSpec": ("selector", "serviceName", "template", "updateStrategy"),
}

_FIELDS: Final[dict[tuple[str, str], FieldRule]] = {
    (struct, field): rule
    for group in (_META, _PODS, _CORE, _OTHERS, _KSERVE, _ROUTE)
    for struct, fields in group.items()
    for field, rule in fields.items()
}

APPLY_RULES: Final = ApplyRules(
    _FIELDS, _ATOMIC, frozenset((struct, field) for struct, fields in _ZERO.items() for field in fields)
)

# One for the whole process: nodes are made when they are needed, and shared by all kinds.
SCHEMAS: Final = Schemas(APPLY_RULES)
