"""The runtime's image with the tag that the InferenceService asks for."""

import re
from collections.abc import Mapping
from typing import Any, Final

_TAG: Final = re.compile(r":[\w.\-]*$")
_GPU: Final = re.compile(r"nvidia\.com/(gpu|mig.*)")
# Runtimes whose images come in a second edition for NVIDIA, by their well-known names.
_GPU_RUNTIMES: Final = frozenset({"kserve-tensorflow-serving", "kserve-torchserve", "kserve-huggingfaceserver"})


def image_for(container: Mapping[str, Any], runtime: str, version: str | None) -> str:
    """Return the container's image with `version` as its tag, or in its GPU edition where a GPU is asked for.

    An image that is named by digest stays as it is.
    """
    image = str(container.get("image") or "")
    if "@" in image:
        return image
    if version:
        return _TAG.sub("", image) + f":{version}"
    tag = _TAG.search(image)
    if tag and runtime in _GPU_RUNTIMES and _wants_gpu(container) and "-gpu" not in tag[0]:
        return f"{image}-gpu"
    return image


def _wants_gpu(container: Mapping[str, Any]) -> bool:
    limits = (container.get("resources") or {}).get("limits") or {}
    return any(_GPU.fullmatch(name) for name in limits)
