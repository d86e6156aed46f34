"""Naming objects on the command line: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, `-n`, `-A`, `-l`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Wanted:
    """One kind and the names that were given for it; none means all."""

    kind: str
    names: tuple[str, ...]


def namespace_option(command: F) -> F:
    """Add `-n`."""
    return click.option("-n", "--namespace", metavar="NS", help="Namespace; else the context's.")(command)


def output_option(*forms: str) -> Callable[[F], F]:
    """Add `-o`."""
    return click.option("-o", "--output", metavar="|".join(forms), help="Output format.", type=click.Choice(forms))


def wanted(words: Sequence[str]) -> list[Wanted]:
    """Read the TYPE and NAME words.

    Raises `click.UsageError` with an example.
    """
    if not words:
        raise click.UsageError("say which kind: for example `skerry get pods`, `skerry get isvc NAME`")
    if any("/" in word for word in words):
        pairs = [word.partition("/") for word in words]
        if not all(kind and name for kind, _, name in pairs):
            raise click.UsageError("either every argument is TYPE/NAME or none: for example `isvc/resnet route/resnet`")
        return [Wanted(kind, (name,)) for kind, _, name in pairs]
    kinds, names = words[0].split(","), tuple(words[1:])
    return [Wanted(kind, names) for kind in kinds]
