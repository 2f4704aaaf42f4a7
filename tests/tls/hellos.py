"""Hand-made TLS hellos: weak offers to our doors, weak choices to our clients (OP-04, OP-05).

Made octet by octet because today's libraries cannot speak most of them. Any suite may aim them:
`assert_refuses_weak_hellos(host, port, starttls)` at a door, `refuses_weak_answer(sock, answer,
identity)` at a client of ours that has just connected to the test.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mssmtp.demo.authority import Identity

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
X25519_GROUP, FFDHE2048_GROUP, SECP192R1_GROUP = 0x001D, 0x0100, 0x0013
_TIMEOUT_S = 10.0

ECDHE_RSA_AES128_GCM = 0xC02F
ECDHE_SUITES = (0xC02F, 0xC030, 0xCCA8, 0xC02B, 0xC02C, 0xCCA9)
TLS13_SUITES = (0x1301, 0x1302, 0x1303)

StartTls = Callable[[socket.socket], None]
"""Speaks the clear dialogue on a connected socket, up to and including the server's go-ahead."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A ClientHello. Without `versions` there is no supported_versions extension."""

    name: str
    version: int = TLS12
    suites: tuple[int, ...] = ECDHE_SUITES
    versions: tuple[int, ...] = ()
    groups: tuple[int, ...] = (X25519_GROUP, 0x0017, 0x0018)

    @property
    def octets(self) -> bytes:
        """One record."""
        body = struct.pack("!H", self.version) + b"\x11" * 32 + _vector(b"\x22" * 32, 1)
        body += _vector(b"".join(struct.pack("!H", suite) for suite in self.suites), 2)
        body += _vector(b"\x00", 1)
        if self.version != SSL3:
            body += _vector(self._extensions, 2)
        return record(HANDSHAKE, handshake(1, body), min(self.version, TLS10))

    @property
    def _extensions(self) -> bytes:
        groups = _vector(b"".join(struct.pack("!H", group) for group in self.groups), 2)
        schemes = _vector(bytes.fromhex("0804 0403 0805 0806 0401 0501 0201 0203"), 2)
        parts = _extension(10, groups) + _extension(11, b"\x01\x00") + _extension(13, schemes)
        parts += _extension(0, _vector(b"\x00" + _vector(b"localhost", 2), 2))
        if self.versions:
            offered = b"".join(struct.pack("!H", version) for version in self.versions)
            parts += _extension(43, _vector(offered, 1))
            share = b"\x09" * {X25519_GROUP: 32, FFDHE2048_GROUP: 256}.get(self.groups[0], 48)
            entry = struct.pack("!H", self.groups[0]) + _vector(share, 2)
            parts += _extension(51, _vector(entry, 2))
        return parts


GOOD_HELLOS = (
    Hello("TLS 1.2, ECDHE"),
    Hello("TLS 1.3", suites=TLS13_SUITES, versions=(TLS13,)),
)
"""Controls: a door that refuses these too would make the others prove nothing."""

_STATIC_RSA = (0x009C, 0x009D, 0x002F, 0x0035, 0x003C, 0x003D)
_CBC = (0xC013, 0xC014, 0xC027, 0xC028, 0xC009, 0xC00A, 0xC023, 0xC024, 0x0033, 0x0039)
_OLD = (*_CBC, *_STATIC_RSA, 0x000A, 0x0005)

WEAK_HELLOS = (
    Hello("SSL 3.0", SSL3, _OLD),
    Hello("TLS 1.0", TLS10, _OLD),
    Hello("TLS 1.1", TLS11, _OLD),
    Hello("TLS 1.0 by supported_versions", suites=_OLD + ECDHE_SUITES, versions=(TLS10,)),
    Hello("TLS 1.1 by supported_versions", suites=_OLD + ECDHE_SUITES, versions=(TLS11, TLS10)),
    Hello("TLS 1.1 with today's suites", TLS11, ECDHE_SUITES),
    Hello("static RSA", suites=_STATIC_RSA),
    Hello("CBC", suites=_CBC),
    Hello("DHE without curves", suites=(0x009E, 0x009F, 0xCCAA)),
    Hello("RC4", suites=(0x0004, 0x0005, 0xC007, 0xC011)),
    Hello("3DES", suites=(0x000A, 0x0016, 0xC008, 0xC012)),
    Hello("NULL", suites=(0x0001, 0x0002, 0x003B, 0xC006, 0xC010)),
    Hello("anonymous", suites=(0x0018, 0x001B, 0x0034, 0x006C, 0x00A6, 0xC015, 0xC018, 0xC019)),
    Hello("EXPORT", suites=(0x0003, 0x0006, 0x0008, 0x000B, 0x0014, 0x0017, 0x0019)),
    Hello("single DES", suites=(0x0009, 0x0015, 0x001A)),
    Hello("pre-shared key", suites=(0x008C, 0x00A8, 0xC035)),
    Hello("TLS 1.3 with integrity only", suites=(0xC0B4, 0xC0B5), versions=(TLS13,)),
    Hello("TLS 1.3 with CCM", suites=(0x1304, 0x1305), versions=(TLS13,)),
    Hello(
        "TLS 1.3 with finite fields only",
        suites=TLS13_SUITES,
        versions=(TLS13,),
        groups=(FFDHE2048_GROUP,),
    ),
    Hello("a 192-bit curve only", groups=(SECP192R1_GROUP,)),
)


def record(kind: int, payload: bytes, version: int = TLS12) -> bytes:
    """One TLS record (RFC 5246 6.2)."""
    return struct.pack("!BHH", kind, version, len(payload)) + payload


