"""The pod of a job: the template, with the finalizer that keeps it until it is counted, and its index if it has one."""

import msgspec
from lightkube.models.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers.job.counting import FINALIZER, INDEX
from skerry.cluster.controllers.ownership import controller_reference, meta, name_of

_VARIABLE = "JOB_COMPLETION_INDEX"


def new_pod(job: Job, index: int | None) -> Pod:
    """Make the pod; the API server completes its name."""
    assert job.spec is not None
    template, name = job.spec.template, name_of(job)
    given, spec = template.metadata or ObjectMeta(), template.spec
    numbered = {} if index is None else {INDEX: str(index)}
    if index is not None and spec is not None:
        spec = _numbered(spec, f"{name}-{index}")
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{name}-" if index is None else f"{name}-{index}-",
            namespace=meta(job).namespace,
            labels={**(given.labels or {}), **numbered} or None,
            annotations={**(given.annotations or {}), **numbered} or None,
            finalizers=[*(given.finalizers or []), FINALIZER],
            ownerReferences=[controller_reference(job)],
        ),
        spec=spec,
    )


def _numbered(spec: PodSpec, hostname: str) -> PodSpec:
    variable = EnvVar(
        _VARIABLE, valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(f"metadata.annotations['{INDEX}']"))
    )

    def numbered(container: msgspec.Struct) -> msgspec.Struct:
        present = getattr(container, "env", None) or []
        if any(each.name == _VARIABLE for each in present):
            return container
        return msgspec.structs.replace(container, env=[*present, variable])

    return msgspec.structs.replace(
        spec,
        hostname=spec.hostname or hostname,
        containers=[numbered(each) for each in spec.containers],
        initContainers=[numbered(each) for each in spec.initContainers or []] or None,
    )
