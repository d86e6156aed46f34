"""Deployments: one ReplicaSet for each revision of the pod template, grown and shrunk against each other.

fenceposts   how many pods there may be and must be
sizes        one step of a roll-out, in numbers
revisions    which ReplicaSet is the present template; making a new one
conditions, status   what the Deployment says of itself
plan         the above put together, still without I/O
controller   the loop
"""

from skerry.cluster.controllers.deployment.controller import DeploymentController

__all__ = ["DeploymentController"]
