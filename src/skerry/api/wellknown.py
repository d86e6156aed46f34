"""Labels, annotations and names that more than one room reads or writes; Kubernetes', OpenShift's and KServe's own."""

from typing import Final

# Kubernetes
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
OS_LABEL: Final = "kubernetes.io/os"
ARCH_LABEL: Final = "kubernetes.io/arch"
NODE_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
NODE_ROLE_LABEL: Final = "kubernetes.io/role"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
ENDPOINTSLICE_MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
POD_TEMPLATE_HASH_LABEL: Final = "pod-template-hash"
DEFAULT_CONTAINER_ANNOTATION: Final = "kubectl.kubernetes.io/default-container"
RESTARTED_AT_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"
LAST_APPLIED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
CHANGE_CAUSE_ANNOTATION: Final = "kubernetes.io/change-cause"
REVISION_ANNOTATION: Final = "deployment.kubernetes.io/revision"
DESIRED_REPLICAS_ANNOTATION: Final = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS_ANNOTATION: Final = "deployment.kubernetes.io/max-replicas"
NOT_READY_TAINT: Final = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT: Final = "node.kubernetes.io/unreachable"
NAMESPACE_FINALIZER: Final = "kubernetes"
ORPHAN_FINALIZER: Final = "orphan"
FOREGROUND_FINALIZER: Final = "foregroundDeletion"
MIRROR_POD_ANNOTATION: Final = "kubernetes.io/config.mirror"
SERVICE_ACCOUNT_NAME_ANNOTATION: Final = "kubernetes.io/service-account.name"
SERVICE_ACCOUNT_UID_ANNOTATION: Final = "kubernetes.io/service-account.uid"
SERVICE_ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - the type of a Secret
DEFAULT_SERVICE_ACCOUNT: Final = "default"
DEFAULT_SCHEDULER: Final = "default-scheduler"
CLUSTER_DOMAIN: Final = "cluster.local"
HEADLESS: Final = "None"  # a Service's clusterIP

# OpenShift
HOST_GENERATED_ANNOTATION: Final = "openshift.io/host.generated"
ALLOW_NON_DNS_HOST_ANNOTATION: Final = "route.openshift.io/allow-non-dns-compliant-host"
ROUTE_TIMEOUT_ANNOTATION: Final = "haproxy.router.openshift.io/timeout"
ROUTE_DISABLE_COOKIES_ANNOTATION: Final = "haproxy.router.openshift.io/disable_cookies"
ROUTE_COOKIE_NAME_ANNOTATION: Final = "router.openshift.io/cookie_name"
ROUTER_NAME: Final = "default"

# KServe
INFERENCESERVICE_LABEL: Final = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL: Final = "component"
APP_LABEL: Final = "app"
DEPLOYMENT_MODE_ANNOTATION: Final = "serving.kserve.io/deploymentMode"
VISIBILITY_LABEL: Final = "networking.kserve.io/visibility"
KSERVE_CONTAINER: Final = "kserve-container"
MODEL_MOUNT_PATH: Final = "/mnt/models"
PROMETHEUS_SCRAPE_ANNOTATION: Final = "prometheus.io/scrape"
PROMETHEUS_PORT_ANNOTATION: Final = "prometheus.io/port"
PROMETHEUS_PATH_ANNOTATION: Final = "prometheus.io/path"

# Volume claims are directories on this machine; the finalizer is the node's, which removes them.
LOCAL_CLASS: Final = "skerry-local"
LOCAL_PROVISIONER: Final = "skerry.dev/local"
LOCAL_DATA_FINALIZER: Final = "skerry.dev/local-data"
