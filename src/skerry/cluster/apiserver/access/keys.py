"""The keys that sign tokens, in one file of the pki directory.

Only this server verifies what it signs, so the keys are secrets of HMAC-SHA-256, which needs no cryptography library.
The newest signs; older ones go on verifying. A key is replaced when the platform starts and it is a year old. The clock
of a small machine may be years off, so a date alone never takes a key away: a key is dropped when there are newer ones
enough, and a key from the future counts as new.
"""

import base64
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from skerry.kit import files
from skerry.kit.log import logger

log = logger(__name__)

_BYTES: Final = 32
_KEPT: Final = 3
_LIFE: Final = timedelta(days=365)


class SigningKey(msgspec.Struct, frozen=True):
    """One key; `id` is the `kid` of the tokens that it signs."""

    id: str
    secret: bytes
    created: datetime


@dataclass(frozen=True)
class SigningKeys:
    """Keys, the newest first."""

    keys: Sequence[SigningKey]

    @classmethod
    def temporary(cls) -> "SigningKeys":
        """Return a key that nobody keeps: its tokens end with this process."""
        return cls([_new(datetime.now(UTC))])

    @property
    def newest(self) -> SigningKey:
        return self.keys[0]

    def find(self, key_id: str) -> SigningKey | None:
        """Return the key of that id."""
        return next((key for key in self.keys if key.id == key_id), None)


def load(path: Path, now: datetime) -> SigningKeys:
    """Read the file; make it or add a key when it is time.

    A file that cannot be read is put aside and made anew: that ends all tokens, but pods get new ones with the start.
    """
    keys = _read(path)
    if not keys or now - keys[0].created >= _LIFE:
        keys = [_new(now), *keys][:_KEPT]
        files.replace(path, msgspec.json.encode(keys), mode=0o600)
        log.info("token key made", file=str(path), keys=len(keys))
    return SigningKeys(keys)


def _read(path: Path) -> list[SigningKey]:
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=list[SigningKey])
    except FileNotFoundError:
        return []
    except msgspec.MsgspecError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.error("token keys are damaged; all tokens end", file=str(path), kept_as=str(aside), error=str(error))
        return []
    return [key for key in keys if len(key.secret) >= _BYTES]


def _new(now: datetime) -> SigningKey:
    key_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return SigningKey(key_id, secrets.token_bytes(_BYTES), now)
