"""The volumes of one pod: made, made again when their sources change, and what is said when they cannot be."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from skerry.cluster.node.account_tokens import AccountTokens
from skerry.cluster.node.context import NodeContext
from skerry.cluster.node.layout import PodDirectories, PodRecord
from skerry.cluster.node.pod_object import PodObject
from skerry.cluster.node.podfields import PodFacts
from skerry.cluster.node.runtime import Waiting
from skerry.cluster.node.volumes import ImageVolumeError, Source, TokenKey, VolumeError, VolumeMaker
from skerry.kit.processes import boot_id

_SLOW_PULL_SECONDS: Final = 0.5
_FIRST_RETRY: Final = timedelta(milliseconds=500)
_LONGEST_RETRY: Final = timedelta(minutes=2)


class PodVolumes:
    """Prepares one pod."""

    def __init__(
        self, context: NodeContext, pod: PodObject, directories: PodDirectories, record: PodRecord | None
    ) -> None:
        self._context = context
        self._pod = pod
        self._directories = directories
        self._record = record
        self._tokens = AccountTokens(context.client, context.clock)

    def facts(self, ip: str) -> PodFacts:
        """What the pod may ask about itself."""
        context = self._context
        return PodFacts(context.node_name, context.host_ip, ip, context.allocatable)

    async def prepare(self, ip: str) -> Mapping[str, Source]:
        """Make directories and volumes; raises `ImageVolumeError`, `VolumeError` or `OSError`."""
        context, pod = self._context, self._pod.pod
        # A reboot empties the run directory, and so does the end of a log-in session where it is below /run/user.
        lost = not (self._directories.run / "volumes").is_dir()
        if self._record is None or self._record.boot_id != boot_id() or lost:
            record = PodRecord(self._pod.namespace, self._pod.name, pod.metadata.uid, ip, boot_id())
            await asyncio.to_thread(self._directories.make, record)
            self._record = record
        images = [volume.image.reference for volume in pod.spec.volumes or [] if volume.image]
        began = context.clock.monotonic()
        slow = asyncio.get_running_loop().call_later(_SLOW_PULL_SECONDS, self._tell_pulling, images)
        try:
            tokens = await self._tokens.gather(pod)
            sources = await self._maker(ip, tokens).prepare(pod, context.pull_secrets(pod))
        finally:
            slow.cancel()
        for image in images:
            took = (context.clock.monotonic() - began) * 1000
            context.report.normal(pod, "Pulled", f'Image "{image}" is here and verified (took {took:.0f}ms)')
        return sources

    async def refresh(self, ip: str) -> None:
        """Write again what comes from ConfigMaps and Secrets, and old tokens; what fails keeps its old content."""
        try:
            tokens = await self._tokens.gather(self._pod.pod)
            await asyncio.to_thread(self._maker(ip, tokens).refresh, self._pod.pod)
        except (VolumeError, OSError) as error:
            self._context.report.warning(self._pod.pod, "FailedMount", str(error))

    def tokens_due(self) -> bool:
        """Say whether a token of the pod should be renewed."""
        return self._tokens.due()

    def problem(self, error: Exception, before: Waiting | None) -> Waiting:
        """Tell what went wrong, and say when to try again."""
        failures = before.failures + 1 if before else 1
        if isinstance(error, ImageVolumeError):
            return self._image_problem(error, failures)
        self._context.report.warning(self._pod.pod, "FailedMount", str(error))
        delay = min(_FIRST_RETRY * 2 ** min(failures - 1, 20), _LONGEST_RETRY)
        return Waiting("FailedMount", str(error), failures, self._context.clock.now() + delay)

    def _image_problem(self, error: ImageVolumeError, failures: int) -> Waiting:
        report, pod = self._context.report, self._pod.pod
        reason, message = error.reason, error.message
        report.warning(pod, "Failed", f'Failed to pull image "{error.reference}": {message}')
        if failures > 1 and reason == "ErrImagePull":
            waits = f'Back-off pulling image "{error.reference}"'
            report.normal(pod, "BackOff", waits)
            reason, message = "ImagePullBackOff", f"{waits}: {reason}: {message}"
        report.warning(pod, "Failed", f"Error: {reason}")
        return Waiting(reason, message, failures, self._context.retry_at(failures))

    def _maker(self, ip: str, tokens: Mapping[TokenKey, bytes]) -> VolumeMaker:
        context = self._context
        user = context.users.of(self._pod.namespace)
        return VolumeMaker(
            context.directories,
            self._directories,
            context.starter.objects,
            context.images,
            self.facts(ip),
            user.uid if user else None,
            context.claim_exists,
            tokens,
        )

    def _tell_pulling(self, images: list[str]) -> None:
        for image in images:
            self._context.report.normal(self._pod.pod, "Pulling", f'Pulling image "{image}"')
