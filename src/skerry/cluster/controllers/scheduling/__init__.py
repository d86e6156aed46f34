"""Scheduling: which pods may run on the node.

demand      what a pod asks for and what a node has left
filters     why a node cannot take a pod, in the scheduler's words
scheduler   the loop
"""

from skerry.cluster.controllers.scheduling.scheduler import Scheduler

__all__ = ["Scheduler"]
