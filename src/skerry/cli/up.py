"""`skerry up`: start the platform."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from skerry.daemon.lock import DaemonFacts, read_facts
from skerry.daemon.paths import Paths, paths

_POLL_SECONDS: Final = 0.02


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Return when the platform is ready; it runs on in the background.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting, e.g. dns.baseDomain=example.com."
)
@click.option("--timeout", default=60.0, show_default=True, help="With --detach: seconds to wait for readiness.")
def up(detach: bool, settings: tuple[str, ...], timeout: float) -> int:
    """Start the platform: API server, controllers, node and gateway.

    Runs in the foreground until Ctrl-C, which also ends the pods; with -d in the background until `skerry down`.
    Settings come from config.yaml (see docs/reference/configuration.md).
    """
    where = paths()
    if detach:
        return _detached(where, settings, timeout)
    return run_foreground(where, settings)


def run_foreground(where: Paths, settings: tuple[str, ...]) -> int:
    """Run the daemon in this process."""
    from skerry.daemon import run
    from skerry.daemon.config import ConfigError, load, override

    try:
        config = override(load(where.etc), settings)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    return run.run(config, where, _say_ready)


def _detached(where: Paths, settings: tuple[str, ...], timeout: float) -> int:
    if (facts := read_facts(where.daemon_facts)) is not None:
        click.echo("skerry already runs", err=True)
        if settings:
            click.echo("The settings are not applied: stop it first with `skerry down`.", err=True)
        _say_ready(facts)
        return 0
    where.log.mkdir(mode=0o700, parents=True, exist_ok=True)
    arguments = [word for setting in settings for word in ("--set", setting)]
    with where.daemon_log.open("ab") as log:
        start = where.daemon_log.stat().st_size
        child = subprocess.Popen(
            [sys.executable, "-m", "skerry", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={**os.environ, **_absolute_home()},
        )
    facts = _wait(where, child, timeout)
    if facts is None:
        said = where.daemon_log.read_bytes()[start:].decode(errors="replace").strip()
        if child.poll() is None:
            child.terminate()
            raise click.ClickException(f"the platform was not ready after {timeout:g} s; its log is {where.daemon_log}")
        click.echo(said, err=True)
        return child.returncode or 1
    _say_ready(facts)
    return 0


def _wait(where: Paths, child: "subprocess.Popen[bytes]", timeout: float) -> DaemonFacts | None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and child.poll() is None:
        if (facts := read_facts(where.daemon_facts)) is not None and facts.pid == child.pid:
            return facts
        time.sleep(_POLL_SECONDS)
    return None


def _absolute_home() -> dict[str, str]:
    home = os.environ.get("SKERRY_HOME")
    return {"SKERRY_HOME": str(Path(home).absolute())} if home else {}


def _say_ready(facts: DaemonFacts) -> None:
    click.echo(f"API      {facts.api_url}")
    click.echo(f"Gateway  {facts.gateway_url}   (routes: NAME-NAMESPACE.{facts.apps_domain})")
    click.echo(f"export KUBECONFIG={facts.kubeconfig}")
    sys.stdout.flush()
