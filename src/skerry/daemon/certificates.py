"""The local certificate authority, the API server's certificate, the tokens and the kubeconfig.

`ensure` runs as a process of its own (`python -m skerry.daemon.certificates`): the cryptography library would otherwise
stay in the daemon's memory for work that is done once. It makes what is missing or damaged and renews what ends within
a month.

The box's clock may be decades off, and a CA is pinned in kubeconfigs that cannot be reached from here. So every
certificate begins in 1970, and the CA ends in 9999, which is X.509's way to say "never" (RFC 5280, 4.1.2.5): no clock
can make it invalid. Only the server's certificate ends, in a year, and is made anew before. A CA of an older Skerry,
which ends, is signed again with its own key and name before it does; kubeconfigs that pin the old one work until its
end, those that are fetched later (`skerry kubeconfig --show`) for ever.
"""

import base64
import ipaddress
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from skerry.kit import files

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_SERVER_DAYS: Final = 365
_RENEW_DAYS: Final = 30
_TOKEN_LENGTH: Final = 40
_BEGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)
ADMIN: Final = "system:admin"


class Pki(msgspec.Struct, frozen=True):
    """The files below the pki directory."""

    directory: Path

    @property
    def ca_certificate(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def server_certificate(self) -> Path:
        return self.directory / "apiserver.crt"

    @property
    def server_key(self) -> Path:
        return self.directory / "apiserver.key"

    @property
    def admin_token(self) -> Path:
        return self.directory / "admin.token"

    @property
    def token_keys(self) -> Path:
        return self.directory / "service-account.keys"


def needs_work(pki: Pki, names: Sequence[str], now: datetime) -> bool:
    """Tell, without the cryptography library, whether `ensure` has something to do."""
    present = (pki.ca_certificate, pki.ca_key, pki.server_certificate, pki.server_key, pki.admin_token)
    if not all(path.exists() for path in present) or not _token_is_sound(pki):
        return True
    try:
        facts = msgspec.json.decode((pki.directory / "apiserver.json").read_bytes(), type=Facts)
    except (OSError, msgspec.MsgspecError):
        return True
    return facts.names != sorted(names) or facts.renew_after < now or facts.authority_ends is None


def _token_is_sound(pki: Pki) -> bool:
    """Tell whether the token is one that was made here; what a damaged disk has left of it could be guessed."""
    try:
        token = pki.admin_token.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False
    return len(token) >= _TOKEN_LENGTH and token.isprintable()


class Facts(msgspec.Struct, frozen=True):
    """What the server certificate was made for, so that nobody needs to parse it."""

    names: list[str]
    renew_after: datetime
    authority_ends: datetime | None = None  # None: written by an older Skerry, whose CA may end


def ensure(pki: Pki, names: Sequence[str], now: datetime) -> None:
    """Make or renew the certificates; an existing CA and token are kept, so kubeconfigs go on working."""
    files.private_directory(pki.directory)
    if not _token_is_sound(pki):
        files.replace(pki.admin_token, secrets.token_urlsafe(32).encode())
    authority, key = _authority(pki)
    _issue_server(pki, authority, key, names, now)


def kubeconfig(pki: Pki, server: str) -> bytes:
    """Return a kubeconfig for the administrator."""
    return user_kubeconfig(pki.ca_certificate.read_bytes(), server, "admin", {"token": pki.admin_token.read_text()})


def user_kubeconfig(
    authority_pem: bytes, server: str, user: str, credentials: Mapping[str, str], namespace: str = "default"
) -> bytes:
    """Return a kubeconfig for somebody with these credentials."""
    authority = base64.b64encode(authority_pem).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "skerry", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": dict(credentials)}],
        "contexts": [{"name": "skerry", "context": {"cluster": "skerry", "user": user, "namespace": namespace}}],
        "current-context": "skerry",
        "preferences": {},
    }
    import yaml

    return yaml.safe_dump(config, sort_keys=False).encode()


def _authority(pki: Pki) -> "tuple[x509.Certificate, ec.EllipticCurvePrivateKey]":
    """Return the CA: the one that is there, signed again if it could end, or a new one if there is none to use."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = _loaded_key(pki)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        _keep_damaged(pki)
        files.replace(pki.ca_key, _pem_key(key))
    present = _loaded_authority(pki, key)
    if present is not None and present.not_valid_after_utc >= _FAR and present.not_valid_before_utc <= _BEGIN:
        return present, key
    certificate = _sign_authority(key)
    files.replace(pki.ca_certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return certificate, key


def _sign_authority(key: "ec.EllipticCurvePrivateKey") -> "x509.Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = _name("skerry-ca")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(_BEGIN).not_valid_after(_NEVER)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())


def _loaded_key(pki: Pki) -> "ec.EllipticCurvePrivateKey | None":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        loaded = serialization.load_pem_private_key(pki.ca_key.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return loaded if isinstance(loaded, ec.EllipticCurvePrivateKey) else None


def _loaded_authority(pki: Pki, key: "ec.EllipticCurvePrivateKey") -> "x509.Certificate | None":
    """Return the CA's certificate if it can be read and is that of the key."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return certificate if certificate.public_key() == key.public_key() else None


def _keep_damaged(pki: Pki) -> None:
    for path in (pki.ca_key, pki.ca_certificate):
        if path.exists():
            path.replace(path.with_name(f"{path.name}.damaged"))


def _issue_server(
    pki: Pki,
    authority: "x509.Certificate",
    authority_key: "ec.EllipticCurvePrivateKey",
    names: Sequence[str],
    now: datetime,
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now, _FAR - timedelta(days=_SERVER_DAYS)) + timedelta(days=_SERVER_DAYS)
    builder = x509.CertificateBuilder().subject_name(_name("kube-apiserver")).issuer_name(authority.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_BEGIN).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = builder.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA256())
    facts = Facts(sorted(names), end - timedelta(days=_RENEW_DAYS), authority.not_valid_after_utc)
    # The facts go last: a crash before them means that all of this is done again.
    (pki.directory / "apiserver.json").unlink(missing_ok=True)
    files.replace(pki.server_key, _pem_key(key))
    files.replace(pki.server_certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    files.replace(pki.directory / "apiserver.json", msgspec.json.encode(facts))


def issue_client(pki: Pki, user: str, groups: Sequence[str], days: int, now: datetime) -> tuple[bytes, bytes]:
    """Return certificate and key, as PEM, of a user and his groups."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority, authority_key = _authority(pki)
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_BEGIN).not_valid_after(now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = builder.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), _pem_key(key)


def _alternatives(names: Sequence[str]) -> "list[x509.GeneralName]":
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, sign_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_key(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


if __name__ == "__main__":
    ensure(Pki(Path(sys.argv[1])), sys.argv[3:], datetime.fromisoformat(sys.argv[2]))
