"""Sets of completion indexes as Kubernetes writes them: `0,3-5,7`; three or more in a row become a range."""

from collections.abc import Iterable, Iterator


def parse_indexes(text: str | None, below: int) -> frozenset[int]:
    """Read a set; indexes that the job does not have are left out, as after it was made smaller."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first), below - 1) + 1))
    return frozenset(found)


def format_indexes(indexes: Iterable[int]) -> str:
    """Write a set."""
    return ",".join(_parts(sorted(indexes)))


def _parts(indexes: list[int]) -> Iterator[str]:
    place = 0
    while place < len(indexes):
        end = place
        while end + 1 < len(indexes) and indexes[end + 1] == indexes[end] + 1:
            end += 1
        if end - place >= 2:
            yield f"{indexes[place]}-{indexes[end]}"
        else:
            yield from map(str, indexes[place : end + 1])
        place = end + 1
