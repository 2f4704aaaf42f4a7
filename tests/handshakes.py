"""What a server sends in its handshake, read message by message by OpenSSL's own state machine."""

from __future__ import annotations

import socket
from typing import Literal

from OpenSSL import SSL

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
ASKED = b"SSLv3/TLS read server certificate request"
"""OpenSSL's name of the state after CertificateRequest, in every version (RFC 5246 7.4.4, 8446
4.3.2)."""
Clear = Literal["", "smtp", "imap", "sieve"]
"""The protocol before STARTTLS; "": TLS from the first octet."""
_WITHIN_S = 20
_STARTTLS = {
    "smtp": ((b"220 ", b"EHLO x.test\r\n"), (b"250 ", b"STARTTLS\r\n"), (b"220 ", b"")),
    "imap": ((b"* OK", b"a STARTTLS\r\n"), (b"a OK", b"")),
    "sieve": ((b"OK ", b"STARTTLS\r\n"), (b"OK ", b"")),
}


def messages(port: int, clear: Clear, version: str) -> list[bytes]:
    """The states a client without certificate passes until the handshake is done. Blocks."""
    seen: list[bytes] = []
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.set_info_callback(lambda wire, where, _: seen.append(wire.get_state_string()))
    with socket.create_connection(("127.0.0.1", port), timeout=_WITHIN_S) as raw:
        if clear:
            _said(raw, clear)
        wire = SSL.Connection(context, None)
        wire.set_connect_state()
        while not _is_done(wire):
            if octets := _pending(wire):
                raw.sendall(octets)
            else:
                wire.bio_write(raw.recv(65_536) or b"\0")
        raw.sendall(_pending(wire) or b"")
        assert wire.get_protocol_version_name() == f"TLSv{version}"
    return seen


def asks(port: int, clear: Clear, version: str) -> bool:
    """Whether the server sends a CertificateRequest."""
    seen = messages(port, clear, version)
    assert b"SSLv3/TLS read finished" in seen or b"SSL negotiation finished successfully" in seen
    return ASKED in seen


def _said(raw: socket.socket, clear: Clear) -> None:
    """The conversation up to the answer to STARTTLS."""
    for wanted, answer in _STARTTLS[clear]:
        line = b""
        while not line.startswith(wanted):
            line = b""
            while not line.endswith(b"\n"):
                octet = raw.recv(1)
                assert octet, (wanted, line)
                line += octet
        raw.sendall(answer)


def _is_done(wire: SSL.Connection) -> bool:
    try:
        wire.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _pending(wire: SSL.Connection) -> bytes:
    try:
        return wire.bio_read(65_536)
    except SSL.WantReadError:
        return b""
