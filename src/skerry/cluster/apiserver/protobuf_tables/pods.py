"""Protobuf fields of core/v1: what a pod is to run."""

from typing import Final

MESSAGES: Final = {
    "Affinity": "1 nodeAffinity:NodeAffinity / 2 podAffinity:PodAffinity / 3 podAntiAffinity:PodAntiAffinity",
    "AppArmorProfile": "1 type? / 2 localhostProfile?",
    "Capabilities": "1 add* / 2 drop*",
    "ConfigMapEnvSource": "1 localObjectReference:LocalObjectReference! / 2 optional:bool?",
    "ConfigMapKeySelector": "1 localObjectReference:LocalObjectReference! / 2 key? / 3 optional:bool?",
    "Container": """
        1 name? / 2 image / 3 command* / 4 args* / 5 workingDir / 6 ports:ContainerPort* / 7 env:EnvVar*
        8 resources:ResourceRequirements / 9 volumeMounts:VolumeMount* / 10 livenessProbe:Probe
        11 readinessProbe:Probe / 12 lifecycle:Lifecycle / 13 terminationMessagePath / 14 imagePullPolicy
        15 securityContext:SecurityContext / 16 stdin:bool / 17 stdinOnce:bool / 18 tty:bool
        19 envFrom:EnvFromSource* / 20 terminationMessagePolicy / 21 volumeDevices:VolumeDevice*
        22 startupProbe:Probe / 23 resizePolicy:ContainerResizePolicy* / 24 restartPolicy?
        25 restartPolicyRules:ContainerRestartRule*""",
    "ContainerPort": "1 name / 2 hostPort:int / 3 containerPort:int? / 4 protocol / 5 hostIP",
    "ContainerResizePolicy": "1 resourceName? / 2 restartPolicy?",
    "ContainerRestartRule": "1 action / 2 exitCodes:ContainerRestartRuleOnExitCodes",
    "ContainerRestartRuleOnExitCodes": "1 operator / 2 values:int*",
    "EnvFromSource": "1 prefix / 2 configMapRef:ConfigMapEnvSource / 3 secretRef:SecretEnvSource",
    "EnvVar": "1 name? / 2 value / 3 valueFrom:EnvVarSource",
    "EnvVarSource": """
        1 fieldRef:ObjectFieldSelector / 2 resourceFieldRef:ResourceFieldSelector
        3 configMapKeyRef:ConfigMapKeySelector / 4 secretKeyRef:SecretKeySelector / 5 fileKeyRef:FileKeySelector""",
    "EphemeralContainer": "1 ephemeralContainerCommon:EphemeralContainerCommon! / 2 targetContainerName",
    "EphemeralContainerCommon": """
        1 name? / 2 image / 3 command* / 4 args* / 5 workingDir / 6 ports:ContainerPort* / 7 env:EnvVar*
        8 resources:ResourceRequirements / 9 volumeMounts:VolumeMount* / 10 livenessProbe:Probe
        11 readinessProbe:Probe / 12 lifecycle:Lifecycle / 13 terminationMessagePath / 14 imagePullPolicy
        15 securityContext:SecurityContext / 16 stdin:bool / 17 stdinOnce:bool / 18 tty:bool
        19 envFrom:EnvFromSource* / 20 terminationMessagePolicy / 21 volumeDevices:VolumeDevice*
        22 startupProbe:Probe / 23 resizePolicy:ContainerResizePolicy* / 24 restartPolicy?
        25 restartPolicyRules:ContainerRestartRule*""",
    "EvictionResponder": "1 name? / 2 priority:int?",
    "ExecAction": "1 command*",
    "FileKeySelector": "1 volumeName? / 2 path? / 3 key? / 4 optional:bool?",
    "GRPCAction": "1 port:int? / 2 service? / 3 mode?",
    "HTTPGetAction": "1 path / 2 port:IntOrString? / 3 host / 4 scheme / 5 httpHeaders:HTTPHeader* / 6 protocol?",
    "HTTPHeader": "1 name? / 2 value?",
    "HostAlias": "1 ip? / 2 hostnames*",
    "Lifecycle": "1 postStart:LifecycleHandler / 2 preStop:LifecycleHandler / 3 stopSignal?",
    "LifecycleHandler": """
        1 exec:ExecAction / 2 httpGet:HTTPGetAction / 3 tcpSocket:TCPSocketAction / 4 sleep:SleepAction""",
    "NodeAffinity": """
        1 requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
        2 preferredDuringSchedulingIgnoredDuringExecution:PreferredSchedulingTerm*""",
    "NodeSelector": "1 nodeSelectorTerms:NodeSelectorTerm*",
    "NodeSelectorRequirement": "1 key? / 2 operator? / 3 values*",
    "NodeSelectorTerm": "1 matchExpressions:NodeSelectorRequirement* / 2 matchFields:NodeSelectorRequirement*",
    "ObjectFieldSelector": "1 apiVersion / 2 fieldPath?",
    "PodAffinity": """
        1 requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm*
        2 preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm*""",
    "PodAffinityTerm": """
        1 labelSelector:LabelSelector / 2 namespaces* / 3 topologyKey? / 4 namespaceSelector:LabelSelector
        5 matchLabelKeys* / 6 mismatchLabelKeys*""",
    "PodAntiAffinity": """
        1 requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm*
        2 preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm*""",
    "PodDNSConfig": "1 nameservers* / 2 searches* / 3 options:PodDNSConfigOption*",
    "PodDNSConfigOption": "1 name / 2 value?",
    "PodOS": "1 name?",
    "PodReadinessGate": "1 conditionType?",
    "PodResourceClaim": "1 name? / 3 resourceClaimName? / 4 resourceClaimTemplateName?",
    "PodSchedulingGate": "1 name?",
    "PodSchedulingGroup": "1 podGroupName?",
    "PodSecurityContext": """
        1 seLinuxOptions:SELinuxOptions / 2 runAsUser:int? / 3 runAsNonRoot:bool? / 4 supplementalGroups:int*
        5 fsGroup:int? / 6 runAsGroup:int? / 7 sysctls:Sysctl* / 8 windowsOptions:WindowsSecurityContextOptions
        9 fsGroupChangePolicy? / 10 seccompProfile:SeccompProfile / 11 appArmorProfile:AppArmorProfile
        12 supplementalGroupsPolicy? / 13 seLinuxChangePolicy?""",
    "PodSpec": """
        1 volumes:Volume* / 2 containers:Container* / 3 restartPolicy / 4 terminationGracePeriodSeconds:int?
        5 activeDeadlineSeconds:int? / 6 dnsPolicy / 7 nodeSelector:map<string> / 8 serviceAccountName
        9 serviceAccount / 10 nodeName / 11 hostNetwork:bool / 12 hostPID:bool / 13 hostIPC:bool
        14 securityContext:PodSecurityContext / 15 imagePullSecrets:LocalObjectReference* / 16 hostname / 17 subdomain
        18 affinity:Affinity / 19 schedulerName / 20 initContainers:Container* / 21 automountServiceAccountToken:bool?
        22 tolerations:Toleration* / 23 hostAliases:HostAlias* / 24 priorityClassName / 25 priority:int?
        26 dnsConfig:PodDNSConfig / 27 shareProcessNamespace:bool? / 28 readinessGates:PodReadinessGate*
        29 runtimeClassName? / 30 enableServiceLinks:bool? / 31 preemptionPolicy? / 32 overhead:map<Quantity>
        33 topologySpreadConstraints:TopologySpreadConstraint* / 34 ephemeralContainers:EphemeralContainer*
        35 setHostnameAsFQDN:bool? / 36 os:PodOS / 37 hostUsers:bool? / 38 schedulingGates:PodSchedulingGate*
        39 resourceClaims:PodResourceClaim* / 40 resources:ResourceRequirements / 41 hostnameOverride?
        43 schedulingGroup:PodSchedulingGroup / 44 evictionResponders:EvictionResponder*""",
    "PodTemplateSpec": "1 metadata:ObjectMeta / 2 spec:PodSpec",
    "PreferredSchedulingTerm": "1 weight:int? / 2 preference:NodeSelectorTerm",
    "Probe": """
        1 probeHandler:ProbeHandler! / 2 initialDelaySeconds:int / 3 timeoutSeconds:int / 4 periodSeconds:int
        5 successThreshold:int / 6 failureThreshold:int / 7 terminationGracePeriodSeconds:int?""",
    "ProbeHandler": "1 exec:ExecAction / 2 httpGet:HTTPGetAction / 3 tcpSocket:TCPSocketAction / 4 grpc:GRPCAction",
    "ResourceClaim": "1 name? / 2 request",
    "ResourceFieldSelector": "1 containerName / 2 resource? / 3 divisor:Quantity",
    "ResourceRequirements": "1 limits:map<Quantity> / 2 requests:map<Quantity> / 3 claims:ResourceClaim*",
    "SELinuxOptions": "1 user / 2 role / 3 type / 4 level",
    "SeccompProfile": "1 type? / 2 localhostProfile?",
    "SecretEnvSource": "1 localObjectReference:LocalObjectReference! / 2 optional:bool?",
    "SecretKeySelector": "1 localObjectReference:LocalObjectReference! / 2 key? / 3 optional:bool?",
    "SecurityContext": """
        1 capabilities:Capabilities / 2 privileged:bool? / 3 seLinuxOptions:SELinuxOptions / 4 runAsUser:int?
        5 runAsNonRoot:bool? / 6 readOnlyRootFilesystem:bool? / 7 allowPrivilegeEscalation:bool? / 8 runAsGroup:int?
        9 procMount? / 10 windowsOptions:WindowsSecurityContextOptions / 11 seccompProfile:SeccompProfile
        12 appArmorProfile:AppArmorProfile""",
    "SleepAction": "1 seconds:int?",
    "Sysctl": "1 name? / 2 value?",
    "TCPSocketAction": "1 port:IntOrString? / 2 host",
    "Toleration": "1 key / 2 operator / 3 value / 4 effect / 5 tolerationSeconds:int?",
    "TopologySpreadConstraint": """
        1 maxSkew:int? / 2 topologyKey? / 3 whenUnsatisfiable? / 4 labelSelector:LabelSelector / 5 minDomains:int?
        6 nodeAffinityPolicy? / 7 nodeTaintsPolicy? / 8 matchLabelKeys*""",
    "WeightedPodAffinityTerm": "1 weight:int? / 2 podAffinityTerm:PodAffinityTerm",
    "WindowsSecurityContextOptions": """
        1 gmsaCredentialSpecName? / 2 gmsaCredentialSpec? / 3 runAsUserName? / 4 hostProcess:bool?""",
}
