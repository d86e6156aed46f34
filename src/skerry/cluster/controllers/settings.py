"""What the controllers need to know of the installation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ControllerSettings:
    """`apps_domain` is the domain below which Routes get their hosts; `ca_certificate` is PEM, for every namespace."""

    apps_domain: str
    ca_certificate: str
    event_ttl_seconds: float = 3600.0
