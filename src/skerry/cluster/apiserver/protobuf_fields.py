"""Field numbers of Kubernetes' protobuf messages, by message name.

A part is `number name[:type]`; the type is `string` when left out, `*` after it makes it repeated, `map<TYPE>` is a map
from strings, `!` merges the message into its parent. `?` marks a pointer in Go: its zero means something. All other
zeros are on the wire whether the client meant them or not, and are left out. Fields that the served kinds have and this
table lacks are refused by number.

Facts: the `generated.proto` files of k8s.io/api and k8s.io/apimachinery.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Field:
    """One field. `inline` fields are merged into their parent, as Go's embedded structs are."""

    name: str
    type: str
    repeated: bool = False
    is_map: bool = False
    inline: bool = False
    keeps_zero: bool = False


_META: Final = {
    "ObjectMeta": """
        1 name / 2 generateName / 3 namespace / 4 selfLink / 5 uid / 6 resourceVersion / 7 generation:int
        8 creationTimestamp:Time / 9 deletionTimestamp:Time / 10 deletionGracePeriodSeconds:int? / 11 labels:map<string>
        12 annotations:map<string> / 13 ownerReferences:OwnerReference* / 14 finalizers:string*
        17 managedFields:ManagedFieldsEntry*""",
    "OwnerReference": "5 apiVersion / 1 kind / 3 name / 4 uid / 6 controller:bool? / 7 blockOwnerDeletion:bool?",
    "ManagedFieldsEntry": """
        1 manager / 2 operation / 3 apiVersion / 4 time:Time / 6 fieldsType / 7 fieldsV1:FieldsV1 / 8 subresource""",
    "FieldsV1": "1 Raw:bytes",
    "LabelSelector": "1 matchLabels:map<string> / 2 matchExpressions:LabelSelectorRequirement*",
    "LabelSelectorRequirement": "1 key / 2 operator / 3 values:string*",
    "Preconditions": "1 uid / 2 resourceVersion",
    "DeleteOptions": """
        1 gracePeriodSeconds:int? / 2 preconditions:Preconditions / 3 orphanDependents:bool? / 4 propagationPolicy
        5 dryRun:string*""",
}

_CORE: Final = {
    "Namespace": "1 metadata:ObjectMeta / 2 spec:NamespaceSpec / 3 status:NamespaceStatus",
    "NamespaceSpec": "1 finalizers:string*",
    "NamespaceStatus": "1 phase / 2 conditions:Condition*",
    "ConfigMap": "1 metadata:ObjectMeta / 2 data:map<string> / 3 binaryData:map<bytes> / 4 immutable:bool?",
    "Secret": "1 metadata:ObjectMeta / 2 data:map<bytes> / 3 type / 4 stringData:map<string> / 5 immutable:bool?",
    "ServiceAccount": """
        1 metadata:ObjectMeta / 2 secrets:ObjectReference* / 3 imagePullSecrets:LocalObjectReference*
        4 automountServiceAccountToken:bool?""",
    "ObjectReference": "1 kind / 2 namespace / 3 name / 4 uid / 5 apiVersion / 6 resourceVersion / 7 fieldPath",
    "LocalObjectReference": "1 name",
    "Binding": "1 metadata:ObjectMeta / 2 target:ObjectReference",
    "Service": "1 metadata:ObjectMeta / 2 spec:ServiceSpec / 3 status:ServiceStatus",
    "ServiceSpec": """
        1 ports:ServicePort* / 2 selector:map<string> / 3 clusterIP / 4 type / 5 externalIPs:string* / 7 sessionAffinity
        8 loadBalancerIP / 9 loadBalancerSourceRanges:string* / 10 externalName / 11 externalTrafficPolicy
        12 healthCheckNodePort:int / 13 publishNotReadyAddresses:bool / 17 ipFamilyPolicy / 18 clusterIPs:string*
        19 ipFamilies:string* / 20 allocateLoadBalancerNodePorts:bool? / 21 loadBalancerClass
        22 internalTrafficPolicy""",
    "ServicePort": "1 name / 2 protocol / 3 port:int / 4 targetPort:IntOrString / 5 nodePort:int / 6 appProtocol",
    "ServiceStatus": "1 loadBalancer:LoadBalancerStatus / 2 conditions:Condition*",
    "LoadBalancerStatus": "",
}

