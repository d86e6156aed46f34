"""Service and Endpoints: defaults, validation, columns.

No cluster address is given out here: Services are headless on this node, and one that is not keeps an empty
`clusterIP` until something allocates it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from skerry.api import formats
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, NONE, labels, shortened, spec, status
from skerry.api.checks import Errors, named, obeys, one_of, port_number
from skerry.api.filling import branch, fill
from skerry.api.metadata import validate_labels
from skerry.api.pods.probes import port as port_or_name
from skerry.api.registry import Column, Object
from skerry.api.wellknown import HEADLESS
from skerry.machinery import names
from skerry.machinery.fielderrors import duplicate, forbidden, invalid, required

_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_OUTSIDE: Final = frozenset({"NodePort", "LoadBalancer"})
_AFFINITIES: Final = ("ClientIP", "None")
_AFFINITY_SECONDS: Final = 10800


def default_service(service: Object) -> None:
    """Fill a Service."""
    own = branch(service, "spec")
    fill(own, type="ClusterIP", sessionAffinity="None")
    if own["sessionAffinity"] == "ClientIP":
        fill(own, sessionAffinityConfig={"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}})
    for port in own.get("ports") or []:
        # An empty name and port 0 stand for "the same as the port".
        port["targetPort"] = port.get("targetPort") or port.get("port")
        fill(port, protocol="TCP")
    if own["type"] in _OUTSIDE:
        fill(own, externalTrafficPolicy="Cluster")
    if own["type"] != "ExternalName":
        _default_addresses(own)
    fill(branch(service, "status"), loadBalancer={})


def _default_addresses(own: dict[str, Any]) -> None:
    fill(own, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    if own.get("clusterIP"):
        fill(own, clusterIPs=[own["clusterIP"]])
    elif own.get("clusterIPs"):
        own["clusterIP"] = own["clusterIPs"][0]


def validate_service(service: Object, old: Object | None) -> Errors:
    """Check a Service."""
    own = spec(service)
    errors = one_of("spec.type", own.get("type"), _TYPES)
    errors += one_of("spec.sessionAffinity", own.get("sessionAffinity"), _AFFINITIES)
    errors += validate_labels("spec.selector", own.get("selector"))
    errors += _type(own) + _ports("spec.ports", own)
    for index, address in enumerate(own.get("externalIPs") or []):
        errors += obeys(f"spec.externalIPs[{index}]", address, formats.is_ip_address)
    if old is not None:
        errors += _update(own, spec(old))
    return errors


def _type(own: Mapping[str, Any]) -> Errors:
    address = own.get("clusterIP")
    if own.get("type") == "ExternalName":
        errors = named("spec.externalName", own.get("externalName"), names.is_dns1123_subdomain)
        if address:
            errors.append(forbidden("spec.clusterIPs", "may not be set for ExternalName services"))
        return errors
    if address and address != HEADLESS:
        return obeys("spec.clusterIPs[0]", address, formats.is_ip_address)
    if address == HEADLESS and own.get("type") in _OUTSIDE:
        why = f"may not be set to 'None' for {own['type']} services"
        return [invalid("spec.clusterIPs[0]", address, why)]
    return []


def _ports(where: str, own: Mapping[str, Any]) -> Errors:
    ports = own.get("ports") or []
    if not ports and own.get("clusterIP") != HEADLESS and own.get("type") != "ExternalName":
        return [required(where)]
    errors: Errors = []
    taken: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path, name = f"{where}[{index}]", port.get("name")
        if name:
            errors += obeys(f"{path}.name", name, names.is_dns1123_label)
            errors += [duplicate(f"{path}.name", name)] if name in taken else []
            taken.add(name)
        elif len(ports) > 1:
            errors.append(required(f"{path}.name"))
        errors += port_number(f"{path}.port", port.get("port"))
        errors += one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
        if port.get("targetPort") is not None:
            errors += port_or_name(f"{path}.targetPort", port["targetPort"])
        key = (port.get("protocol"), port.get("port"))
        if key in numbers:
            errors.append(duplicate(path, {"port": key[1], "protocol": key[0]}))
        numbers.add(key)
        if port.get("nodePort") and own.get("type") not in _OUTSIDE:
            errors.append(forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'"))
    return errors


def _update(new: Mapping[str, Any], old: Mapping[str, Any]) -> Errors:
    before, after = old.get("clusterIP"), new.get("clusterIP")
    if before and after and before != after and "ExternalName" not in {new.get("type"), old.get("type")}:
        return [invalid("spec.clusterIPs[0]", new.get("clusterIPs") or [after], "may not change once set")]
    return []


def _cluster_ip(service: Object, _now: datetime) -> str:
    addresses = spec(service).get("clusterIPs") or []
    return addresses[0] if addresses else spec(service).get("clusterIP") or NONE


def _external_ip(service: Object, _now: datetime) -> str:
    own = spec(service)
    if own.get("type") == "ExternalName":
        return own.get("externalName") or NONE
    found: list[str] = []
    if own.get("type") == "LoadBalancer":
        ingress = (status(service).get("loadBalancer") or {}).get("ingress") or []
        found = [one.get("ip") or one.get("hostname") or "" for one in ingress]
    shown = ",".join([*found, *(own.get("externalIPs") or [])])
    return shown or ("<pending>" if own.get("type") == "LoadBalancer" else NONE)


def _port_list(service: Object, _now: datetime) -> str:
    shown = []
    for port in spec(service).get("ports") or []:
        number = f"{port.get('port')}:{port['nodePort']}" if port.get("nodePort") else f"{port.get('port')}"
        shown.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


SERVICE_COLUMNS: Final = (
    NAME_COLUMN,
    Column("Type", lambda service, _: spec(service).get("type", "")),
    Column("Cluster-IP", _cluster_ip),
    Column("External-IP", _external_ip),
    Column("Port(s)", _port_list),
    AGE_COLUMN,
    Column("Selector", lambda service, _: labels(spec(service).get("selector")), priority=1),
)


def default_endpoints(endpoints: Object) -> None:
    """Fill an Endpoints object."""
    for subset in endpoints.get("subsets") or []:
        for port in subset.get("ports") or []:
            fill(port, protocol="TCP")


def validate_endpoints(endpoints: Object, _old: Object | None) -> Errors:
    """Check an Endpoints object."""
    errors: Errors = []
    for index, subset in enumerate(endpoints.get("subsets") or []):
        where = f"subsets[{index}]"
        addresses = [(field, subset.get(field) or []) for field in ("addresses", "notReadyAddresses")]
        if not any(found for _, found in addresses):
            errors.append(required(where, "must specify `addresses` or `notReadyAddresses`"))
        for field, found in addresses:
            for place, address in enumerate(found):
                errors += named(f"{where}.{field}[{place}].ip", address.get("ip"), formats.is_ip_address)
        for place, port in enumerate(subset.get("ports") or []):
            path = f"{where}.ports[{place}]"
            if len(subset["ports"]) > 1:
                errors += named(f"{path}.name", port.get("name"), names.is_dns1123_label)
            errors += port_number(f"{path}.port", port.get("port"))
    return errors


def _endpoint_list(endpoints: Object, _now: datetime) -> str:
    shown: list[str] = []
    for subset in endpoints.get("subsets") or []:
        addresses = [address.get("ip", "") for address in subset.get("addresses") or []]
        ports = subset.get("ports") or []
        shown += [_host_port(one, port["port"]) for port in ports for one in addresses] if ports else addresses
    return shortened(shown, NONE)


def _host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


ENDPOINTS_COLUMNS: Final = (NAME_COLUMN, Column("Endpoints", _endpoint_list), AGE_COLUMN)
