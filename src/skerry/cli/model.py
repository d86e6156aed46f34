"""`skerry model`: package models as OCI images and look after the images of this machine.

The commands are those of podman where podman has them, with the same words on the screen.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

import click

from skerry.daemon.paths import paths
from skerry.images.display import details, human_duration, human_size, summary
from skerry.images.errors import BuildError, ImageError, ImageNotFound, StoreError
from skerry.images.manifest import Platform, host_platform
from skerry.images.reference import Reference, parse, parse_new_name
from skerry.images.store import ImageStore, StoredImage
from skerry.kit.clock import SystemClock

if TYPE_CHECKING:
    from skerry.images.build import Compression, Options
    from skerry.images.registry import Registry

_RECIPES: Final = ("Containerfile", "Dockerfile")
_REGISTRY: Final = "docker://"
_OUTPUTS: Final = click.Choice(["json", "yaml", "name"])
_SHORT: Final = 12

_insecure = click.option(
    "--insecure", is_flag=True, help="Speak plain HTTP to the registry (this machine's always are)."
)


@click.group()
def model() -> None:
    """Package, list and push models as OCI images (ModelCars)."""


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-t", "--tag", "tags", multiple=True, required=True, help="NAME[:TAG]; a short name gets localhost/.")
@click.option("-f", "--file", "recipe", type=click.Path(path_type=Path), help="Containerfile; default: the one in it.")
@click.option("--into", default="", help="Where the files go in the image; default: by the kind of model.")
@click.option("--label", "labels", multiple=True, help="KEY=VALUE, may be repeated.")
@click.option("--platform", default="linux/amd64", show_default=True, help="What the image says it is for.")
@click.option("--compression", type=click.Choice(["auto", "gzip", "none"]), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print only the image ID.")
def build(
    directory: Path,
    tags: Sequence[str],
    recipe: Path | None,
    into: str,
    labels: Sequence[str],
    platform: str,
    compression: str,
    quiet: bool,
) -> None:
    """Package DIRECTORY as an image: a model's files, numbered versions, or what a Containerfile in it says."""
    with _errors():
        names = [parse_new_name(tag) for tag in tags]
        options = _build_options(names[0], labels, platform, compression)
        store = _store()
        image = _build(store, directory, recipe or _recipe_in(directory), into, options, _Reporter(quiet=quiet))
        for name in names[1:]:
            store.tag(image, name, options.stored_at)
            _say(f"Successfully tagged {name}", quiet=quiet)
        _tidy(store)
        click.echo(_hex(image.id))


def _build(
    store: ImageStore, directory: Path, recipe: Path | None, into: str, options: "Options", reporter: "_Reporter"
) -> StoredImage:
    from skerry.images.build import build_containerfile, build_directory

    with reporter.meter:
        if recipe is None:
            return build_directory(store, directory, options, reporter, into=into)
        if into:
            raise BuildError("cannot build: --into is for a model directory; the Containerfile says where files go")
        try:
            text = recipe.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BuildError(f"cannot build: cannot read {recipe}: {error}; check the path") from error
        return build_containerfile(store, text, directory, options, reporter)


def _recipe_in(directory: Path) -> Path | None:
    return next((directory / name for name in _RECIPES if (directory / name).is_file()), None)


def _build_options(name: Reference, labels: Sequence[str], platform: str, compression: str) -> "Options":
    from skerry.images.build import Options

    system, slash, architecture = platform.partition("/")
    if not (system and slash and architecture):
        raise BuildError(f"cannot build: {platform!r} is not a platform; write for example linux/arm64")
    pairs = dict(label.partition("=")[::2] for label in labels)
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not epoch.isdecimal():
        raise BuildError(f"cannot build: SOURCE_DATE_EPOCH is {epoch!r}; set it to seconds since 1970, or unset it")
    return Options(
        name, pairs, Platform(architecture, system), cast("Compression", compression), int(epoch), datetime.now(UTC)
    )