_PODS: Final = {
    "Pod": "1 metadata:ObjectMeta / 2 spec:PodSpec",
    "PodTemplateSpec": "1 metadata:ObjectMeta / 2 spec:PodSpec",
    "PodSpec": """
        1 volumes:Volume* / 2 containers:Container* / 3 restartPolicy / 4 terminationGracePeriodSeconds:int?
        5 activeDeadlineSeconds:int? / 6 dnsPolicy / 7 nodeSelector:map<string> / 8 serviceAccountName
        9 serviceAccount / 10 nodeName / 11 hostNetwork:bool / 12 hostPID:bool / 13 hostIPC:bool
        14 securityContext:PodSecurityContext / 15 imagePullSecrets:LocalObjectReference* / 16 hostname
        17 subdomain / 19 schedulerName
        20 initContainers:Container* / 21 automountServiceAccountToken:bool? / 22 tolerations:Toleration*
        24 priorityClassName / 25 priority:int? / 27 shareProcessNamespace:bool? / 29 runtimeClassName
        30 enableServiceLinks:bool?""",
    "PodSecurityContext": """
        2 runAsUser:int? / 3 runAsNonRoot:bool? / 4 supplementalGroups:int* / 5 fsGroup:int? / 6 runAsGroup:int?
        9 fsGroupChangePolicy / 10 seccompProfile:SeccompProfile""",
    "SeccompProfile": "1 type / 2 localhostProfile",
    "Toleration": "1 key / 2 operator / 3 value / 4 effect / 5 tolerationSeconds:int?",
    "Container": """
        1 name / 2 image / 3 command:string* / 4 args:string* / 5 workingDir / 6 ports:ContainerPort* / 7 env:EnvVar*
        8 resources:ResourceRequirements / 9 volumeMounts:VolumeMount* / 10 livenessProbe:Probe
        11 readinessProbe:Probe / 13 terminationMessagePath / 14 imagePullPolicy / 15 securityContext:SecurityContext
        16 stdin:bool / 17 stdinOnce:bool / 18 tty:bool / 19 envFrom:EnvFromSource* / 20 terminationMessagePolicy
        22 startupProbe:Probe / 24 restartPolicy""",
    "ContainerPort": "1 name / 2 hostPort:int / 3 containerPort:int / 4 protocol / 5 hostIP",
    "EnvVar": "1 name / 2 value / 3 valueFrom:EnvVarSource",
    "EnvVarSource": """
        1 fieldRef:ObjectFieldSelector / 2 resourceFieldRef:ResourceFieldSelector
        3 configMapKeyRef:ConfigMapKeySelector / 4 secretKeyRef:SecretKeySelector""",
    "ObjectFieldSelector": "1 apiVersion / 2 fieldPath",
    "ResourceFieldSelector": "1 containerName / 2 resource / 3 divisor:Quantity",
    "ConfigMapKeySelector": "1 localObjectReference:LocalObjectReference! / 2 key / 3 optional:bool?",
    "SecretKeySelector": "1 localObjectReference:LocalObjectReference! / 2 key / 3 optional:bool?",
    "EnvFromSource": "1 prefix / 2 configMapRef:ConfigMapEnvSource / 3 secretRef:SecretEnvSource",
    "ConfigMapEnvSource": "1 localObjectReference:LocalObjectReference! / 2 optional:bool?",
    "SecretEnvSource": "1 localObjectReference:LocalObjectReference! / 2 optional:bool?",
    "ResourceRequirements": "1 limits:map<Quantity> / 2 requests:map<Quantity>",
    "VolumeMount": "1 name / 2 readOnly:bool / 3 mountPath / 4 subPath / 5 mountPropagation / 6 subPathExpr",
    "SecurityContext": """
        1 capabilities:Capabilities / 2 privileged:bool? / 4 runAsUser:int? / 5 runAsNonRoot:bool?
        6 readOnlyRootFilesystem:bool? / 7 allowPrivilegeEscalation:bool? / 8 runAsGroup:int?
        11 seccompProfile:SeccompProfile""",
    "Capabilities": "1 add:string* / 2 drop:string*",
    "Probe": """
        1 handler:ProbeHandler! / 2 initialDelaySeconds:int / 3 timeoutSeconds:int / 4 periodSeconds:int
        5 successThreshold:int / 6 failureThreshold:int / 7 terminationGracePeriodSeconds:int?""",
    "ProbeHandler": "1 exec:ExecAction / 2 httpGet:HTTPGetAction / 3 tcpSocket:TCPSocketAction",
    "ExecAction": "1 command:string*",
    "HTTPGetAction": "1 path / 2 port:IntOrString / 3 host / 4 scheme",
    "TCPSocketAction": "1 port:IntOrString / 2 host",
    "Volume": "1 name / 2 volumeSource:VolumeSource!",
    "VolumeSource": """
        2 emptyDir:EmptyDirVolumeSource / 6 secret:SecretVolumeSource / 10 persistentVolumeClaim:ClaimVolumeSource
        19 configMap:ConfigMapVolumeSource""",
    "EmptyDirVolumeSource": "1 medium / 2 sizeLimit:Quantity",
    "SecretVolumeSource": "1 secretName / 2 items:KeyToPath* / 3 defaultMode:int? / 4 optional:bool?",
    "ClaimVolumeSource": "1 claimName / 2 readOnly:bool",
    "ConfigMapVolumeSource": """
        1 localObjectReference:LocalObjectReference! / 2 items:KeyToPath* / 3 defaultMode:int? / 4 optional:bool?""",
    "KeyToPath": "1 key / 2 path / 3 mode:int?",
}

