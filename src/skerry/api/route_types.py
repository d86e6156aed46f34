"""The wire structs of `route.openshift.io/v1` and the resource class by which lightkube reaches a Route.

Written like lightkube's own models, descriptions included, because `kubectl explain` reads them.
"""
# ruff: noqa: N815 - the fields have the names of the wire

from typing import ClassVar, Final

from lightkube.core import resource
from lightkube.core.dictmixin import DictMixin
from lightkube.models.meta_v1 import ObjectMeta, Time
from lightkube.models.util_intstr import IntOrString

GROUP: Final = "route.openshift.io"
VERSION: Final = "v1"


class RouteTargetReference(DictMixin):
    """The object that takes the requests of a Route.

    **parameters**

    * **name** ``str`` - Name of the Service.
    * **kind** ``Optional[str]`` - What the target is; only "Service" is possible, and the default.
    * **weight** ``Optional[int]`` - Share of the requests, 0 to 256, relative to the other targets; 100 by default.
    """

    name: str
    kind: str | None = None
    weight: int | None = None


class RoutePort(DictMixin):
    """Which port of the Service is meant.

    **parameters**

    * **targetPort** ``IntOrString`` - A number is compared with the port of the pods, a text with the name of the
      Service's port.
    """

    targetPort: IntOrString


class RouteExternalCertificate(DictMixin):
    """A Secret that holds a certificate.

    **parameters**

    * **name** ``Optional[str]`` - Name of a Secret of type kubernetes.io/tls in the Route's namespace.
    """

    name: str | None = None


class TLSConfig(DictMixin):
    """How the Route ends TLS.

    **parameters**

    * **termination** ``str`` - "edge" ends TLS here, "passthrough" leaves it to the pod, "reencrypt" does both; "edge"
      by default.
    * **certificate** ``Optional[str]`` - Certificate as PEM.
    * **key** ``Optional[str]`` - Its private key as PEM.
    * **caCertificate** ``Optional[str]`` - The chain of the certificate as PEM.
    * **destinationCACertificate** ``Optional[str]`` - What signs the certificates of the pods, for "reencrypt".
    * **externalCertificate** ``Optional[RouteExternalCertificate]`` - A Secret to take certificate and key from.
    * **insecureEdgeTerminationPolicy** ``Optional[str]`` - What plain HTTP gets: "None" (nothing, the default), "Allow"
      (the same answer) or "Redirect" (a redirect to https).
    """

    termination: str
    certificate: str | None = None
    key: str | None = None
    caCertificate: str | None = None
    destinationCACertificate: str | None = None
    externalCertificate: RouteExternalCertificate | None = None
    insecureEdgeTerminationPolicy: str | None = None


class RouteSetHTTPHeader(DictMixin):
    """The value that a header gets.

    **parameters**

    * **value** ``str`` - Text of the header.
    """

    value: str


class RouteHTTPHeaderAction(DictMixin):
    """What to do with a header.

    **parameters**

    * **type** ``str`` - "Set" or "Delete".
    * **set** ``Optional[RouteSetHTTPHeader]`` - The value, for "Set".
    """

    type: str
    set: RouteSetHTTPHeader | None = None


class RouteHTTPHeader(DictMixin):
    """A header to set or delete.

    **parameters**

    * **name** ``str`` - Name of the header.
    * **action** ``RouteHTTPHeaderAction`` - What to do with it.
    """

    name: str
    action: RouteHTTPHeaderAction


class RouteHTTPHeaderActions(DictMixin):
    """Headers to change.

    **parameters**

    * **request** ``Optional[List[RouteHTTPHeader]]`` - Changes to what the pod receives, at most 20.
    * **response** ``Optional[List[RouteHTTPHeader]]`` - Changes to what the client receives, at most 20.
    """

    request: list[RouteHTTPHeader] | None = None
    response: list[RouteHTTPHeader] | None = None


class RouteHTTPHeaders(DictMixin):
    """Changes to HTTP headers.

    **parameters**

    * **actions** ``Optional[RouteHTTPHeaderActions]`` - Headers to set or delete.
    """

    actions: RouteHTTPHeaderActions | None = None