@model.command()
@click.argument("source")
@click.option("-t", "--tag", default="", help="The name that the image gets here; default: the one that it has.")
@_insecure
def pull(source: str, tag: str, insecure: bool) -> None:
    """Bring an image into the store.

    SOURCE is an image in a registry (NAME[:TAG], docker://NAME[:TAG]), an OCI layout (oci:DIR[:NAME]) or an archive
    (oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]).
    """
    from skerry.images.archive import load, location

    with _errors():
        store = _store()
        name = parse_new_name(tag) if tag else None
        if place := location(source):
            image = load(store, place, name, host_platform(), datetime.now(UTC))
        else:
            reference = parse(source.removeprefix(_REGISTRY))
            image = asyncio.run(_pull(store, reference, insecure=insecure))
            if name:
                image = store.tag(image, name, datetime.now(UTC))
        _tidy(store)
        click.echo(_hex(image.id))


async def _pull(store: ImageStore, reference: Reference, *, insecure: bool) -> StoredImage:
    if reference.local:
        raise ImageNotFound(
            f"cannot pull {reference}: localhost/ names images that were made here, not a registry; "
            "write localhost:PORT/NAME for a registry on this machine"
        )
    click.echo(f"Trying to pull {reference}...", err=True)
    with _Meter() as meter:
        image = await _registry(reference, insecure=insecure).pull(reference, store, host_platform(), meter.moved)
    click.echo("Writing manifest to image destination", err=True)
    return image


@model.command()
@click.argument("name")
@click.argument("destination", default="")
@_insecure
def push(name: str, destination: str, insecure: bool) -> None:
    """Send an image to a registry or write it to a file.

    DESTINATION is a name in a registry (default: NAME itself), oci:DIR[:NAME], oci-archive:FILE or docker-archive:FILE.
    """
    from skerry.images.archive import location
    from skerry.images.export import save

    with _errors():
        store = _store()
        image = _existing(store, name)
        if place := location(destination):
            save(store, image, place)
            return
        reference = parse(destination.removeprefix(_REGISTRY) or image.name)
        if reference.local:
            raise BuildError(
                f"cannot push {image.name}: localhost/ is no registry; name one: skerry model push {name} HOST/NAME:TAG"
            )
        digest = asyncio.run(_push(store, image, reference, insecure=insecure))
        click.echo(f"{reference.repository}@{digest}")


async def _push(store: ImageStore, image: StoredImage, reference: Reference, *, insecure: bool) -> str:
    with _Meter() as meter:
        digest = await _registry(reference, insecure=insecure).push(image, reference, store, meter.moved)
    click.echo("Writing manifest to image destination", err=True)
    return digest


def _registry(reference: Reference, *, insecure: bool) -> "Registry":
    from skerry.images.credentials import auth_files
    from skerry.images.registry import Access, Registry
    from skerry.images.session import Limits

    plain = frozenset({reference.domain}) if insecure else frozenset()
    return Registry(Access(Limits(), auth_files(os.environ), plain), SystemClock())


@model.command(name="list")
@click.option("-o", "--output", type=_OUTPUTS)
def list_(output: str | None) -> None:
    """List the images of this machine, as `podman images` does."""
    with _errors():
        store = _store()
        images = store.list()
        sizes = {image.name: store.unpacked_size(image) for image in images}
    if output == "name":
        for image in images:
            click.echo(image.name)
    elif output:
        click.echo(_dump([summary(image, sizes[image.name]) for image in images], output))
    else:
        _print_table([_row(image, sizes[image.name]) for image in images])


