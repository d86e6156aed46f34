"""Job: pods that run to an end.

indexes     sets of completion indexes as text, `0,3-5`
counting    which pods have ended, each counted exactly once
ending      when a job is done or given up, and its conditions
plan        pods to make and to end, the status, the events
pods        the pod of a job
controller  the loop
"""

from skerry.cluster.controllers.job.controller import JobController

__all__ = ["JobController"]