class RouteSpec(DictMixin):
    """Which requests the Route takes, and where they go.

    **parameters**

    * **to** ``RouteTargetReference`` - The Service that takes the requests.
    * **host** ``Optional[str]`` - Host name of the requests; NAME-NAMESPACE below the apps domain when left out.
    * **subdomain** ``Optional[str]`` - Host name without the apps domain; ignored when host is set.
    * **path** ``Optional[str]`` - Start of the path of the requests; all paths when left out.
    * **alternateBackends** ``Optional[List[RouteTargetReference]]`` - Up to three further Services to share the
      requests by weight.
    * **port** ``Optional[RoutePort]`` - The port of the Service; any when left out.
    * **tls** ``Optional[TLSConfig]`` - How TLS is ended; plain HTTP when left out.
    * **wildcardPolicy** ``Optional[str]`` - "None" (the default) or "Subdomain".
    * **httpHeaders** ``Optional[RouteHTTPHeaders]`` - Headers to change.
    """

    to: RouteTargetReference
    host: str | None = None
    subdomain: str | None = None
    path: str | None = None
    alternateBackends: list[RouteTargetReference] | None = None
    port: RoutePort | None = None
    tls: TLSConfig | None = None
    wildcardPolicy: str | None = None
    httpHeaders: RouteHTTPHeaders | None = None


class RouteIngressCondition(DictMixin):
    """What a router says of the Route.

    **parameters**

    * **type** ``str`` - "Admitted".
    * **status** ``str`` - "True", "False" or "Unknown".
    * **reason** ``Optional[str]`` - Why, in one word.
    * **message** ``Optional[str]`` - Why, in a sentence.
    * **lastTransitionTime** ``Optional[meta_v1.Time]`` - When the status changed.
    """

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    lastTransitionTime: Time | None = None


class RouteIngress(DictMixin):
    """One router's view of the Route.

    **parameters**

    * **host** ``Optional[str]`` - Host name under which the router answers.
    * **routerName** ``Optional[str]`` - Name of the router.
    * **conditions** ``Optional[List[RouteIngressCondition]]`` - Whether it is admitted.
    * **wildcardPolicy** ``Optional[str]`` - The policy that is in force.
    * **routerCanonicalHostname** ``Optional[str]`` - Host name of the router itself, for CNAME records.
    """

    host: str | None = None
    routerName: str | None = None
    conditions: list[RouteIngressCondition] | None = None
    wildcardPolicy: str | None = None
    routerCanonicalHostname: str | None = None


class RouteStatus(DictMixin):
    """Where the Route is exposed.

    **parameters**

    * **ingress** ``Optional[List[RouteIngress]]`` - The routers that know the Route.
    """

    ingress: list[RouteIngress] | None = None


class _Route(DictMixin):
    """A host name, and perhaps a path, below which a Service is reached from outside.

    **parameters**

    * **spec** ``RouteSpec`` - Which requests the Route takes, and where they go.
    * **apiVersion** ``Optional[str]`` - Version of the schema of this object, "route.openshift.io/v1".
    * **kind** ``Optional[str]`` - "Route".
    * **metadata** ``Optional[meta_v1.ObjectMeta]`` - Name, labels and so on.
    * **status** ``Optional[RouteStatus]`` - Where the Route is exposed; written by the router.
    """

    spec: RouteSpec
    apiVersion: str | None = None
    kind: str | None = None
    metadata: ObjectMeta | None = None
    status: RouteStatus | None = None

    def __post_init__(self) -> None:
        self.apiVersion = f"{GROUP}/{VERSION}"
        self.kind = "Route"


_ROUTE: Final = resource.ResourceDef(GROUP, VERSION, "Route")


class RouteStatusResource(resource.NamespacedSubResource, _Route):
    """The status of a Route, as lightkube reaches it."""

    _api_info = resource.ApiInfo(
        resource=_ROUTE, parent=_ROUTE, plural="routes", verbs=["get", "patch", "put"], action="status"
    )


class Route(resource.NamespacedResourceG, _Route):
    """A host name, and perhaps a path, below which a Service is reached from outside."""

    _api_info = resource.ApiInfo(
        resource=_ROUTE,
        plural="routes",
        verbs=[
            "delete",
            "deletecollection",
            "get",
            "global_list",
            "global_watch",
            "list",
            "patch",
            "post",
            "put",
            "watch",
        ],
    )
    Status: ClassVar = RouteStatusResource