_APPS: Final = {
    "Deployment": "1 metadata:ObjectMeta / 2 spec:DeploymentSpec / 3 status:DeploymentStatus",
    "DeploymentSpec": """
        1 replicas:int? / 2 selector:LabelSelector / 3 template:PodTemplateSpec / 4 strategy:DeploymentStrategy
        5 minReadySeconds:int / 6 revisionHistoryLimit:int? / 7 paused:bool / 9 progressDeadlineSeconds:int?""",
    "DeploymentStrategy": "1 type / 2 rollingUpdate:RollingUpdateDeployment",
    "RollingUpdateDeployment": "1 maxUnavailable:IntOrString / 2 maxSurge:IntOrString",
    # A status that a client sends with a create or an update is dropped, but a zero is still on the wire.
    "DeploymentStatus": """
        1 observedGeneration:int / 2 replicas:int / 3 updatedReplicas:int / 4 availableReplicas:int
        5 unavailableReplicas:int / 6 conditions:DeploymentCondition* / 7 readyReplicas:int / 8 collisionCount:int?""",
    "DeploymentCondition": """
        1 type / 2 status / 4 reason / 5 message / 6 lastUpdateTime:Time / 7 lastTransitionTime:Time""",
    "Condition": """
        1 type / 2 status / 3 observedGeneration:int / 4 lastTransitionTime:Time / 5 reason / 6 message""",
}


def _parsed(line: str) -> dict[int, Field]:
    fields: dict[int, Field] = {}
    for part in line.replace("\n", " / ").split("/"):
        if not part.strip():
            continue
        number, _, rest = part.strip().partition(" ")
        name, _, type_ = rest.strip().partition(":")
        type_ = type_ or "string"
        is_map = type_.startswith("map<")
        bare = type_[4:-1] if is_map else type_.rstrip("*!?")
        fields[int(number)] = Field(name, bare, type_.endswith("*"), is_map, type_.endswith("!"), type_.endswith("?"))
    return fields


MESSAGES: Final = {name: _parsed(line) for part in (_META, _CORE, _PODS, _APPS) for name, line in part.items()}