def _row(image: StoredImage, size: int) -> tuple[str, ...]:
    repository, _, tag = image.name.partition("@")[0].rpartition(":")
    if "@" in image.name:
        repository, tag = image.name.partition("@")[0], "<none>"
    age = (datetime.now(UTC) - image.created).total_seconds()
    return repository, tag, _hex(image.id)[:_SHORT], f"{human_duration(age)} ago", human_size(size)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print columns as podman does: at least 12 wide, two blanks between them."""
    table = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"), *rows]
    widths = [max(12, *(len(row[column]) + 2 for row in table)) for column in range(4)]
    for *cells, last in table:
        click.echo("".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) + last)


@model.command()
@click.argument("name")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json")
@click.option("--verify", is_flag=True, help="Also read every unpacked file and compare it with its digest.")
def inspect(name: str, output: str, verify: bool) -> None:
    """Show what is known of an image; exit 1 when --verify finds damage."""
    with _errors():
        store = _store()
        image = _existing(store, name)
        shown = details(image, store.unpacked_size(image))
        problems: list[str] = []
        if verify:
            store.rootfs(image)
            checked = store.verify(image)
            problems = checked.problems
            if problems:
                store.discard_tree(image)
            shown["Verified"] = {"Files": checked.files, "Bytes": checked.size, "Problems": problems}
    click.echo(_dump([shown], output))
    if problems:
        click.echo(f"Note: the unpacked files of {image.name} were damaged; its next use unpacks them again", err=True)
        raise click.exceptions.Exit(1)


@model.command()
@click.argument("names", nargs=-1, required=True)
def rm(names: Sequence[str]) -> None:
    """Remove images. Files that a running model uses stay until it stops."""
    with _errors():
        store = _store()
        for name in names:
            image = store.find_local(parse(name))
            reference = parse(image.name if image else name)
            store.remove(reference)
            click.echo(f"Untagged: {reference}")
        _tidy(store)


# Shared


def _store() -> ImageStore:
    return ImageStore(paths().images)


def _existing(store: ImageStore, name: str) -> StoredImage:
    image = store.find_local(parse(name))
    if image is None:
        raise ImageNotFound(f"cannot find {name}: no such image in the store; list them with: skerry model list")
    return image


def _tidy(store: ImageStore) -> None:
    try:
        store.collect()
    except StoreError as error:
        # Somebody else is pulling or building; their collection, or the next, will do it.
        click.echo(f"Note: {error.message}", err=True)


def _dump(value: Sequence[Mapping[str, Any]], output: str) -> str:
    from skerry.cli.text import dump

    return dump(list(value), output)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(text)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what can go wrong into a message and exit code 1."""
    try:
        yield
    except ImageError as error:
        raise click.ClickException(error.message) from error
    except PermissionError as error:
        raise click.ClickException(
            f"cannot use {error.filename}: {error.strerror}; run as its owner, or set SKERRY_HOME"
        ) from error


class _Meter:
    """One line on a terminal that says how far a transfer is; silent elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._width = 0
        self._done: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        if self._width:
            self._show("")

    def moved(self, digest: str, done: int, size: int) -> None:
        name = _hex(digest)[:_SHORT]
        if done < size:
            self._show(f"Copying blob {name}  {human_size(done)} / {human_size(size)}")
        elif digest not in self._done:
            self._done.add(digest)
            self.line(f"Copying blob {name} done")

    def progress(self, what: str, done: int, total: int) -> None:
        self._show(f"{what}  {human_size(done)}" + (f" / {human_size(total)}" if total else ""))

    def line(self, text: str) -> None:
        self.clear()
        click.echo(text, err=True)

    def _show(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r{text:<{self._width}}\r{text}")
            sys.stderr.flush()
            self._width = len(text)


class _Reporter:
    """Tells how a build goes, in podman's words."""

    def __init__(self, *, quiet: bool) -> None:
        self.meter = _Meter()
        self._quiet = quiet
        self.progress: Callable[[str, int, int], None] = self.meter.progress

    def step(self, text: str) -> None:
        if not self._quiet:
            self.meter.clear()
            click.echo(text)

    def note(self, text: str) -> None:
        if not self._quiet:
            self.meter.line(f"Note: {text}")
