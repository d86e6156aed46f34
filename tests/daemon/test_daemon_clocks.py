"""Certificates and a clock that is wrong: a real kubectl against a server that is never restarted."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.e2e.running import kubectls

from skerry.daemon.certificate_renewal import Certificates
from skerry.daemon.certificates import Pki, ensure, kubeconfig, needs_work
from skerry.daemon.config import ApiServer
from skerry.daemon.https import HttpsServer, bind
from skerry.kit.clock import SystemClock

NAMES = ["127.0.0.1", "kubernetes.default.svc", "localhost"]
EPOCH = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
LATE = datetime(2038, 1, 20, tzinfo=UTC)


class SetClock(SystemClock):
    """A wall clock that the test sets; sleeping takes no time."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(pki: Pki) -> AsyncIterator[HttpsServer]:
    listening = bind("127.0.0.1", 0, "port")
    server = HttpsServer(answer, listening, pki.server_certificate, pki.server_key, pki.ca_certificate)
    task = asyncio.ensure_future(server.run())
    await server.started()
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kubectl(config: Path, binary: str) -> str:
    """Return what kubectl says: "ok", or its error."""
    done = await asyncio.to_thread(
        subprocess.run,
        [binary, "--kubeconfig", str(config), "get", "--raw", "/healthz", "--request-timeout=10s"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip() or done.stderr


def written(path: Path, pki: Pki, server: HttpsServer) -> Path:
    path.write_bytes(kubeconfig(pki, f"https://127.0.0.1:{server.port}"))
    return path


@pytest.mark.parametrize("binary", kubectls())
async def test_a_box_that_learns_the_time_later(tmp_path: Path, binary: str) -> None:
    """Made in 1970, it is 2026 a minute later: renewed and served without a restart, and kubeconfigs go on."""
    clock = SetClock(EPOCH)
    certificates = Certificates(ApiServer(), tmp_path / "pki", clock)
    pki = await certificates.ensure()
    async with served(pki) as server:
        config = written(tmp_path / "config", pki, server)
        assert "expired" in await kubectl(config, binary)
        clock.moment = datetime.now(UTC)
        renewed = asyncio.Event()
        keeping = asyncio.ensure_future(certificates.keep(server, renewed.set))
        async with asyncio.timeout(30):
            await renewed.wait()
        assert await kubectl(config, binary) == "ok"
        keeping.cancel()
        assert not needs_work(pki, NAMES, clock.moment)


async def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    ensure(pki, NAMES, LATE)
    async with served(pki) as server:
        config = written(tmp_path / "config", pki, server)
        for binary in kubectls():
            assert await kubectl(config, binary) == "ok"


@pytest.mark.parametrize("moment", [EPOCH, datetime(1980, 1, 1, tzinfo=UTC), LATE, datetime(9990, 6, 1, tzinfo=UTC)])
def test_what_is_made_is_valid_when_it_is_made(tmp_path: Path, moment: datetime) -> None:
    pki = Pki(tmp_path / "pki")
    ensure(pki, NAMES, moment)
    for path in (pki.ca_certificate, pki.server_certificate):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        assert certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc
    authority = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes())
    assert authority.not_valid_after_utc.year == 9999


def old_authority(pki: Pki, begin: datetime) -> None:
    """Write a CA as Skerry made it before: twenty years from the day on which it was made."""
    pki.directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skerry-ca")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(begin).not_valid_after(begin + timedelta(days=7300))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
    pki.ca_certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pki.ca_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pki.admin_token.write_text("token")


@pytest.mark.parametrize(("begin", "pinned"), [(datetime(1970, 1, 1, tzinfo=UTC), "x509: certificate"), (None, "ok")])
async def test_an_authority_that_ends_is_signed_again(tmp_path: Path, begin: datetime | None, pinned: str) -> None:
    """Kubeconfigs that pin the old certificate work until it ends, those of now for ever; the key is the same."""
    pki, now = Pki(tmp_path / "pki"), datetime.now(UTC)
    old_authority(pki, begin or now - timedelta(days=1))
    before = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes())
    old = kubeconfig(pki, "https://127.0.0.1:PORT")
    ensure(pki, NAMES, now)
    after = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes())
    assert (after.public_key(), after.subject) == (before.public_key(), before.subject)
    assert after.not_valid_after_utc.year == 9999
    async with served(pki) as server:
        (tmp_path / "old").write_bytes(old.replace(b"PORT", str(server.port).encode()))
        new = written(tmp_path / "new", pki, server)
        for binary in kubectls():
            assert pinned in await kubectl(tmp_path / "old", binary)
            assert await kubectl(new, binary) == "ok"


async def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    certificates = Certificates(ApiServer(), tmp_path / "pki", SystemClock())
    pki = await certificates.ensure()
    for name in ("ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver.json", "admin.token"):
        for content in (b"", bytes(500)):
            (pki.directory / name).write_bytes(content)
            await certificates.ensure()
            server = x509.load_pem_x509_certificate(pki.server_certificate.read_bytes())
            server.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes()))
            # An empty token would let everybody in.
            assert len(pki.admin_token.read_bytes().strip(b"\x00 \n")) > 20
    async with served(pki) as running:
        assert await kubectl(written(tmp_path / "config", pki, running), kubectls()[0]) == "ok"
