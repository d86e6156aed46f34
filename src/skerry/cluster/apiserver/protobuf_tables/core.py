"""Protobuf fields of core/v1: what is neither of a pod nor of a node."""

from typing import Final

MESSAGES: Final = {
    "Binding": "1 metadata:ObjectMeta / 2 target:ObjectReference",
    "ClientIPConfig": "1 timeoutSeconds:int?",
    "ConfigMap": "1 metadata:ObjectMeta / 2 data:map<string> / 3 binaryData:map<bytes> / 4 immutable:bool?",
    "EndpointAddress": "1 ip? / 2 targetRef:ObjectReference / 3 hostname / 4 nodeName?",
    "EndpointSubset": """
        1 addresses:EndpointAddress* / 2 notReadyAddresses:EndpointAddress* / 3 ports:core.EndpointPort*""",
    "Endpoints": "1 metadata:ObjectMeta / 2 subsets:EndpointSubset*",
    "Event": """
        1 metadata:ObjectMeta / 2 involvedObject:ObjectReference / 3 reason / 4 message / 5 source:EventSource
        6 firstTimestamp:Time / 7 lastTimestamp:Time / 8 count:int / 9 type / 10 eventTime:MicroTime
        11 series:EventSeries / 12 action / 13 related:ObjectReference / 14 reportingComponent?
        15 reportingInstance?""",
    "EventSeries": "1 count:int / 2 lastObservedTime:MicroTime",
    "EventSource": "1 component / 2 host",
    "LoadBalancerIngress": "1 ip / 2 hostname / 3 ipMode? / 4 ports:PortStatus*",
    "LoadBalancerStatus": "1 ingress:LoadBalancerIngress*",
    "LocalObjectReference": "1 name",
    "ModifyVolumeStatus": "1 targetVolumeAttributesClassName / 2 status?",
    "Namespace": "1 metadata:ObjectMeta / 2 spec:NamespaceSpec / 3 status:NamespaceStatus",
    "NamespaceCondition": "1 type? / 2 status? / 4 lastTransitionTime:Time / 5 reason / 6 message",
    "NamespaceSpec": "1 finalizers*",
    "NamespaceStatus": "1 phase / 2 conditions:NamespaceCondition*",
    "ObjectReference": "1 kind / 2 namespace / 3 name / 4 uid / 5 apiVersion / 6 resourceVersion / 7 fieldPath",
    "PersistentVolumeClaim": """
        1 metadata:ObjectMeta / 2 spec:PersistentVolumeClaimSpec / 3 status:PersistentVolumeClaimStatus""",
    "PersistentVolumeClaimCondition": """
        1 type? / 2 status? / 3 lastProbeTime:Time / 4 lastTransitionTime:Time / 5 reason / 6 message""",
    "PersistentVolumeClaimSpec": """
        1 accessModes* / 2 resources:VolumeResourceRequirements / 3 volumeName / 4 selector:LabelSelector
        5 storageClassName? / 6 volumeMode? / 7 dataSource:TypedLocalObjectReference
        8 dataSourceRef:TypedObjectReference / 9 volumeAttributesClassName?""",
    "PersistentVolumeClaimStatus": """
        1 phase / 2 accessModes* / 3 capacity:map<Quantity> / 4 conditions:PersistentVolumeClaimCondition*
        5 allocatedResources:map<Quantity> / 7 allocatedResourceStatuses:map<string>
        8 currentVolumeAttributesClassName? / 9 modifyVolumeStatus:ModifyVolumeStatus
        10 healthStatus:VolumeHealthStatus""",
    "PortStatus": "1 port:int? / 2 protocol? / 3 error?",
    "Secret": "1 metadata:ObjectMeta / 2 data:map<bytes> / 3 type / 4 stringData:map<string> / 5 immutable:bool?",
    "Service": "1 metadata:ObjectMeta / 2 spec:ServiceSpec / 3 status:ServiceStatus",
    "ServiceAccount": """
        1 metadata:ObjectMeta / 2 secrets:ObjectReference* / 3 imagePullSecrets:LocalObjectReference*
        4 automountServiceAccountToken:bool?""",
    "ServicePort": "1 name / 2 protocol / 3 port:int? / 4 targetPort:IntOrString / 5 nodePort:int / 6 appProtocol?",
    "ServiceSpec": """
        1 ports:ServicePort* / 2 selector:map<string> / 3 clusterIP / 4 type / 5 externalIPs* / 7 sessionAffinity
        8 loadBalancerIP / 9 loadBalancerSourceRanges* / 10 externalName / 11 externalTrafficPolicy
        12 healthCheckNodePort:int / 13 publishNotReadyAddresses:bool / 14 sessionAffinityConfig:SessionAffinityConfig
        17 ipFamilyPolicy? / 18 clusterIPs* / 19 ipFamilies* / 20 allocateLoadBalancerNodePorts:bool?
        21 loadBalancerClass? / 22 internalTrafficPolicy? / 23 trafficDistribution?""",
    "ServiceStatus": "1 loadBalancer:LoadBalancerStatus / 2 conditions:Condition*",
    "SessionAffinityConfig": "1 clientIP:ClientIPConfig",
    "TypedLocalObjectReference": "1 apiGroup? / 2 kind? / 3 name?",
    "TypedObjectReference": "1 apiGroup? / 2 kind? / 3 name? / 4 namespace?",
    "VolumeHealthStatus": "1 healthConditions:VolumeHealthCondition* / 2 lastTransitionTime:Time",
    "VolumeResourceRequirements": "1 limits:map<Quantity> / 2 requests:map<Quantity>",
    "core.EndpointPort": "1 name / 2 port:int? / 3 protocol / 4 appProtocol?",
}
