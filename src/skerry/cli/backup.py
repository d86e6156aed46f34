"""`skerry backup`: save what brings this box back, look at what is saved, bring it back.

Exit codes: 0 done, 1 it did not work or the backup is not whole, 130 the answer to the question was no.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from skerry.cli.objects import output_option
from skerry.cli.text import dump, print_rows
from skerry.daemon.paths import paths

_SHOWN = 8


@click.group()
def backup() -> None:
    r"""Save and restore the objects, certificates and tokens of this box.

    The platform also takes copies of its database by itself; `list` shows them, and `restore` takes them too. Models
    are not in a backup: they are fetched again from where they came. Keep backups as you keep passwords: the Secrets
    and the key of the certificate authority are in them.

    \b
    Example:
      skerry backup create /media/usb/box.tar.gz
      skerry down
      skerry backup restore /media/usb/box.tar.gz
      skerry up -d
    """


@backup.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@output_option("json", "yaml")
def create(file: Path | None, output: str | None) -> int:
    """Write a backup to FILE, or to a new file below the state directory. The platform may run meanwhile."""
    from skerry.daemon import backups
    from skerry.kit.files import private_directory

    where, now = paths(), datetime.now(UTC)
    if not where.store.exists():
        raise click.ClickException(f"there is no database {where.store} yet; start the platform first: skerry up -d")
    if file is None:
        file = private_directory(where.backups) / f"skerry-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    click.echo("copying and verifying the database …", err=True)
    try:
        manifest = backups.create(where, file.absolute(), now)
    except backups.BackupError as error:
        raise click.ClickException(str(error)) from error
    if output:
        click.echo(dump(_facts(file, manifest), output))
    else:
        count = sum(manifest.objects.values())
        click.echo(f"{file}: {count} objects at version {manifest.version}, {file.stat().st_size} bytes")
    return 0


@backup.command("list")
@output_option("json", "yaml")
def list_backups(output: str | None) -> int:
    """List the copies that the platform takes by itself and the backups in the usual place."""
    from skerry.daemon.backups import saved

    found = [_file_facts(path) for path in saved(paths())]
    if output:
        click.echo(dump({"items": found}, output))
    elif not found:
        click.echo("nothing is saved yet; `skerry backup create` makes a backup", err=True)
    else:
        print_rows(["TIME", "BYTES", "FILE"], [[one["time"], one["bytes"], one["file"]] for one in found])
    return 0


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_option("json", "yaml")
def verify(file: Path, output: str | None) -> int:
    """Read all of a backup and check it; says what is in it."""
    from skerry.daemon import backups

    try:
        manifest = backups.open_backup(file.absolute()).manifest
    except backups.BackupError as error:
        raise click.ClickException(str(error)) from error
    if output:
        click.echo(dump(_facts(file, manifest), output))
        return 0
    click.echo(f"{file} is whole: version {manifest.version}, made {manifest.created}")
    print_rows(["KIND", "OBJECTS"], [[kind, count] for kind, count in manifest.objects.items()])
    return 0


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--keep-certificates", is_flag=True, help="Restore the objects only; this box keeps its CA and token.")
@output_option("json", "yaml")
def restore(file: Path, yes: bool, dry_run: bool, keep_certificates: bool, output: str | None) -> int:
    """Put a backup in the place of the present objects. The platform must be stopped (`skerry down`).

    The database that is replaced is kept aside. Clients that follow objects are told to list them again.
    """
    from skerry.daemon import backups

    where = paths()
    try:
        opened = backups.open_backup(file.absolute())
        with backups.no_daemon(where):
            change = backups.difference(where, opened)
            with_pki = bool(opened.pki) and not keep_certificates
            _say_plan(file, opened.manifest, change, with_pki=with_pki)
            kept = None
            if not dry_run:
                if not yes and not _agreed():
                    raise click.ClickException("not restored: there was no `y` to the question; --yes asks none")
                kept = backups.restore(where, opened, with_pki=with_pki)
    except backups.BackupError as error:
        raise click.ClickException(str(error)) from error
    if output:
        facts = {**_facts(file, opened.manifest), "restored": not dry_run, "kept": str(kept or "")}
        parts = {name: getattr(change, name) if change else None for name in ("added", "changed", "removed")}
        click.echo(dump({**facts, "certificates": with_pki, "difference": parts}, output))
    elif not dry_run:
        click.echo("restored" + (f"; the database of before is kept in {kept}" if kept else ""))
        click.echo("Next: skerry up -d", err=True)
    return 0


def _say_plan(file: Path, manifest: Any, change: Any, *, with_pki: bool) -> None:
    total = sum(manifest.objects.values())
    click.echo(f"{file}: {total} objects at version {manifest.version}, made {manifest.created}", err=True)
    if change is None:
        click.echo("the present database cannot be read; it is kept aside and replaced", err=True)
    else:
        for verb, names in (("adds", change.added), ("changes", change.changed), ("removes", change.removed)):
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            listed = ": " + ", ".join(names[:_SHOWN]) + more if names else ""
            click.echo(f"{verb} {len(names)} objects{listed}", err=True)
    click.echo("replaces the certificate authority and the token" if with_pki else "keeps the certificates", err=True)


def _agreed() -> bool:
    try:
        return click.confirm("Restore?", err=True)
    except click.Abort:  # nobody is there to ask
        return False


def _facts(file: Path, manifest: Any) -> dict[str, Any]:
    return {
        "file": str(file),
        "time": manifest.created,
        "version": manifest.version,
        "skerry": manifest.skerry,
        "bytes": file.stat().st_size,
        "objects": manifest.objects,
    }


def _file_facts(path: Path) -> dict[str, Any]:
    facts = path.stat()
    moment = datetime.fromtimestamp(facts.st_mtime, UTC)
    return {"file": str(path), "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "bytes": facts.st_size}
