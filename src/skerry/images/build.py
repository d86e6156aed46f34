"""ModelCars made from a directory or a Containerfile, without a container engine, a shell or root.

A directory is a short recipe: `FROM scratch`, then a copy to the place where model servers look (see `modelfiles`).
Both ways fill a `Draft`, which is then written as layers (see `composition`). Progress is told in podman's words.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from skerry.images.composition import MOST_LAYERS, WrittenLayer, spread, worth_compressing, write_layer
from skerry.images.containerfile import (
    Action,
    Base,
    ChangeMode,
    Copy,
    Fetch,
    Instruction,
    Label,
    MakeDirectories,
    actions,
    parse,
)
from skerry.images.draft import Draft, normal
from skerry.images.errors import BuildError
from skerry.images.fetch import fetch
from skerry.images.manifest import OCI_CONFIG, OCI_MANIFEST, Config, Descriptor, Manifest, Platform, RootFs
from skerry.images.modelfiles import files_of, recognise
from skerry.images.reference import Reference
from skerry.images.reference import parse as parse_reference
from skerry.images.store import ImageStore, StoredImage

Compression = Literal["auto", "gzip", "none"]

_TITLE: Final = "org.opencontainers.image.title"
_CREATED: Final = "org.opencontainers.image.created"
_BASE_NAME: Final = "org.opencontainers.image.base.name"
_BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


class Options(Struct, frozen=True):
    """What is chosen besides the files."""

    name: Reference
    labels: Mapping[str, str]
    platform: Platform
    compression: Compression
    created: int
    """Seconds since 1970, the time of every file; 0 gives the same image whenever it is built."""
    stored_at: datetime


class Reporter(Protocol):
    """Who is told how the build goes."""

    def step(self, text: str) -> None:
        """A line of what the user asked for."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Bytes; `total` is 0 where it is not known."""


class _Build:
    def __init__(self, store: ImageStore, context: Path, scratch: Path, reporter: Reporter) -> None:
        self.store = store
        self.draft = Draft()
        self.base: StoredImage | None = None
        self.labels: dict[str, str] = {}
        self._context = context
        self._scratch = scratch
        self._reporter = reporter

    def do(self, action: Action) -> None:
        match action:
            case Base():
                self._begin(action.image)
            case MakeDirectories():
                self._make_directories(action)
            case ChangeMode():
                for path in action.paths:
                    self.draft.change_mode(path, action.mode, recursive=action.recursive)
            case Fetch():
                self._fetch(action)
            case Copy():
                self._copy(action)
            case Label():
                self.labels |= action.labels

    def _begin(self, image: str) -> None:
        if image == "scratch":
            return
        self.base = self.store.find_local(parse_reference(image))
        if self.base is None:
            self._reporter.note(f"{image} is not in the store; a ModelCar does not need it, building on scratch")

    def _make_directories(self, action: MakeDirectories) -> None:
        for path in action.paths:
            above = normal(path).rpartition("/")[0]
            if not (action.parents or self.base or self.draft.is_directory(above)):
                raise BuildError(f"cannot build: mkdir: /{above} is not there; write mkdir -p {path}")
            self.draft.make_directory(path, action.mode)

    def _fetch(self, action: Fetch) -> None:
        for number, (url, path) in enumerate(action.files):
            target = self._scratch / f"{len(self.draft.tree)}-{number}"
            digest = fetch(url, target, lambda done, total, url=url: self._reporter.progress(url, done, total))  # type: ignore[misc]
            if action.checksum and digest != action.checksum:
                raise BuildError(
                    f"cannot fetch {url}: its digest is {digest}, the file says {action.checksum}; check both"
                )
            self._reporter.note(f"fetched {url} {digest}")
            self.draft.add_file(path, target)

    def _copy(self, action: Copy) -> None:
        sources = [path for pattern in action.sources for path in self._matching(pattern)]
        into_directory = action.destination.endswith(("/", "/.")) or len(sources) > 1
        for source in sources:
            if source.is_dir():
                self.note_hidden(source)
                self.draft.add_files(action.destination, files_of(source).items(), action.mode)
            elif into_directory or self.draft.is_directory(action.destination):
                self.draft.add_file(f"{action.destination}/{source.name}", source, action.mode)
            else:
                self.draft.add_file(action.destination, source, action.mode)

    def note_hidden(self, directory: Path) -> None:
        if hidden := sorted(entry.name for entry in directory.iterdir() if entry.name.startswith(".")):
            self._reporter.note(f"left out of {directory}, because hidden: {', '.join(hidden)}")

    def _matching(self, pattern: str) -> list[Path]:
        inside = normal(pattern)
        found = sorted(self._context.glob(inside)) if set(inside) & set("*?[") else [self._context / inside]
        if not found or not found[0].exists():
            raise BuildError(f"cannot build: COPY: nothing matches {pattern!r} below {self._context}; check the path")
        return found


