"""discovery.k8s.io/v1: EndpointSlice."""

from datetime import datetime
from typing import Any, Final

from lightkube.models import discovery_v1

from skerry.api import formats
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, UNSET, shortened
from skerry.api.checks import Errors, named, obeys, one_of, unchanged
from skerry.api.filling import fill
from skerry.api.registry import Column, Kind, Object
from skerry.machinery import names
from skerry.machinery.fielderrors import duplicate, required

_ADDRESS_TYPES: Final = ("IPv4", "IPv6", "FQDN")
_PROTOCOLS: Final = ("TCP", "UDP", "SCTP")


def _ports(slice_: Object, _now: datetime) -> str:
    shown = [str(port.get("port") or port.get("name") or "*") for port in slice_.get("ports") or []]
    return shortened(shown, UNSET)


def _endpoints(slice_: Object, _now: datetime) -> str:
    addresses = [one for endpoint in slice_.get("endpoints") or [] for one in endpoint.get("addresses") or []]
    return shortened(addresses, UNSET)


def _default(slice_: Object) -> None:
    for port in slice_.get("ports") or []:
        fill(port, name="", protocol="TCP")


def _validate(slice_: Object, old: Object | None) -> Errors:
    errors = one_of("addressType", slice_.get("addressType"), _ADDRESS_TYPES)
    if old is not None:
        errors += unchanged("addressType", slice_.get("addressType"), old.get("addressType"))
    for index, endpoint in enumerate(slice_.get("endpoints") or []):
        errors += _endpoint(f"endpoints[{index}]", endpoint, slice_.get("addressType"))
    seen: set[str] = set()
    for index, port in enumerate(slice_.get("ports") or []):
        where = f"ports[{index}]"
        if port["name"]:
            errors += obeys(f"{where}.name", port["name"], names.is_dns1123_label)
        if port["name"] in seen:
            errors.append(duplicate(f"{where}.name", port["name"]))
        seen.add(port["name"])
        errors += one_of(f"{where}.protocol", port.get("protocol"), _PROTOCOLS)
    return errors


def _endpoint(where: str, endpoint: dict[str, Any], address_type: Any) -> Errors:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        return [required(f"{where}.addresses", "must contain at least 1 address")]
    rule = names.is_dns1123_subdomain if address_type == "FQDN" else formats.is_ip_address
    return [
        error
        for index, address in enumerate(addresses)
        for error in named(f"{where}.addresses[{index}]", address, rule)
    ]


ENDPOINT_SLICE: Final = Kind(
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices",
    namespaced=True,
    model=discovery_v1.EndpointSlice,
    columns=(
        NAME_COLUMN,
        Column("AddressType", lambda slice_, _: slice_.get("addressType", "")),
        Column("Ports", _ports),
        Column("Endpoints", _endpoints),
        AGE_COLUMN,
    ),
    default=_default,
    validate=_validate,
    generation=True,
    generation_metadata=("labels",),
)
