"""Directories of manifests, rendered to objects: the part of kustomize that shipped and users' manifests need.

    release   image references by key, and what a reference looks like
    render    kustomization.yaml → objects

Pure but for reading files. Errors are `ValueError`s, so that a caller who applies many directories can go on:

    ManifestError(ValueError)     a directory that cannot be rendered
      ReleaseError                a release file, or an image reference, that is malformed
"""

from pathlib import Path

from skerry.manifests.errors import ManifestError, ReleaseError
from skerry.manifests.release import load_release
from skerry.manifests.render import render

__all__ = ["ManifestError", "ReleaseError", "load_release", "packaged", "render"]


def packaged() -> Path:
    """Return the directory of the manifests that come with Skerry: in the package, or in the source tree."""
    package = Path(__file__).parent.parent
    installed = package / "deploy" / "manifests"
    return installed if installed.is_dir() else package.parent.parent / "deploy" / "manifests"