def build_directory(
    store: ImageStore, directory: Path, options: Options, reporter: Reporter, *, into: str = ""
) -> StoredImage:
    """Package a model directory; `into` overrides where its files go.

    Raises `BuildError` or `StoreError`.
    """
    files = files_of(directory)
    place = into or recognise(directory, files).into
    reporter.step("STEP 1/2: FROM scratch")
    reporter.step(f"STEP 2/2: COPY {directory} /{normal(place)}")
    with _scratch(store) as scratch:
        build = _Build(store, directory, scratch, reporter)
        build.note_hidden(directory)
        build.draft.add_files(place, files.items())
        return _commit(build, options, reporter)


def build_containerfile(
    store: ImageStore, text: str, context: Path, options: Options, reporter: Reporter
) -> StoredImage:
    """Package what a Containerfile says.

    Raises `BuildError` or `StoreError`; everything is understood before anything is done.
    """
    plan: Sequence[tuple[Instruction, list[Action]]] = [(line, actions(line)) for line in parse(text)]
    if any((context / name).exists() for name in (".containerignore", ".dockerignore")):
        reporter.note("files like .dockerignore are not read: only hidden files are left out")
    with _scratch(store) as scratch:
        build = _Build(store, context, scratch, reporter)
        for number, (instruction, steps) in enumerate(plan, start=1):
            reporter.step(f"STEP {number}/{len(plan)}: {instruction}")
            for action in steps:
                build.do(action)
        return _commit(build, options, reporter)


@contextmanager
def _scratch(store: ImageStore) -> Iterator[Path]:
    import tempfile

    with store.adding(), tempfile.TemporaryDirectory(dir=store.blobs.incoming, prefix="build-") as directory:
        yield Path(directory)


def _commit(build: _Build, options: Options, reporter: Reporter) -> StoredImage:
    if all(entry.is_directory for entry in build.draft.tree.values()):
        raise BuildError("cannot build: the image would hold no file; COPY the model into /models")
    if not any(path.startswith("models/") for path in build.draft.tree):
        reporter.note("the image has nothing below /models, where model servers look")
    reporter.step(f"COMMIT {options.name}")
    build.store.blobs.require_space(build.draft.size)
    layers = _write_layers(build, options, reporter)
    manifest = _describe(build, options, layers)
    image = build.store.record(options.name, manifest, options.stored_at)
    reporter.step(f"--> {short_id(image.id)}")
    reporter.step(f"Successfully tagged {options.name}")
    return image


def _write_layers(build: _Build, options: Options, reporter: Reporter) -> list[WrittenLayer]:
    tree, total = build.draft.tree, build.draft.size
    done = 0

    def written(size: int) -> None:
        nonlocal done
        done += size
        reporter.progress("Writing layers", done, total)

    room = MOST_LAYERS - (len(build.base.manifest.layers) if build.base else 0)
    layers = []
    for paths in spread(tree, room=room):
        gzip = options.compression == "gzip" or (options.compression == "auto" and worth_compressing(tree, paths))
        layers.append(write_layer(build.store.blobs, tree, paths, options.created, gzip=gzip, written=written))
    return layers


def _describe(build: _Build, options: Options, layers: Sequence[WrittenLayer]) -> Descriptor:
    """Write configuration and manifest."""
    base, blobs = build.base, build.store.blobs
    created = datetime.fromtimestamp(options.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    settings: dict[str, Any] = dict((base.config.config if base else None) or {})
    if labels := {**(base.config.labels if base else {}), **build.labels, **options.labels}:
        settings["Labels"] = dict(sorted(labels.items()))
    history = [{"created": created, "created_by": "skerry model build"} for _ in layers]
    config = Config(
        base.config.architecture if base else options.platform.architecture,
        base.config.os if base else options.platform.os,
        RootFs([*(base.diff_ids if base else []), *(layer.diff_id for layer in layers)]),
        created,
        settings or None,
        [*((base.config.history if base else None) or []), *history],
    )
    annotations = {_TITLE: options.name.path.rpartition("/")[2], _CREATED: created}
    if base:
        annotations |= {_BASE_NAME: base.name, _BASE_DIGEST: base.descriptor.digest}
    encoded = msgspec.json.encode(config)
    manifest = Manifest(
        2,
        Descriptor(OCI_CONFIG, blobs.put(encoded), len(encoded)),
        [*(base.manifest.layers if base else []), *(layer.descriptor for layer in layers)],
        OCI_MANIFEST,
        annotations,
    )
    encoded = msgspec.json.encode(manifest)
    return Descriptor(OCI_MANIFEST, blobs.put(encoded), len(encoded))


def short_id(digest: str) -> str:
    """Write a digest as container tools show it."""
    return digest.removeprefix("sha256:")[:12]
