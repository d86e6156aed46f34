"""What can go wrong with an image, one class per thing that a caller may do differently.

ImageError(reason, message)   reason is the kubelet's word for the waiting container, message is for people
├── InvalidReference          InvalidImageName: the text is not an image reference
├── ImageNotFound             ErrImagePull: neither here nor there
├── DamagedContent            ErrImagePull: bytes do not have the promised digest, or an archive is unsafe
├── UnsupportedImage          ErrImagePull: a form that this program does not read
├── RegistryRefused           ErrImagePull: the registry answered, and the answer is no
│   └── AccessDenied          … because of missing or wrong credentials
├── RegistryUnreachable       ErrImagePull: no usable answer; a local copy may stand in
├── StoreError                ErrImagePull: the local store is busy, full or unreadable
└── BuildError                a model cannot be packaged (seen on the command line only)
"""

from typing import Final

ERR_IMAGE_PULL: Final = "ErrImagePull"
ERR_IMAGE_NEVER_PULL: Final = "ErrImageNeverPull"
INVALID_IMAGE_NAME: Final = "InvalidImageName"


class ImageError(Exception):
    """An image cannot be had; `message` says why and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidReference(ImageError):
    """What was written does not name an image."""

    def __init__(self, message: str) -> None:
        super().__init__(INVALID_IMAGE_NAME, message)


class _PullError(ImageError):
    def __init__(self, message: str) -> None:
        super().__init__(ERR_IMAGE_PULL, message)


class ImageNotFound(_PullError):
    """There is no such image where it was looked for."""


class DamagedContent(_PullError):
    """Bytes are not what they are said to be, or an archive tries to leave its directory."""


class UnsupportedImage(_PullError):
    """A media type, compression or kind of image that cannot be read."""


class RegistryRefused(_PullError):
    """The registry answered with a refusal that trying again will not change."""


class AccessDenied(RegistryRefused):
    """Credentials are missing, wrong or too weak."""


class RegistryUnreachable(_PullError):
    """No usable answer came, after all attempts."""


class StoreError(_PullError):
    """The local store cannot do it: another process holds it, the disk is full or a file is unreadable."""


class BuildError(_PullError):
    """A model cannot be packaged as it is."""
