"""`skerry down`: stop the platform."""

import os
import signal
import time
from typing import Final

import click

from skerry.daemon.lock import read_facts
from skerry.daemon.paths import paths

_POLL_SECONDS: Final = 0.05


@click.command()
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for pods and requests to end.")
def down(timeout: float) -> int:
    """Stop the platform, its gateway and all pods. What is stored stays; `skerry up` brings it all back."""
    facts = read_facts(paths().daemon_facts)
    if facts is None:
        return _stop_leftovers()
    os.kill(facts.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while facts.alive():
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"the daemon (pid {facts.pid}) still runs after {timeout:g} s; look at {paths().daemon_log}"
            )
        time.sleep(_POLL_SECONDS)
    click.echo("stopped")
    return 0


def _stop_leftovers() -> int:
    """End the pods and the gateway of a daemon that was killed."""
    from skerry.daemon.leftovers import stop_leftovers

    stopped = stop_leftovers(paths())
    click.echo(
        f"skerry did not run; stopped what was left of it: {stopped}" if stopped else "skerry does not run", err=True
    )
    return 0
