"""The answer to an apply that would change what others have, in the real server's words.

    Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas

    Apply failed with 2 conflicts: conflicts with "kubectl" using apps/v1:
    - .spec.paused
    - .spec.replicas

What to do about it is the client's text: kubectl names `--force-conflicts`.
"""

from collections.abc import Mapping

from skerry.machinery.apply.elements import shown
from skerry.machinery.apply.owners import Writer
from skerry.machinery.apply.sets import FieldSet, Path, paths
from skerry.machinery.status import StatusError


class ApplyConflict(StatusError):
    """409: other writers have these fields with other values."""

    def __init__(self, fields: Mapping[Writer, FieldSet]) -> None:
        self.fields = {writer: fields[writer] for writer in sorted(fields)}
        self.conflicts = [(writer, path) for writer, held in self.fields.items() for path in paths(held)]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {writer}", "field": _text(path)}
            for writer, path in self.conflicts
        ]
        super().__init__(409, "Conflict", self._message(), {"causes": causes})

    def _message(self) -> str:
        if len(self.conflicts) == 1:
            writer, path = self.conflicts[0]
            return f"Apply failed with 1 conflict: conflict with {writer}: {_text(path)}"
        lines = []
        for writer, held in self.fields.items():
            lines += [f"conflicts with {writer}:", *(f"- {_text(path)}" for path in paths(held))]
        return f"Apply failed with {len(self.conflicts)} conflicts: " + "\n".join(lines)


def _text(path: Path) -> str:
    return "".join(map(shown, path))
