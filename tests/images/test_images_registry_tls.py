"""Registries over HTTPS: whom is trusted, and what is said when nobody is.

`0.0.0.0` reaches this machine and is not one of its names, so it is spoken to as any other host is.
"""

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.images.handmade import HurriedClock, model_image
from tests.images.stub_registry import Fault, StubRegistry, serving

from skerry.images.errors import AccessDenied, RegistryRefused, RegistryUnreachable
from skerry.images.manifest import Platform
from skerry.images.reference import Reference, parse
from skerry.images.registry import Access, Registry
from skerry.images.session import Limits
from skerry.images.store import ImageStore

HOST = "0.0.0.0"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate that is its own authority; the key is beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    encoding = serialization.Encoding.PEM
    (directory / "ca.crt").write_bytes(made.public_bytes(encoding))
    (directory / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "ca.crt"


@pytest.fixture
def stub(certificate: Path) -> Iterator[StubRegistry]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with serving(StubRegistry(), context, HOST) as registry:
        registry.add(model_image(), "ai/bee", "v1")
        yield registry


def trusting(tmp_path: Path, certificate: Path, host: str) -> Registry:
    directory = tmp_path / "certs.d" / host
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes(certificate.read_bytes())
    return registry(tmp_path / "certs.d")


def registry(certificates: Path, insecure_hosts: frozenset[str] = frozenset()) -> Registry:
    limits = Limits(connect_seconds=2, idle_seconds=2, total_seconds=20)
    return Registry(Access(limits, (), insecure_hosts, [certificates]), HurriedClock())


def name(stub: StubRegistry) -> Reference:
    return parse(f"{stub.address}/ai/bee:v1")


async def test_a_registry_with_its_own_authority(
    stub: StubRegistry, store: ImageStore, tmp_path: Path, certificate: Path
) -> None:
    client = trusting(tmp_path, certificate, stub.address)
    pulled = await client.pull(name(stub), store, Platform("amd64", "linux"), lambda *_: None)
    assert await client.push(pulled, name(stub), store, lambda *_: None) == pulled.descriptor.digest


async def test_nobody_else_is_trusted(stub: StubRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable, match=r"CA certificate into /etc/containers/certs\.d"):
        await registry(tmp_path / "empty").digest(name(stub))
    assert stub.requests == []


async def test_plain_http_is_named_and_must_be_allowed(store: ImageStore, tmp_path: Path) -> None:
    with serving(StubRegistry(), host=HOST) as stub:
        stub.add(model_image(), "ai/bee", "v1")
        with pytest.raises(RegistryUnreachable, match="it seems to speak plain HTTP"):
            await registry(tmp_path).digest(name(stub))
        client = registry(tmp_path, insecure_hosts=frozenset({stub.address}))
        await client.pull(name(stub), store, Platform("amd64", "linux"), lambda *_: None)


async def test_from_https_there_is_no_way_down(stub: StubRegistry, tmp_path: Path, certificate: Path) -> None:
    client = trusting(tmp_path, certificate, stub.address)
    with serving(StubRegistry()) as plain:
        stub.faults["manifests/v1"] = Fault(
            status=302, headers={"Location": f"http://{plain.address}/v2/ai/bee/manifests/v1"}
        )
        with pytest.raises(RegistryRefused, match="redirects to http://, which is not safe"):
            await client.digest(name(stub))
        stub.auth, stub.realm = "bearer", f"http://{plain.address}/token"
        with pytest.raises(AccessDenied, match="which is not safe"):
            await client.digest(name(stub))
        assert plain.requests == []


async def test_from_plain_http_the_way_up_is_checked(
    stub: StubRegistry, store: ImageStore, tmp_path: Path, certificate: Path
) -> None:
    with serving(StubRegistry()) as plain:
        plain.faults["manifests/v1"] = Fault(
            status=302, headers={"Location": f"https://{stub.address}/v2/ai/bee/manifests/v1"}, times=99
        )
        with pytest.raises(RegistryUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await registry(tmp_path).digest(name(plain))
        client = trusting(tmp_path, certificate, plain.address)
        assert await client.digest(name(plain)) == model_image().digest
