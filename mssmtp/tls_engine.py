"""One TLS session over octets: ciphertext in, clear octets out, nothing waits.

`tls_settings` makes the contexts that make `Engine`s; `tls` puts them under an asyncio transport.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from mssmtp import pki

_LIB, _FFI = Binding.lib, Binding.ffi

Buffer = bytes | bytearray | memoryview
_HEADER_OCTETS = 5
_EXPORTER, _EXPORTED_OCTETS = b"EXPORTER-Channel-Binding", 32


class TlsFailure(Exception):
    """The TLS session cannot go on; the text is OpenSSL's reason, without peer octets."""


class Bindings(Mapping[str, bytes]):
    """What binds a login to one session, by registered name; computed for who looks at it, as most
    logins are bound to nothing."""

    def __init__(self, look: Callable[[], dict[str, bytes]], *, is_certain: bool) -> None:
        """`is_certain`: there is some, without a look."""
        self._look, self._is_certain = look, is_certain
        self._found: dict[str, bytes] | None = None

    @property
    def _all(self) -> dict[str, bytes]:
        if self._found is None:
            self._found = self._look()
        return self._found

    def __getitem__(self, name: str) -> bytes:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __bool__(self) -> bool:
        return self._is_certain or bool(self._all)


class Engine:
    """One side of one TLS session over octets: nothing here waits.

    Records go through OpenSSL's own calls: pyOpenSSL's wrappers allocate and copy a buffer each
    time, and tell that there is nothing yet by an exception, twice for each thing a peer says.
    """

    def __init__(self, connection: SSL.Connection, scratch: bytearray) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._received, self._to_send = connection._into_ssl, connection._from_ssl
        self._scratch = _FFI.from_buffer(scratch)
        # Known without asking: each call into OpenSSL lets go of the interpreter.
        self._is_empty = False
        self._is_one_record = False
        self._may_be_pending = False
        self._may_have_said = True

    def feed(self, octets: Buffer) -> None:
        """Take ciphertext; all of it is copied at once. Raises TlsFailure."""
        # RFC 8446 5.1: the length of a record is in the octets 3 and 4 of its header.
        self._is_one_record = (
            self._is_empty
            and not self._may_be_pending
            and len(octets) > _HEADER_OCTETS
            and len(octets) == _HEADER_OCTETS + (octets[3] << 8 | octets[4])
        )
        self._is_empty = self._is_empty and not octets
        if octets and _LIB.BIO_write(self._received, _FFI.from_buffer(octets), len(octets)) <= 0:
            raise TlsFailure("no memory")

    @property
    def is_hungry(self) -> bool:
        """No ciphertext is left to be decrypted."""
        self._is_empty = self._is_empty or not _LIB.BIO_get_mem_data(self._received, _FFI.NULL)
        return self._is_empty

    def handshake(self) -> bool:
        """Go on with the handshake. True: done; False: more ciphertext is needed.

        Raises TlsFailure; `take()` then holds the alert for the peer.
        """
        self._may_have_said = True
        result = _LIB.SSL_do_handshake(self._ssl)
        if result == 1:
            return True
        if _LIB.SSL_get_error(self._ssl, result) == _LIB.SSL_ERROR_WANT_READ:
            return False
        raise self._failure(result)

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt at most one record into `buffer`; its octets, or 0: feed more first.

        Raises EOFError when the peer has closed the session, TlsFailure.
        """
        octets: int = _LIB.SSL_read(self._ssl, _FFI.from_buffer(buffer), len(buffer))
        # SSL_read gives of one record at most: what fills the buffer may not be all of it.
        self._may_be_pending = octets == len(buffer)
        if octets > 0 and self._is_one_record:  # nothing else was in it, nor was it answered
            self._is_empty, self._is_one_record = True, False
            return octets
        self._may_have_said = True
        if octets > 0:
            return octets
        error = _LIB.SSL_get_error(self._ssl, octets)
        if error == _LIB.SSL_ERROR_WANT_READ:
            return 0
        if error == _LIB.SSL_ERROR_ZERO_RETURN:
            raise EOFError
        raise self._failure(octets)

    def write(self, octets: Buffer) -> None:
        """Encrypt all of `octets`. Raises TlsFailure."""
        self._may_have_said = True
        view = memoryview(octets)
        while view:  # pyOpenSSL has OpenSSL take one record at a time
            result = _LIB.SSL_write(self._ssl, _FFI.from_buffer(view), len(view))
            if result <= 0:
                raise self._failure(result)
            view = view[result:]

    def _failure(self, result: int) -> TlsFailure:
        """What the last call met."""
        try:
            self._connection._raise_ssl_error(self._ssl, result)
        except SSL.Error as error:
            return TlsFailure(reason_of(error))
        return TlsFailure("TLS error")

    def take(self) -> bytes:
        """The ciphertext to send now."""
        if not self._may_have_said:
            return b""
        self._may_have_said = False
        pieces = []
        while True:
            octets = _LIB.BIO_read(self._to_send, self._scratch, len(self._scratch))
            if octets > 0:
                pieces.append(_FFI.buffer(self._scratch, octets)[:])
            if octets < len(self._scratch):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Say close_notify (RFC 8446 6.1): without it some peers report a truncation."""
        self._may_have_said = True
        try:
            self._connection.shutdown()
        except SSL.Error:
            return  # a session that has failed already said its alert

    def free(self) -> None:
        """Give OpenSSL's memory back now; nothing may be called afterwards."""
        del self._connection, self._ssl, self._received, self._to_send

    def describe(self) -> dict[str, object]:
        """What `TlsTransport.get_extra_info` tells.

        Raises TlsFailure when a certificate of the peer cannot be read.
        """
        return {
            "peer_chain": self._peer_chain(),
            "tls_version": self._connection.get_protocol_version_name(),
            "tls_cipher": self._connection.get_cipher_name(),
            "sni": server_name(self._connection.get_servername()),
            "stapled": _stapled(self._connection),
        }

    @property
    def is_1_3(self) -> bool:
        """The session speaks TLS 1.3."""
        return bool(self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION)

    def bindings(self) -> dict[str, bytes]:
        """What binds a login to this session, by its registered name; of the server's side.

        `tls-exporter` (RFC 9266 2) in TLS 1.2 needs the extended master secret: without it
        somebody in the middle can make two sessions alike (RFC 7627). `tls-server-end-point`
        (RFC 5929 4.1) is the digest of our certificate.
        """
        found = {}
        if self.is_1_3 or _LIB.SSL_get_extms_support(self._ssl) == 1:
            exported = self._connection.export_keying_material(_EXPORTER, _EXPORTED_OCTETS, b"")
            found["tls-exporter"] = exported
        ours = self._connection.get_certificate(as_cryptography=True)
        if ours is not None and (digest := _end_point(ours)) is not None:
            found["tls-server-end-point"] = digest
        return found

    def _peer_chain(self) -> tuple[x509.Certificate, ...]:
        try:
            leaf = self._connection.get_peer_certificate(as_cryptography=True)
            if leaf is None:
                return ()
            sent = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        except pki.UNREADABLE as error:
            raise TlsFailure("unreadable certificate") from error
        return (leaf, *(each for each in sent if each != leaf))


def _end_point(certificate: x509.Certificate) -> bytes | None:
    """RFC 5929 4.1: digested as it is signed; None: the signature has no digest of its own."""
    kind = certificate.signature_hash_algorithm
    if kind is None:
        return None
    return certificate.fingerprint(hashes.SHA256() if kind.name in ("md5", "sha1") else kind)


def server_name(octets: bytes | None) -> str | None:
    """A server name as text; one that is not ASCII names nobody (RFC 6066 3)."""
    return octets.decode("ascii") if octets and octets.isascii() else None


def _stapled(connection: SSL.Connection) -> bytes:
    """The OCSP answer that came with the handshake; empty without one, and on a server."""
    found = connection.get_app_data()
    return found if isinstance(found, bytes) else b""


def reason_of(error: SSL.Error) -> str:
    """OpenSSL's reason in words, for logs; never peer octets."""
    if isinstance(error, SSL.SysCallError):
        return "connection broken off"
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][-1]) or "TLS error"
    return "TLS error"
