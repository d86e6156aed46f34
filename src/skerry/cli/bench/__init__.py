"""`skerry bench`: how fast a model answers, for any server of the Open Inference Protocol.

What goes where: `target` (the address), `metadata` (what the model takes), `tensors` and `inputs` (what is sent),
`rest` and `grpc` (one connection each, as cheap as Python gets), `load` (when to send, what to note), `report`.
"""

from skerry.cli.bench.command import bench

__all__ = ["bench"]
