"""The part of the Containerfile language that ModelCars need, read without running anything.

    FROM  RUN mkdir, chmod, wget  COPY  ADD  LABEL

A ModelCar is files in a directory, so no step needs a shell or a base image's programs. What a file asks beyond that is
refused by name and line: a silently different image would be worse than none.
"""

import getopt
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from skerry.images.errors import BuildError

KNOWN: Final = ("FROM", "RUN", "COPY", "ADD", "LABEL")
_ELSEWHERE: Final = (
    'or build it with podman and load it: "podman save --format oci-archive …", "skerry model pull oci-archive:FILE"'
)
_MODE: Final = re.compile(r"[0-7]{3,4}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Instruction(Struct, frozen=True):
    """One instruction, its continued lines joined."""

    line: int
    keyword: str
    value: str

    def __str__(self) -> str:
        return f"{self.keyword} {self.value}"


class MakeDirectories(Struct, frozen=True):
    """`mkdir [-p] [-m MODE] PATH…`."""

    paths: tuple[str, ...]
    mode: int
    parents: bool


class ChangeMode(Struct, frozen=True):
    """`chmod [-R] MODE PATH…`."""

    paths: tuple[str, ...]
    mode: int
    recursive: bool


class Fetch(Struct, frozen=True):
    """`wget -P DIRECTORY URL…` or `ADD URL DESTINATION`: each address and the path its content gets."""

    files: tuple[tuple[str, str], ...]
    checksum: str = ""


class Copy(Struct, frozen=True):
    """`COPY SOURCE… DESTINATION`."""

    sources: tuple[str, ...]
    destination: str
    mode: int | None = None


class Label(Struct, frozen=True):
    """`LABEL KEY=VALUE…`."""

    labels: dict[str, str]


class Base(Struct, frozen=True):
    """`FROM IMAGE`."""

    image: str


Action = MakeDirectories | ChangeMode | Fetch | Copy | Label | Base


def parse(text: str) -> list[Instruction]:
    """Split a Containerfile into instructions.

    Raises `BuildError` with the line number.
    """
    instructions: list[Instruction] = []
    pending = ""
    begun = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or (pending and not line.strip()):
            continue
        begun = begun or number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1]
            continue
        if whole := (pending + line).strip():
            instructions.append(_instruction(begun, whole))
        pending, begun = "", 0
    if pending.strip():
        instructions.append(_instruction(begun, pending.strip()))
    _check_order(instructions)
    return instructions


def _instruction(line: int, text: str) -> Instruction:
    keyword, _, value = text.partition(" ")
    keyword = keyword.upper()
    if keyword not in KNOWN:
        raise BuildError(
            f"cannot build: line {line}: {keyword} is not understood; a ModelCar needs {', '.join(KNOWN)} only: "
            f"leave the line out, {_ELSEWHERE}"
        )
    if not value.strip():
        raise BuildError(f"cannot build: line {line}: {keyword} needs an argument")
    return Instruction(line, keyword, value.strip())


def _check_order(instructions: Sequence[Instruction]) -> None:
    if not instructions:
        raise BuildError('cannot build: the file has no instructions; begin with "FROM scratch"')
    first, *rest = instructions
    if first.keyword != "FROM":
        raise BuildError(
            f'cannot build: line {first.line}: {first.keyword} comes before FROM; begin with "FROM scratch"'
        )
    if again := next((later for later in rest if later.keyword == "FROM"), None):
        raise BuildError(
            f"cannot build: line {again.line}: a second FROM (multi-stage build) is not understood; {_ELSEWHERE}"
        )


def actions(instruction: Instruction) -> list[Action]:
    """Say what an instruction does.

    Raises `BuildError` for what is not understood, with the line number and advice.
    """
    match instruction.keyword:
        case "FROM":
            return [_base(instruction)]
        case "RUN":
            return [_command(instruction, words) for words in _commands(instruction)]
        case "LABEL":
            return [_label(instruction)]
        case _:
            return [_copy_or_add(instruction)]


def _base(instruction: Instruction) -> Base:
    words = [word for word in instruction.value.split() if not word.startswith("--platform=")]
    if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
        raise _cannot(instruction, "FROM takes one image", 'write "FROM scratch" or "FROM IMAGE"')
    return Base(words[0])


def _label(instruction: Instruction) -> Label:
    words = _words(instruction, instruction.value)
    if "=" not in words[0]:
        return Label({words[0]: " ".join(words[1:])})
    pairs = [word.partition("=") for word in words]
    if wrong := next((key for key, equals, _ in pairs if not (key and equals)), None):
        raise _cannot(instruction, f"{wrong!r} is no KEY=VALUE", 'write LABEL key="value"')
    return Label({key: value for key, _, value in pairs})


