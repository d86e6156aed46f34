"""Which of two API versions comes first: stable ones before betas, betas before alphas, and then the newer one.

Fact: k8s.io/apimachinery `pkg/version`.
"""

import re
from typing import Final

_KUBE_VERSION: Final = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", re.ASCII)
_STABILITY: Final = {None: 2, "beta": 1, "alpha": 0}


def priority(version: str) -> tuple[int, int, int, str]:
    """Order versions as discovery lists them, the last first: v2, v1, v2beta1, v1beta1, v1alpha1, others."""
    found = _KUBE_VERSION.fullmatch(version)
    if found is None:
        return (-1, 0, 0, "".join(chr(0x10FFFF - ord(char)) for char in version) + "\U0010ffff")
    return (_STABILITY[found[2]], int(found[1]), int(found[3] or 0), "")
