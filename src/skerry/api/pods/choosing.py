"""Which container of a pod is meant by who names one, or none: for logs and for streams alike.

Facts: Kubernetes `pkg/registry/core/pod/strategy.go`.
"""

from collections.abc import Sequence

from skerry.machinery import status


def choose_container(pod: str, containers: Sequence[str], init: Sequence[str], named: str) -> str:
    """Return the container of the pod that is meant; raises a 400 in Kubernetes' words when that is not clear."""
    if named:
        if named not in (*containers, *init):
            raise status.bad_request(f"container {named} is not valid for pod {pod}")
        return named
    if len(containers) == 1:
        return containers[0]
    message = f"a container name must be specified for pod {pod}, choose one of: [{' '.join(containers)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise status.bad_request(message)
