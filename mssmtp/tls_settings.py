"""TLS contexts: one floor, one list of suites and groups for all (OP-04, OP-05).

Settings and files are checked here with an error that says what to do. A `ServerContext` makes
`Engine`s, which turn octets into octets; `tls` puts them under an asyncio transport.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.errors import ConfigError
from mssmtp.tls_engine import Engine, reason_of, server_name
from mssmtp.tls_refusal import Judge, refuse_in_handshake

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ALLOWED_SUITES = frozenset(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)
"""TLS 1.2 suites a configuration may choose from: ECDHE with AES-GCM or ChaCha20 (OP-05)."""

TLS13_SUITES = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
)
"""The suites of RFC 8446 B.4 without CCM; all have forward secrecy, so they are not a setting."""

ALLOWED_GROUPS = frozenset(
    {"X25519", "X448", "P-256", "P-384", "P-521", "X25519MLKEM768", "SecP256r1MLKEM768"}
)

FLOORS = {
    "1.2": (SSL.TLS1_2_VERSION, ssl.TLSVersion.TLSv1_2),
    "1.3": (SSL.TLS1_3_VERSION, ssl.TLSVersion.TLSv1_3),
}
DEMO_MARK = b"mssmtp demo key"
"""In the text before a key that `mssmtp demo` made (RFC 7468 5.2): never for real mail (OP-100)."""

RESUMED_WITHIN_S = 7_200
"""How long a ticket is good: mail programs come back all day, those of a device that was stolen
meet their password's end in any case."""
_CHAIN_OCTETS = 1_048_576
_LIB = Binding.lib


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class OwnCertificate:
    """A certificate of ours with its issuers, and its key, checked to belong together.

    `is_demo`: the key was made by `mssmtp demo` and says so (OP-100). `resuming`: by settings, the
    contexts whose sessions are taken up again. OpenSSL draws the key of its tickets with a context:
    those made before the fork let every worker know the tickets of the others.
    """

    files: CertificateSettings
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    is_demo: bool = False
    resuming: dict[str, SSL.Context] = field(default_factory=dict, repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return self.chain[0]

    @property
    def pem(self) -> bytes:
        """Key and chain in one text."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(each.public_bytes(Encoding.PEM) for each in self.chain)


class Presenter(Protocol):
    """Which certificate a door presents; asked for every session."""

    def present(self, server_name: str | None) -> OwnCertificate:
        """For the name the peer asked for (RFC 6066 3); None: it has not asked, or not yet."""
        ...


class OneCertificate:
    """Presents the same one always. Raises ConfigError when it cannot be loaded."""

    def __init__(self, files: CertificateSettings) -> None:
        self._own = load_certificate(files)

    def present(self, server_name: str | None) -> OwnCertificate:
        """The one there is."""
        return self._own


def check_settings(settings: TlsSettings) -> None:
    """Refuse a floor, suite or group outside the allow-list (OP-04, OP-05). Raises ConfigError."""
    if settings.min_version not in FLOORS:
        raise ConfigError(
            "tls.min_version",
            f"{settings.min_version} is below the floor of the trust space",
            "Write 1.2 or 1.3; older versions cannot be switched on (OP-04).",
        )
    _check_list("tls.ciphers", settings.ciphers, ALLOWED_SUITES)
    _check_list("tls.groups", settings.groups, ALLOWED_GROUPS)


def _check_list(setting: str, chosen: tuple[str, ...], allowed: frozenset[str]) -> None:
    known = ", ".join(sorted(allowed))
    if not chosen:
        raise ConfigError(setting, "is empty", f"Name at least one of: {known}.")
    for name in chosen:
        if name not in allowed:
            # An OpenSSL expression such as `ALL` or `@SECLEVEL=0` ends here too.
            raise ConfigError(
                setting, f"« {name} » is not allowed (OP-05)", f"Choose from: {known}."
            )


def load_certificate(files: CertificateSettings) -> OwnCertificate:
    """The certificate and key of `files`. Raises ConfigError naming the file and the cure."""
    chain = load_chain(files.certificate_file)
    key, is_demo = _load_key(files.key_file)
    if _spki(chain[0].public_key()) != _spki(key.public_key()):
        raise ConfigError(
            str(files.key_file),
            f"is not the key of the first certificate in {files.certificate_file}",
            "Put the own certificate first in the file, then its issuers, or name its own key.",
        )
    return OwnCertificate(files, chain, key, is_demo)


def load_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, at least one. Raises ConfigError."""
    octets = _read(path, "PEM file with the own certificate, then its issuers")
    try:
        return tuple(x509.load_pem_x509_certificates(octets))
    except ValueError as error:
        raise ConfigError(
            str(path), "holds no PEM certificate", "Export the certificate as PEM, chain included."
        ) from error


def _load_key(path: Path) -> tuple[PrivateKey, bool]:
    """The key, and whether it is one of the demo's."""
    octets = _read(path, "PEM private key")
    _check_access(path)
    try:
        key = _key_of(octets)
    except TypeError as error:
        raise ConfigError(
            str(path), "the key is encrypted", "Store it decrypted, mode 0600, owned by us."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            str(path), "holds no PEM private key", "Name the PEM key of the certificate."
        ) from error
    if not isinstance(key, PrivateKey):
        raise ConfigError(
            str(path), "is neither an RSA nor an EC key", "Use RSA 2048 or larger, or P-256."
        )
    return key, DEMO_MARK in octets


def _check_access(path: Path) -> None:
    """A key is its owner's alone, and the owner is who runs this, or root."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            str(path),
            f"the key can be read by others (mode {mode:04o})",
            f"Run: chmod 600 {path}",
        )
    us = os.geteuid()
    if us and status.st_uid not in (us, 0):
        raise ConfigError(
            str(path),
            f"the key belongs to another user (number {status.st_uid}), who can change it",
            f"Run as root: chown {us} {path}",
        )


@lru_cache(maxsize=8)
def _key_of(octets: bytes) -> PrivateKeyTypes:
    """The key of a PEM file. Its proof of primes takes 40 ms, and every door asks for it."""
    return load_pem_private_key(octets, password=None)


def _read(path: Path, wanted: str) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(_CHAIN_OCTETS + 1)
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", f"Put there the {wanted}."
        ) from error
    if len(octets) > _CHAIN_OCTETS:
        raise ConfigError(str(path), "is larger than 1 MiB", f"Put there the {wanted}.")
    return octets


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class ServerContext:
    """What every connection of one kind of door shares; made by `server_context`.

    Use from one thread only: connections share its three scratch buffers.
    """

    BUFFER_OCTETS = 65_536
    OUTGOING_OCTETS = 69_632

    def __init__(
        self,
        settings: TlsSettings,
        presenter: Presenter,
        *,
        ask_certificate: bool,
        judge: Judge | None = None,
        resumes: bool = False,
    ) -> None:
        check_settings(settings)
        if resumes and ask_certificate:
            # A ticket carries the client's certificate past a newer list or CRL.
            raise ValueError("who is asked for a certificate shows it with every connection")
        self.settings = settings
        self._presenter = presenter
        self._ask_certificate = ask_certificate
        self._judge = judge
        self._resumes = resumes
        self._written = settings.model_dump_json()
        self._contexts: WeakKeyDictionary[OwnCertificate, SSL.Context] = WeakKeyDictionary()
        self.incoming = bytearray(self.BUFFER_OCTETS)
        self.clear = bytearray(self.BUFFER_OCTETS)
        self._outgoing = bytearray(self.OUTGOING_OCTETS)
        self._context_of(presenter.present(None))  # what cannot be used is said at the start

    def engine(self) -> Engine:
        """The server side of one new session, with the certificate that is in use now."""
        context = self._context_of(self._presenter.present(None))
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        return Engine(connection, self._outgoing)

    def _context_of(self, own: OwnCertificate) -> SSL.Context:
        if self._resumes:
            return own.resuming.get(self._written) or self._resuming(own)
        known = self._contexts.get(own)
        if known is None:
            known = self._contexts[own] = self._build(own)
        return known

    def _resuming(self, own: OwnCertificate) -> SSL.Context:
        context = own.resuming[self._written] = self._build(own)
        context.set_timeout(RESUMED_WITHIN_S)
        return context

    def _choose(self, connection: SSL.Connection) -> None:
        """GEN-18, OP-20: of several certificates the one that fits the name asked for.

        A name that none fits is acknowledged all the same (RFC 6066 3): peers are no browsers.
        OpenSSL calls this whether a name was asked for or not.
        """
        # Said of the context, TLS 1.3 still makes and sends two that nobody can use; said here,
        # none is made. In TLS 1.2 one key would open every session that was ever resumed.
        if not self._resumes or connection.get_protocol_version() < SSL.TLS1_3_VERSION:
            connection.set_options(SSL.OP_NO_TICKET)
        own = self._presenter.present(server_name(connection.get_servername()))
        chosen, first = self._context_of(own), connection.get_context()
        if chosen is not first:
            connection.set_app_data(first)  # OpenSSL goes on calling what `first` owns
            connection.set_context(chosen)

    def _build(self, own: OwnCertificate) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        _harden(context, self.settings)
        _use(context, own)
        if self._judge is not None:
            refuse_in_handshake(context, self._judge)
        elif self._ask_certificate:
            context.set_verify(SSL.VERIFY_PEER, _record)
        context.set_tlsext_servername_callback(self._choose)
        return context


def _use(context: SSL.Context, own: OwnCertificate) -> None:
    try:
        context.use_certificate(own.chain[0])
        for issuer in own.chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(own.key)
        context.check_privatekey()
    except SSL.Error as error:
        raise unusable(own.files, reason_of(error)) from error


def _record(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """Let every certificate through: `trust` judges it after the handshake.

    A certificate refused here would end in a bare TLS alert; the peer must read an SMTP reply
    with the reason.
    """
    return True


def _harden(context: SSL.Context, settings: TlsSettings) -> None:
    context.set_min_proto_version(FLOORS[settings.min_version][0])
    context.set_options(
        SSL.OP_NO_RENEGOTIATION  # ATT-40
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"mssmtp")
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection gives 34 KB back
    context.set_cipher_list(":".join(settings.ciphers).encode("ascii"))
    context.set_tls13_ciphersuites(":".join(TLS13_SUITES).encode("ascii"))
    _set_groups(context, settings.groups)


def _set_groups(context: SSL.Context, groups: tuple[str, ...]) -> None:
    """Key exchange groups in order of preference.

    pyOpenSSL's public `set_tmp_ecdh` takes a single curve; its binding has the list call.
    """
    names = ":".join(groups).encode("ascii")
    if _LIB.SSL_CTX_set1_curves_list(context._context, names) != 1:
        _LIB.ERR_clear_error()
        raise ConfigError(
            "tls.groups", "this OpenSSL does not know one of them", "Keep X25519, P-256, P-384."
        )


def unusable(files: CertificateSettings, reason: str) -> ConfigError:
    """Files that were checked here and that OpenSSL does not take all the same."""
    return ConfigError(
        str(files.certificate_file),
        f"OpenSSL refuses it ({reason})",
        "Use an RSA key of at least 2048 bits or P-256, signed with SHA-256.",
    )


def server_context(
    settings: TlsSettings,
    certificate: CertificateSettings | Presenter,
    *,
    ask_certificate: bool,
    judge: Judge | None = None,
    resumes: bool = False,
) -> ServerContext:
    """The server side of a door. `ask_certificate`: peers are asked, none is refused here, unless
    there is a `judge` (tls.refuse_in_handshake). `resumes`: mail programs take up their sessions of
    TLS 1.3 again, each with a key exchange of its own and without early data (RFC 8446 2.2).

    Raises ConfigError on files, key modes, suites and groups.
    """
    if isinstance(certificate, CertificateSettings):
        certificate = OneCertificate(certificate)
    return ServerContext(
        settings, certificate, ask_certificate=ask_certificate, judge=judge, resumes=resumes
    )


class ClientContext:
    """Our client side when the peer's OCSP answer is wanted (RFC 6066 8, `pki.ocsp`).

    Python's own ssl has no way to ask for one. As with `client_context` nothing is verified here:
    the caller judges `peer_chain`. Use from one thread only.
    """

    def __init__(self, settings: TlsSettings, own: OwnCertificate) -> None:
        """Raises ConfigError."""
        check_settings(settings)
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        _harden(self._context, settings)
        self._context.set_options(SSL.OP_NO_TICKET)
        _use(self._context, own)
        self._context.set_verify(SSL.VERIFY_NONE)
        self._context.set_ocsp_client_callback(_keep_answer)
        self.incoming = bytearray(ServerContext.BUFFER_OCTETS)
        self.clear = bytearray(ServerContext.BUFFER_OCTETS)
        self._outgoing = bytearray(ServerContext.OUTGOING_OCTETS)

    def engine(self, host: str) -> Engine:
        """The client side of one new session with `host`."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        connection.set_tlsext_host_name(host.encode("ascii"))
        connection.request_ocsp()
        return Engine(connection, self._outgoing)


def _keep_answer(connection: SSL.Connection, answer: bytes, _: object) -> bool:
    """Kept for `describe`; whoever judges the certificate judges the answer too."""
    connection.set_app_data(answer)
    return True
