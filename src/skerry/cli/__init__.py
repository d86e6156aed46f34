"""The `skerry` command: one file a sub-command, imported when it is used.

A cold `skerry --help` must not load a Kubernetes client, so commands are found by name and loaded late.
"""

from skerry.cli.main import main

__all__ = ["main"]
