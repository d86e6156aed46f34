"""What all pods of the node share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightkube import AsyncClient

from skerry.cluster.node.addresses import Addresses
from skerry.cluster.node.container_start import Starter
from skerry.cluster.node.layout import Directories
from skerry.cluster.node.pod_users import PodUsers
from skerry.cluster.node.reporting import Reporter
from skerry.cluster.node.runtime import Settings
from skerry.cluster.node.volumes import ImageProvider
from skerry.kit.clock import Clock


@dataclass(frozen=True)
class NodeContext:
    """Collaborators of the pods' workers."""

    client: AsyncClient
    clock: Clock
    settings: Settings
    directories: Directories
    images: ImageProvider
    starter: Starter
    addresses: Addresses
    users: PodUsers
    report: Reporter
    node_name: str
    host_ip: str
    allocatable: Mapping[str, str]
    pull_secrets: Callable[[Any], Sequence[Mapping[str, Any]]]
    claim_exists: Callable[[str, str], bool]

    def retry_at(self, failures: int) -> datetime:
        """When to try again what has failed so many times."""
        factor: int = 2 ** min(failures - 1, 20)
        return self.clock.now() + min(self.settings.first_back_off * factor, self.settings.longest_back_off)
