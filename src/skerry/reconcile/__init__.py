"""How controllers run: caches that follow the API, a queue of keys, events. Knows a Kubernetes API client only.

The shape is controller-runtime's. A `Cache` lists and then watches one kind. A `Controller` turns changes in caches
into keys of the objects it owns, and calls `reconcile(key)` for each key: one key never runs twice at once, an error
is retried with a growing delay, a result `Again(seconds)` asks to be called again. The operator uses it against a real
cluster exactly as the embedded controllers use it against the embedded one.
"""

from skerry.reconcile.cache import Cache, Caches, Change
from skerry.reconcile.controller import Again, Controller, Key, Manager
from skerry.reconcile.events import Recorder

__all__ = ["Again", "Cache", "Caches", "Change", "Controller", "Key", "Manager", "Recorder"]
