"""`$(NAME)` in command, args and env, by Kubernetes' rules.

`$$` stands for a dollar, so `$$(NAME)` is the text `$(NAME)`; a name that is not known stays as it was written. Facts:
k8s.io/kubernetes `third_party/forked/golang/expansion`.
"""

from collections.abc import Mapping


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace the references in a text."""
    if "$" not in text:
        return text
    parts: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 == len(text):
            return "".join([*parts, text[position:]])
        parts.append(text[position:dollar])
        following = text[dollar + 1]
        end = text.find(")", dollar + 2) if following == "(" else -1
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif end >= 0:
            name = text[dollar + 2 : end]
            parts.append(known.get(name, f"$({name})"))
            position = end + 1
        else:
            parts.append(f"${following}")
            position = dollar + 2
