"""Images, sizes and ages in the words of container tools."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.images.store import StoredImage


def human_size(size: int) -> str:
    """Write bytes as podman does: decimal units, three figures."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def human_duration(seconds: float) -> str:
    """Write an age as podman does."""
    minutes, hours = int(seconds // 60), int(seconds / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    for unit, length in (("days", 1), ("weeks", 7), ("months", 30)):
        limit = {"days": 14, "weeks": 60, "months": 730}[unit]
        if days < limit:
            return f"{days // length} {unit}"
    return f"{days // 365} years"


def details(image: "StoredImage", size: int) -> dict[str, Any]:
    """Describe an image for `inspect`."""
    config = image.config
    return {
        **summary(image, size),
        "Architecture": config.architecture,
        "Os": config.os,
        "MediaType": image.descriptor.media_type,
        "Annotations": image.manifest.annotations or {},
        "Layers": [
            {
                "Digest": layer.digest,
                "DiffId": diff_id,
                "Size": layer.size,
                "MediaType": layer.media_type,
                **(
                    {"Title": title}
                    if (title := (layer.annotations or {}).get("org.opencontainers.image.title"))
                    else {}
                ),
            }
            for layer, diff_id in zip(image.manifest.layers, image.diff_ids, strict=True)
        ],
    }


def summary(image: "StoredImage", size: int) -> dict[str, Any]:
    """Describe an image for `list`; the keys are podman's."""
    return {
        "Id": image.id.removeprefix("sha256:"),
        "Names": [image.name],
        "Digest": image.descriptor.digest,
        "CreatedAt": image.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Size": size,
        "Labels": image.config.labels,
    }