def handshake(kind: int, body: bytes) -> bytes:
    """One handshake message (RFC 5246 7.4)."""
    return bytes([kind]) + _vector(body, 3)


def _vector(octets: bytes, length_octets: int) -> bytes:
    return len(octets).to_bytes(length_octets, "big") + octets


def _extension(kind: int, octets: bytes) -> bytes:
    return struct.pack("!H", kind) + _vector(octets, 2)


# ---------------------------------------------------------------- a client against our doors


def answer_to(host: str, port: int, hello: bytes, starttls: StartTls | None) -> bytes:
    """What a door says to `hello` until it closes or has said its first handshake message."""
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as sock:
        if starttls is not None:
            starttls(sock)
        sock.sendall(hello)
        said = bytearray()
        try:
            while octets := sock.recv(65_536):
                said += octets
                if HANDSHAKE in kinds(said):
                    break
        except ConnectionResetError:
            pass  # as good as closed
        return bytes(said)


def kinds(octets: bytes | bytearray) -> list[int]:
    """Content types of the records in `octets`; the last may be incomplete."""
    found = []
    while octets:
        found.append(octets[0])
        if len(octets) < 5:
            break
        octets = octets[5 + int.from_bytes(octets[3:5], "big") :]
    return found


def accepted_hellos(
    host: str, port: int, starttls: StartTls | None, hellos: Sequence[Hello] = WEAK_HELLOS
) -> list[str]:
    """Names of the hellos that get anything but an alert or the end of the connection."""
    return [
        hello.name
        for hello in hellos
        if any(kind != ALERT for kind in kinds(answer_to(host, port, hello.octets, starttls)))
    ]


def assert_refuses_weak_hellos(host: str, port: int, starttls: StartTls | None = None) -> None:
    """Every weak hello ends in an alert or a close, with no other octet; good ones are answered.

    `starttls`: for doors that begin in clear. One connection per hello, on any thread but the
    server's.
    """
    good = accepted_hellos(host, port, starttls, GOOD_HELLOS)
    assert good == [hello.name for hello in GOOD_HELLOS], f"only {good} of the good hellos pass"
    assert accepted_hellos(host, port, starttls) == []


# ---------------------------------------------------------------- a server against our clients


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's first flight: the version and suite it chooses, and how keys are exchanged."""

    name: str
    version: int
    suite: int
    key_exchange: str = "rsa"
    """`rsa`: static; `ecdhe`: signed by the certificate; `anonymous`: no certificate at all."""


GOOD_ANSWER = Answer("TLS 1.2, ECDHE", TLS12, ECDHE_RSA_AES128_GCM, "ecdhe")

WEAK_ANSWERS = (
    Answer("SSL 3.0", SSL3, 0x002F),
    Answer("TLS 1.0", TLS10, 0x002F),
    Answer("TLS 1.1", TLS11, 0x002F),
    Answer("static RSA with GCM", TLS12, 0x009C),
    Answer("static RSA with CBC", TLS12, 0x002F),
    Answer("ECDHE with CBC", TLS12, 0xC013, "ecdhe"),
    Answer("ECDHE with CBC and SHA-256", TLS12, 0xC027, "ecdhe"),
    Answer("RC4", TLS12, 0x0005),
    Answer("ECDHE with RC4", TLS12, 0xC011, "ecdhe"),
    Answer("3DES", TLS12, 0x000A),
    Answer("NULL", TLS12, 0x003B),
    Answer("ECDHE with NULL", TLS12, 0xC010, "ecdhe"),
    Answer("EXPORT", TLS12, 0x0003),
    Answer("anonymous", TLS12, 0xC018, "anonymous"),
)


def refuses_weak_answer(sock: socket.socket, answer: Answer, identity: Identity) -> bool:
    """Play the server on `sock`, where the client's hello comes next.

    True: the client said an alert or closed. False: it went on with its keys.
    """
    sock.settimeout(_TIMEOUT_S)
    with sock.makefile("rb") as stream:
        _, hello = _read_record(stream.read)
        client_random, session = hello[6:38], hello[39 : 39 + hello[38]]
        sock.sendall(_first_flight(answer, identity, client_random, session))
        try:
            kind, _ = _read_record(stream.read)
        except (ConnectionResetError, EOFError):
            return True
        return kind == ALERT


def _read_record(read: Callable[[int], bytes]) -> tuple[int, bytes]:
    head = read(5)
    if len(head) < 5:
        raise EOFError
    return head[0], read(int.from_bytes(head[3:5], "big"))


def _first_flight(
    answer: Answer, identity: Identity, client_random: bytes, session: bytes
) -> bytes:
    server_random = b"\x33" * 32
    hello = struct.pack("!H", answer.version) + server_random + _vector(session, 1)
    hello += struct.pack("!HB", answer.suite, 0)
    # Without renegotiation_info (RFC 5746) a client would refuse us for that alone.
    hello += _vector(_extension(0xFF01, b"\x00"), 2)
    messages = [handshake(2, hello)]
    if answer.key_exchange != "anonymous":
        ders = b"".join(_vector(c.public_bytes(Encoding.DER), 3) for c in identity.chain)
        messages.append(handshake(11, _vector(ders, 3)))
    if answer.key_exchange != "rsa":
        public = X25519PrivateKey.generate().public_key()
        point = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        parameters = struct.pack("!BH", 3, X25519_GROUP) + _vector(point, 1)
        if answer.key_exchange == "ecdhe":
            signed = client_random + server_random + parameters
            signature = identity.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
            parameters += struct.pack("!H", 0x0401) + _vector(signature, 2)
        messages.append(handshake(12, parameters))
    messages.append(handshake(14, b""))
    return b"".join(record(HANDSHAKE, message, answer.version) for message in messages)
