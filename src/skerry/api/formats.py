"""Rules for texts that stand in the fields of several kinds: ports, keys, variables, addresses.

Like the rules of `machinery.names`, each returns what is wrong, in Kubernetes' words.
"""

import ipaddress
import re
from typing import Final

_PORT_NAME_LIMIT: Final = 15
_KEY_LIMIT: Final = 253
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_HEADER: Final = re.compile(r"[-A-Za-z0-9]+")


def is_port_name(name: str) -> list[str]:
    """Return what is wrong with the name of a port (RFC 6335)."""
    problems = []
    if len(name) > _PORT_NAME_LIMIT:
        problems.append(f"must be no more than {_PORT_NAME_LIMIT} characters")
    if not re.fullmatch("[-a-z0-9]+", name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def is_config_key(key: str) -> list[str]:
    """Return what is wrong with a key of a ConfigMap or Secret."""
    problems = []
    if len(key) > _KEY_LIMIT:
        problems.append(f"must be no more than {_KEY_LIMIT} characters")
    if not _KEY.fullmatch(key):
        problems.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    if key == ".":
        problems.append("must not be '.'")
    elif key == "..":
        problems.append("must not be '..'")
    elif key.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def is_env_name(name: str) -> list[str]:
    """Return what is wrong with the name of an environment variable; since 1.34 nearly nothing is."""
    if all(" " <= character <= "~" and character != "=" for character in name):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def is_http_header(name: str) -> list[str]:
    """Return what is wrong with the name of an HTTP header."""
    if _HEADER.fullmatch(name):
        return []
    problem = (
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
        "validation is '[-A-Za-z0-9]+')"
    )
    return [problem]


def is_ip_address(address: str) -> list[str]:
    """Return what is wrong with an IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []
