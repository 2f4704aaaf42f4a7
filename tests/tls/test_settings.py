"""What a configuration may not say, and which files are refused."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from pydantic import ValidationError

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import Identity
from mssmtp.errors import ConfigError
from mssmtp.tls import client_context, server_context
from mssmtp.tls_engine import TlsFailure


def contexts(settings: TlsSettings, files: CertificateSettings) -> None:
    """Both sides; each must refuse alike."""
    with pytest.raises(ConfigError) as server:
        server_context(settings, files, ask_certificate=True)
    with pytest.raises(ConfigError) as client:
        client_context(settings, files)
    assert str(server.value) == str(client.value)
    raise server.value


@pytest.mark.requirement("OP-05")
@pytest.mark.parametrize(
    "suite",
    [
        "AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-CCM",
        "AECDH-AES128-SHA",
        "ECDHE-RSA-NULL-SHA",
        "PSK-AES128-GCM-SHA256",
        "ALL",
        "@SECLEVEL=0",
        "ECDHE-RSA-AES128-GCM-SHA256:NULL",
        "",
    ],
)
def test_a_suite_outside_the_list_is_refused(
    settings: TlsSettings, files: CertificateSettings, suite: str
) -> None:
    chosen = settings.model_copy(update={"ciphers": (*settings.ciphers, suite)})
    with pytest.raises(ConfigError, match=r"tls.ciphers: .* is not allowed \(OP-05\)"):
        contexts(chosen, files)


@pytest.mark.requirement("OP-05")
@pytest.mark.parametrize("group", ["ffdhe2048", "P-192", "secp160r1", "DEFAULT", ""])
def test_a_group_outside_the_list_is_refused(
    settings: TlsSettings, files: CertificateSettings, group: str
) -> None:
    with pytest.raises(ConfigError, match="tls.groups"):
        contexts(settings.model_copy(update={"groups": (group,)}), files)


@pytest.mark.parametrize("setting", ["ciphers", "groups"])
def test_an_empty_list_is_refused(
    settings: TlsSettings, files: CertificateSettings, setting: str
) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        contexts(settings.model_copy(update={setting: ()}), files)


@pytest.mark.requirement("OP-04")
@pytest.mark.parametrize("version", ["1.1", "1.0", "SSLv3", ""])
def test_the_floor_cannot_be_lowered(
    settings: TlsSettings, files: CertificateSettings, version: str
) -> None:
    with pytest.raises(ValidationError):
        TlsSettings.model_validate({**settings.model_dump(), "min_version": version})
    with pytest.raises(ConfigError, match="below the floor"):
        contexts(settings.model_copy(update={"min_version": version}), files)


def test_every_allowed_suite_and_group_is_known_to_both_libraries(
    settings: TlsSettings, files: CertificateSettings
) -> None:
    server_context(settings, files, ask_certificate=False)
    client = client_context(settings, files)
    offered = {suite["name"] for suite in client.get_ciphers()}
    assert set(settings.ciphers) <= offered
    assert all(name.startswith(("ECDHE-", "TLS_")) for name in offered)


def _meet(
    settings: TlsSettings, files: CertificateSettings, ours: str, theirs: tuple[str, ...]
) -> str | None:
    """The version that our client with one group agrees on with a door that has `theirs`.

    Raises ssl.SSLError when it does not agree.
    """
    limited = settings.model_copy(update={"groups": theirs})
    door = server_context(limited, files, ask_certificate=False).engine()
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context(settings.model_copy(update={"groups": (ours,)}), None)
    client = context.wrap_bio(heard, said)
    for _ in range(3):  # flights
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        door.feed(said.read())
        with suppress(TlsFailure):  # the client is told by an alert
            door.handshake()
        heard.write(door.take())
    return client.version()


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_a_single_group_is_spoken_by_the_client_too(
    settings: TlsSettings, files: CertificateSettings, group: str
) -> None:
    assert _meet(settings, files, group, (group,)) == "TLSv1.3"


@pytest.mark.parametrize("group", ["P-256", "P-384"])
def test_no_other_group_is_spoken_by_the_client(
    settings: TlsSettings, files: CertificateSettings, group: str
) -> None:
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE|handshake failure"):
        _meet(settings, files, group, ("X25519",))


# ---------------------------------------------------------------- files


def copy_of(files: CertificateSettings, directory: Path) -> CertificateSettings:
    certificate, key = directory / "own.pem", directory / "own.key"
    certificate.write_bytes(files.certificate_file.read_bytes())
    key.write_bytes(files.key_file.read_bytes())
    key.chmod(0o600)
    return CertificateSettings(certificate_file=certificate, key_file=key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_others_can_read_is_refused(
    settings: TlsSettings, files: CertificateSettings, tmp_path: Path, mode: int
) -> None:
    own = copy_of(files, tmp_path)
    own.key_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {own.key_file}"):
        contexts(settings, own)


@pytest.mark.parametrize("name", ["certificate_file", "key_file"])
def test_a_missing_file_is_named(
    settings: TlsSettings, files: CertificateSettings, tmp_path: Path, name: str
) -> None:
    missing = tmp_path / "nowhere.pem"
    with pytest.raises(ConfigError, match="cannot be read") as raised:
        contexts(settings, files.model_copy(update={name: missing}))
    assert raised.value.what == str(missing)


def test_a_key_of_another_certificate_is_refused(
    settings: TlsSettings, files: CertificateSettings, client_files: CertificateSettings
) -> None:
    mixed = files.model_copy(update={"key_file": client_files.key_file})
    with pytest.raises(ConfigError, match="is not the key of the first certificate"):
        contexts(settings, mixed)


def test_an_issuer_before_the_own_certificate_is_refused(
    settings: TlsSettings, files: CertificateSettings, identity: Identity, tmp_path: Path
) -> None:
    own = copy_of(files, tmp_path)
    turned = reversed(identity.chain)
    own.certificate_file.write_bytes(
        b"".join(each.public_bytes(serialization.Encoding.PEM) for each in turned)
    )
    with pytest.raises(ConfigError, match="Put the own certificate first"):
        contexts(settings, own)


def private_pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, secret: bytes | None = None
) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if secret is not None:
        encryption = serialization.BestAvailableEncryption(secret)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, encryption)


def test_an_unusable_key_is_explained(
    settings: TlsSettings, files: CertificateSettings, identity: Identity, tmp_path: Path
) -> None:
    own = copy_of(files, tmp_path)
    for octets, reason in (
        (private_pem(identity.key, b"secret"), "the key is encrypted"),
        (private_pem(ed25519.Ed25519PrivateKey.generate()), "is neither an RSA nor an EC key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no PEM private key"),
        (b"x" * 1_100_000, "larger than 1 MiB"),
    ):
        own.key_file.write_bytes(octets)
        with pytest.raises(ConfigError, match=reason):
            contexts(settings, own)


def test_a_file_without_certificate_is_explained(
    settings: TlsSettings, files: CertificateSettings, tmp_path: Path
) -> None:
    own = copy_of(files, tmp_path)
    own.certificate_file.write_bytes(b"hello")
    with pytest.raises(ConfigError, match="holds no PEM certificate"):
        contexts(settings, own)


def test_a_key_of_another_user_is_refused(
    settings: TlsSettings,
    files: CertificateSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who owns the file can change the key; root may do everything anyway."""
    own, us = copy_of(files, tmp_path), os.geteuid()
    if us == 0:
        os.chown(own.key_file, 4_711, -1)
        server_context(settings, own, ask_certificate=True)
    monkeypatch.setattr(os, "geteuid", lambda: us + 4_712)
    with pytest.raises(ConfigError, match="belongs to another user"):
        contexts(settings, own)


# ---------------------------------------------------------------- our client side


def test_our_client_trusts_no_store_of_the_system(settings: TlsSettings) -> None:
    assert client_context(settings, None).cert_store_stats()["x509_ca"] == 0


def test_anchors_given_are_the_only_ones_and_the_name_is_checked(
    settings: TlsSettings, anchors_file: Path
) -> None:
    context = client_context(settings, None, anchors_file)
    assert context.cert_store_stats()["x509_ca"] == 2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_without_anchors_the_caller_judges(settings: TlsSettings) -> None:
    context = client_context(settings, None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
