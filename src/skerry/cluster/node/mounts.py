"""From `volumeMounts` to what the supervisor mounts, or, without mount namespaces, to rewritten paths.

MountError      a mount that cannot be made, in the kubelet's words where it has some
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from skerry.cluster.node.containers import Mount
from skerry.cluster.node.expansion import expand
from skerry.cluster.node.volumes import Source


class MountError(Exception):
    """A container's mounts do not fit its pod's volumes."""


def plan(container: Any, sources: Mapping[str, Source], environment: Mapping[str, str]) -> list[Mount]:
    """Work out the mounts of a container."""
    mounts = []
    for wanted in container.volumeMounts or []:
        source = sources.get(wanted.name)
        if source is None:
            raise MountError(f'cannot mount {wanted.mountPath}: the pod has no volume "{wanted.name}"')
        sub_path = expand(wanted.subPathExpr, environment) if wanted.subPathExpr else wanted.subPath or ""
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise MountError(f"cannot mount {wanted.mountPath}: subPath {sub_path!r} must stay in the volume")
        read_only = source.read_only or bool(wanted.readOnly)
        mounts.append(Mount(str(source.path), wanted.mountPath, read_only, sub_path))
    return mounts


class PathRewriter:
    """Puts the directories of the host in place of mount paths.

    For kernels that refuse mount namespaces: a program that is told `--model_path=/mnt/models` is told where the model
    really is. It works for paths that are written in command, arguments and environment; read-only is then a matter of
    file modes.
    """

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._places = {
            mount.path.rstrip("/"): f"{mount.source}/{mount.sub_path}".rstrip("/")
            for mount in mounts
            if mount.path.rstrip("/")
        }
        longest_first = sorted(self._places, key=len, reverse=True)
        choices = "|".join(re.escape(path) for path in longest_first)
        # A path of its own: not the tail of a longer one (but `file:///mnt/models` counts), ending at a separator.
        self._pattern = (
            re.compile(rf"(?:(?<![\w./-])|(?<=://))({choices})(?=$|[/:;,=\s\"'\])}}?&])") if choices else None
        )

    def text(self, value: str) -> str:
        """Rewrite one argument or value."""
        if self._pattern is None:
            return value
        return self._pattern.sub(lambda match: self._places[match[1]], value)

    def texts(self, values: Sequence[str]) -> list[str]:
        return [self.text(value) for value in values]
