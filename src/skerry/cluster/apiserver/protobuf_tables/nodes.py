"""Protobuf fields of core/v1: nodes, and the status of pods."""

from typing import Final

MESSAGES: Final = {
    "AttachedVolume": "1 name? / 2 devicePath?",
    "ConfigMapNodeConfigSource": "1 namespace? / 2 name? / 3 uid / 4 resourceVersion / 5 kubeletConfigKey?",
    "ContainerExtendedResourceRequest": "1 containerName? / 2 resourceName? / 3 requestName?",
    "ContainerImage": "1 names* / 2 sizeBytes:int",
    "ContainerState": """
        1 waiting:ContainerStateWaiting / 2 running:ContainerStateRunning / 3 terminated:ContainerStateTerminated""",
    "ContainerStateRunning": "1 startedAt:Time",
    "ContainerStateTerminated": """
        1 exitCode:int? / 2 signal:int / 3 reason / 4 message / 5 startedAt:Time / 6 finishedAt:Time / 7 containerID""",
    "ContainerStateWaiting": "1 reason / 2 message",
    "ContainerStatus": """
        1 name? / 2 state:ContainerState / 3 lastState:ContainerState / 4 ready:bool? / 5 restartCount:int? / 6 image?
        7 imageID? / 8 containerID / 9 started:bool? / 10 allocatedResources:map<Quantity>
        11 resources:ResourceRequirements / 12 volumeMounts:VolumeMountStatus* / 13 user:ContainerUser
        14 allocatedResourcesStatus:ResourceStatus* / 15 stopSignal?""",
    "ContainerUser": "1 linux:LinuxContainerUser",
    "DaemonEndpoint": "1 Port:int?",
    "HostIP": "1 ip?",
    "ImageVolumeStatus": "1 imageRef",
    "LinuxContainerUser": "1 uid:int? / 2 gid:int? / 3 supplementalGroups:int*",
    "Node": "1 metadata:ObjectMeta / 2 spec:NodeSpec / 3 status:NodeStatus",
    "NodeAddress": "1 type? / 2 address?",
    "NodeAllocatableMappedResources": "1 name? / 2 quantity:Quantity",
    "NodeAllocatableOverheadResources": "1 name? / 2 perPod:Quantity / 3 perContainer:Quantity",
    "NodeAllocatableResourceClaimStatus": """
        1 resourceClaimName? / 2 containers* / 4 mapping:NodeAllocatableMappedResources*
        5 overhead:NodeAllocatableOverheadResources*""",
    "NodeCondition": """
        1 type? / 2 status? / 3 lastHeartbeatTime:Time / 4 lastTransitionTime:Time / 5 reason / 6 message""",
    "NodeConfigSource": "2 configMap:ConfigMapNodeConfigSource",
    "NodeConfigStatus": """
        1 assigned:NodeConfigSource / 2 active:NodeConfigSource / 3 lastKnownGood:NodeConfigSource / 4 error""",
    "NodeDaemonEndpoints": "1 kubeletEndpoint:DaemonEndpoint",
    "NodeFeatures": "1 supplementalGroupsPolicy:bool?",
    "NodePodPreemptionPolicy": "1 disableResizePreemption*",
    "NodeRuntimeHandler": "1 name? / 2 features:NodeRuntimeHandlerFeatures",
    "NodeRuntimeHandlerFeatures": "1 recursiveReadOnlyMounts:bool? / 2 userNamespaces:bool?",
    "NodeSpec": """
        1 podCIDR / 2 externalID / 3 providerID / 4 unschedulable:bool / 5 taints:Taint*
        6 configSource:NodeConfigSource / 7 podCIDRs* / 8 podPreemptionPolicy:NodePodPreemptionPolicy""",
    "NodeStatus": """
        1 capacity:map<Quantity> / 2 allocatable:map<Quantity> / 3 phase / 4 conditions:NodeCondition*
        5 addresses:NodeAddress* / 6 daemonEndpoints:NodeDaemonEndpoints / 7 nodeInfo:NodeSystemInfo
        8 images:ContainerImage* / 9 volumesInUse* / 10 volumesAttached:AttachedVolume* / 11 config:NodeConfigStatus
        12 runtimeHandlers:NodeRuntimeHandler* / 13 features:NodeFeatures / 14 declaredFeatures*""",
    "NodeSwapStatus": "1 capacity:int?",
    "NodeSystemInfo": """
        1 machineID? / 2 systemUUID? / 3 bootID? / 4 kernelVersion? / 5 osImage? / 6 containerRuntimeVersion?
        7 kubeletVersion? / 8 kubeProxyVersion? / 9 operatingSystem? / 10 architecture? / 11 swap:NodeSwapStatus
        12 runningInUserNamespace:bool?""",
    "Pod": "1 metadata:ObjectMeta / 2 spec:PodSpec / 3 status:PodStatus",
    "PodCondition": """
        1 type? / 2 status? / 3 lastProbeTime:Time / 4 lastTransitionTime:Time / 5 reason / 6 message
        7 observedGeneration:int""",
    "PodExtendedResourceClaimStatus": "1 requestMappings:ContainerExtendedResourceRequest* / 2 resourceClaimName?",
    "PodIP": "1 ip?",
    "PodResourceClaimStatus": "1 name? / 2 resourceClaimName?",
    "PodStatus": """
        1 phase / 2 conditions:PodCondition* / 3 message / 4 reason / 5 hostIP / 6 podIP / 7 startTime:Time
        8 containerStatuses:ContainerStatus* / 9 qosClass / 10 initContainerStatuses:ContainerStatus*
        11 nominatedNodeName / 12 podIPs:PodIP* / 13 ephemeralContainerStatuses:ContainerStatus* / 14 resize
        15 resourceClaimStatuses:PodResourceClaimStatus* / 16 hostIPs:HostIP* / 17 observedGeneration:int
        18 extendedResourceClaimStatus:PodExtendedResourceClaimStatus / 19 allocatedResources:map<Quantity>
        20 resources:ResourceRequirements
        21 nodeAllocatableResourceClaimStatuses:NodeAllocatableResourceClaimStatus*
        22 volumeHealth:PodVolumeHealth*""",
    "PodVolumeHealth": "1 name? / 2 healthConditions:VolumeHealthCondition* / 3 lastTransitionTime:Time",
    "ResourceHealth": "1 resourceID? / 2 health / 6 message?",
    "ResourceStatus": "1 name? / 2 resources:ResourceHealth*",
    "Taint": "1 key? / 2 value / 3 effect? / 4 timeAdded:Time",
    "VolumeHealthCondition": "1 status? / 2 reason? / 3 message",
    "VolumeMountStatus": """
        1 name? / 2 mountPath? / 3 readOnly:bool / 4 recursiveReadOnly? / 5 volumeStatus:VolumeStatus""",
    "VolumeStatus": "1 image:ImageVolumeStatus",
}
