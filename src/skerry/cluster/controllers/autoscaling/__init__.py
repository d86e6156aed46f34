"""HorizontalPodAutoscaler: as many replicas as what the pods use asks for.

samples    what pods use, from metrics.k8s.io; which of it counts
proposal   one metric → a number of replicas
pace       how fast that may be followed: stabilization, policies, bounds
plan       all of it for one object: the new size, the status, the events
scales     the sub-resource `scale` of whatever is scaled
controller the loop
"""

from skerry.cluster.controllers.autoscaling.controller import AutoscalerController

__all__ = ["AutoscalerController"]
