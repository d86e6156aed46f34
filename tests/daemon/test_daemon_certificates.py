"""The local CA: kept for ever, server certificates renewed and re-issued, kubeconfigs that go on working."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509

from skerry.daemon.certificates import Pki, ensure, kubeconfig, needs_work

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ["127.0.0.1", "localhost"]


def test_made_once_and_then_left_alone(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    assert needs_work(pki, NAMES, NOW)
    ensure(pki, NAMES, NOW)
    assert not needs_work(pki, list(reversed(NAMES)), NOW)
    server = x509.load_pem_x509_certificate(pki.server_certificate.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert (pki.server_key.stat().st_mode & 0o777, pki.ca_key.stat().st_mode & 0o777) == (0o600, 0o600)
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes()))


def test_renewal_keeps_the_authority_and_the_token(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    ensure(pki, NAMES, NOW)
    before = kubeconfig(pki, "https://127.0.0.1:6443")
    serial = x509.load_pem_x509_certificate(pki.server_certificate.read_bytes()).serial_number
    later = NOW + timedelta(days=340)
    assert needs_work(pki, NAMES, later)
    ensure(pki, NAMES, later)
    assert x509.load_pem_x509_certificate(pki.server_certificate.read_bytes()).serial_number != serial
    assert kubeconfig(pki, "https://127.0.0.1:6443") == before


def test_another_name_or_a_lost_file_means_work(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    ensure(pki, NAMES, NOW)
    assert needs_work(pki, [*NAMES, "box.example.com"], NOW)
    pki.server_key.unlink()
    assert needs_work(pki, NAMES, NOW)


def test_the_kubeconfig_is_complete(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    ensure(pki, NAMES, NOW)
    config = yaml.safe_load(kubeconfig(pki, "https://127.0.0.1:6443"))
    assert config["current-context"] == "skerry"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert config["users"][0]["user"]["token"] == pki.admin_token.read_text()