def _copy_or_add(instruction: Instruction) -> Action:
    words = _words(instruction, instruction.value)
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    rest = [word for word in words if not word.startswith("--")]
    if rest and rest[0].startswith("["):
        rest = _json_words(instruction, instruction.value[instruction.value.index("[") :])
    # Owners are not kept: every file of the image belongs to root and may be read by all.
    if unknown := next((flag for flag in flags if flag not in {"chmod", "chown", "checksum", "link"}), None):
        raise _cannot(instruction, f"the option --{unknown} is not understood", f"leave it out, {_ELSEWHERE}")
    if len(rest) < 2:
        raise _cannot(
            instruction, "it needs a source and a destination", f"write {instruction.keyword} SOURCE DESTINATION"
        )
    *sources, destination = rest
    mode = _mode(instruction, flags["chmod"]) if "chmod" in flags else None
    if instruction.keyword == "ADD" and any("://" in source for source in sources):
        return _add_from_network(instruction, sources, destination, flags.get("checksum", ""))
    if "checksum" in flags:
        raise _cannot(instruction, "--checksum is for ADD with an address", "leave it out")
    archive = next(
        (source for source in sources if source.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"))), None
    )
    if instruction.keyword == "ADD" and archive:
        raise _cannot(instruction, f"ADD would unpack {archive}", "unpack it first and COPY the directory")
    return Copy(tuple(sources), destination, mode)


def _add_from_network(instruction: Instruction, sources: Sequence[str], destination: str, checksum: str) -> Fetch:
    if not all("://" in source for source in sources):
        raise _cannot(instruction, "addresses and local files are mixed", "write one ADD for each kind")
    if checksum and (len(sources) > 1 or not _DIGEST.fullmatch(checksum)):
        raise _cannot(instruction, "--checksum takes sha256:… for one address", "write one ADD for each file")
    if len(sources) > 1 and not destination.endswith("/"):
        raise _cannot(instruction, "several files need a directory", f"write {destination}/")
    return Fetch(tuple(_named(instruction, url, destination) for url in sources), checksum)


def _named(instruction: Instruction, url: str, destination: str) -> tuple[str, str]:
    if not destination.endswith("/"):
        return url, destination
    name = PurePosixPath(urlsplit(url).path).name
    if not name:
        raise _cannot(
            instruction, f"{url} names no file", "say which name it gets: a destination without a slash at its end"
        )
    return url, f"{destination}{name}"


# RUN


def _commands(instruction: Instruction) -> list[list[str]]:
    if instruction.value.startswith("["):
        return [_json_words(instruction, instruction.value)]
    if instruction.value.startswith("--"):
        raise _cannot(instruction, f"{instruction.value.split()[0]} is not understood", f"leave it out, {_ELSEWHERE}")
    lexer = shlex.shlex(instruction.value, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word in {"&&", ";"}:
                commands.append([])
            elif set(word) <= set("();<>|&"):
                raise _cannot(
                    instruction, f"the shell's {word!r} is not understood", f"use mkdir, chmod, wget, {_ELSEWHERE}"
                )
            else:
                commands[-1].append(word)
    except ValueError as error:
        raise _cannot(instruction, str(error), "check the quotes") from error
    return [command for command in commands if command]


def _command(instruction: Instruction, words: Sequence[str]) -> Action:
    name, *arguments = words
    if special := next((word for word in arguments if "://" not in word and set(word) & set("$`*?[~")), None):
        raise _cannot(instruction, f"the shell would expand {special!r}", "write the path out")
    try:
        match name:
            case "mkdir":
                return _mkdir(instruction, arguments)
            case "chmod":
                return _chmod(instruction, arguments)
            case "wget":
                return _wget(instruction, arguments)
    except getopt.GetoptError as error:
        raise _cannot(instruction, f"{name}: {error}", f"leave it out, {_ELSEWHERE}") from error
    raise _cannot(
        instruction,
        f"the command {name!r} is not run here",
        f"only mkdir, chmod and wget are; COPY the files instead, {_ELSEWHERE}",
    )


def _mkdir(instruction: Instruction, arguments: Sequence[str]) -> MakeDirectories:
    options, paths = getopt.gnu_getopt(list(arguments), "pvm:", ["parents", "verbose", "mode="])
    chosen = dict(options)
    mode = chosen.get("-m") or chosen.get("--mode") or "755"
    _require(instruction, paths, "mkdir needs a directory")
    return MakeDirectories(tuple(paths), _mode(instruction, mode), bool(chosen.keys() & {"-p", "--parents"}))


def _chmod(instruction: Instruction, arguments: Sequence[str]) -> ChangeMode:
    options, rest = getopt.gnu_getopt(list(arguments), "Rvf", ["recursive", "verbose"])
    _require(instruction, rest[1:], "chmod needs a mode and a path")
    return ChangeMode(tuple(rest[1:]), _mode(instruction, rest[0]), bool(dict(options).keys() & {"-R", "--recursive"}))


def _wget(instruction: Instruction, arguments: Sequence[str]) -> Fetch:
    options, urls = getopt.gnu_getopt(
        list(arguments), "qcnvP:O:", ["quiet", "continue", "no-verbose", "directory-prefix=", "output-document="]
    )
    chosen = dict(options)
    _require(instruction, urls, "wget needs an address")
    if name := chosen.get("-O") or chosen.get("--output-document"):
        if len(urls) > 1:
            raise _cannot(instruction, "wget -O with several addresses joins them", "write one wget for each")
        return Fetch(((urls[0], name),))
    directory = chosen.get("-P") or chosen.get("--directory-prefix") or "/"
    return Fetch(tuple(_named(instruction, url, f"{directory.rstrip('/')}/") for url in urls))


def _mode(instruction: Instruction, text: str) -> int:
    if not _MODE.fullmatch(text):
        raise _cannot(instruction, f"the mode {text!r} is not understood", "write it as a number, for example 755")
    return int(text, 8) & 0o777


def _require(instruction: Instruction, words: Sequence[str], otherwise: str) -> None:
    if not words:
        raise _cannot(instruction, otherwise, "add it")


def _words(instruction: Instruction, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _cannot(instruction, str(error), "check the quotes") from error


def _json_words(instruction: Instruction, text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError as error:
        raise _cannot(instruction, f"the list is not JSON: {error}", "use double quotes") from error
    if not words or not all(isinstance(word, str) for word in words):
        raise _cannot(instruction, "the list must hold texts", 'write ["mkdir", "-p", "/models/1"]')
    return [str(word) for word in words]


def _cannot(instruction: Instruction, why: str, advice: str) -> BuildError:
    return BuildError(f"cannot build: line {instruction.line}: {instruction.keyword}: {why}; {advice}")
