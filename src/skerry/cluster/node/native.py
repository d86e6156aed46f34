"""Which images are native to this node: an image names *what* to run, and this table says *how* to run it here.

Entries come from the packaged `images.d/*.yaml` and then from the administrator's directories; a later entry wins over
an earlier one. One entry:

    images:
      - name: openvino-model-server          # shown in messages and as the image id
        match: ["*/openvino_model_server"]   # the repository without tag and digest; * and ? as in a shell
        command: ["{python}", "-m", "…"]     # in place of the image's entrypoint; empty: the container's own command
        entrypoints: [["/ovms/bin/ovms"]]    # what a container's `command` may say and still mean the same program
        arguments: []                        # when the container has none (the image's CMD)
        set: {--flag: value}                 # `--flag=…` and `--flag …` get this value; added when it is not there
        environment: {NAME: value}           # unless the container sets NAME

Placeholders in command, set and environment: `{python}`, the interpreter that runs Skerry, and `{podIP}`.

    NativeImageError    an image cannot be run here
    ├── NotNative       the table does not know it
    ├── OtherCommand    it is known, but the container asks for another program of it
    └── NoCommand       it has no program of its own, and the container names none
"""

import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from skerry.kit.log import logger

log = logger(__name__)

PACKAGED: Final = Path(__file__).parent / "images.d"


class NativeImageError(Exception):
    """An image cannot be run on this node; `reason` is what a waiting container shows."""

    reason = "ImageNotNative"


class NotNative(NativeImageError):
    """No entry matches the image."""

    def __init__(self, image: str) -> None:
        super().__init__(
            f"image {image!r} is not native on this node and no container engine is configured; "
            "add an entry for it to images.d/ or run it on a cluster that has one"
        )


class OtherCommand(NativeImageError):
    """The image is native, but not this program of it."""

    reason = "CreateContainerError"

    def __init__(self, image: str, command: Sequence[str]) -> None:
        super().__init__(
            f"image {image!r} is native on this node, and its program {command[0]!r} is not; "
            "leave `command` out, or add an entry with that program to images.d/"
        )


class NoCommand(NativeImageError):
    """The image has no program of its own, and the container names none."""

    reason = "CreateContainerError"

    def __init__(self, image: str) -> None:
        super().__init__(f"image {image!r} runs what the container's `command` or `args` say, and they say nothing")


class NativeImage(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the table."""

    name: str
    match: list[str]
    command: list[str]
    entrypoints: list[list[str]] = []
    arguments: list[str] = []
    set: dict[str, str] = {}
    environment: dict[str, str] = {}

    def matches(self, image: str) -> bool:
        return any(fnmatchcase(repository(image), pattern) for pattern in self.match)


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    images: list[NativeImage] = []


class NativeProgram(Struct, frozen=True):
    """What to execute for a container."""

    name: str
    argv: list[str]
    environment: dict[str, str]


class NativeTable:
    """The entries of all directories; read again when a directory has changed."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = (PACKAGED, *directories)
        self._seen: list[tuple[str, int]] | None = None
        self._entries: list[NativeImage] = []

    def find(self, image: str) -> NativeImage:
        """Return the entry for an image; raises `NotNative`."""
        self._refresh()
        for entry in reversed(self._entries):
            if entry.matches(image):
                return entry
        raise NotNative(image)

    def _refresh(self) -> None:
        files = [file for directory in self._directories for file in _files(directory)]
        seen = [(str(file), file.stat().st_mtime_ns) for file in files]
        if seen != self._seen:
            self._entries = [entry for file in files for entry in _read(file)]
            self._seen = seen


def program(entry: NativeImage, image: str, command: Sequence[str], args: Sequence[str], pod_ip: str) -> NativeProgram:
    """Work out what to execute; `command` and `args` are the container's, already expanded.

    Raises `OtherCommand` when the container asks for a program that the entry does not stand for.
    """
    places = {"python": sys.executable, "podIP": pod_ip}
    environment = {name: _fill(value, places) for name, value in entry.environment.items()}
    if not entry.command:
        if not [*command, *args]:
            raise NoCommand(image)
        # Like an image without an entrypoint: what `kubectl run NAME --image=… -- sh -c …` sends as `args` is run.
        return NativeProgram(entry.name, [*command, *args], environment)
    extra: list[str] = []
    if command:
        known = [point for point in entry.entrypoints if list(command[: len(point)]) == point]
        if not known:
            raise OtherCommand(image, command)
        extra = list(command[len(max(known, key=len)) :])
    given = [*extra, *args] or entry.arguments
    wanted = {flag: _fill(value, places) for flag, value in entry.set.items()}
    argv = [*(_fill(part, places) for part in entry.command), *set_flags(given, wanted)]
    return NativeProgram(entry.name, argv, environment)


def set_flags(arguments: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    """Give each flag its value, in whichever of its two spellings it stands there; add the ones that are missing."""
    result: list[str] = []
    missing = dict(wanted)
    replacing: str | None = None
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        if replacing is not None:
            result.append(wanted[replacing])
            replacing = None
        elif flag in wanted:
            missing.pop(flag, None)
            result.append(f"{flag}={wanted[flag]}" if equals else flag)
            replacing = None if equals else flag
        else:
            result.append(argument)
    if replacing is not None:
        result.append(wanted[replacing])
    return [*result, *(f"{flag}={value}" for flag, value in missing.items())]


def repository(image: str) -> str:
    """Return an image reference without tag and digest."""
    name = image.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def _fill(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace("{" + name + "}", value)
    return text


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(file for file in directory.iterdir() if file.suffix in {".yaml", ".yml"} and file.name[0] != ".")


def _read(file: Path) -> list[NativeImage]:
    """Read one file; a broken one is left out, loudly, because the others still serve."""
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_bytes())
        return msgspec.convert(content or {}, type=_File).images
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        log.error("native images file left out", file=str(file), error=str(error))
        return []
