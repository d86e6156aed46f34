"""What can be wrong with manifests; the tree is drawn in the package's docstring."""


class ManifestError(ValueError):
    """A directory that cannot be rendered."""


class ReleaseError(ManifestError):
    """A release file, or an image reference, that is malformed."""
