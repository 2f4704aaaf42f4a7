"""SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677): what is stored, and the server's side, sans-IO.

A password of ours has two verifiers, as it is printed (in groups) and without the groups: the
client hashes what was typed, and only there could a hyphen be taken away (RFC 5802 2.2 knows only
SASLprep).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mssmtp.identity.refusals import BadExchange
from mssmtp.mail import Principal

ITERATIONS = 4096
"""RFC 7677 4: at least 4096. More protects chosen passwords only; ours are random."""
SALT_OCTETS = 16
MOST_OCTETS = 2_048
"""Of one message of a client."""

_SCHEME = "SCRAM-SHA-256"


class Verifier(NamedTuple):
    """One line of RFC 5803, opened."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def verifier(password: str, salt: bytes) -> str:
    """`SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803 2, RFC 5802 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(octets).decode("ascii") for octets in (salt, stored_key, server_key)
    )
    return f"{_SCHEME}${ITERATIONS}:{salt64}${stored64}:{server64}"


def opened(text: str) -> tuple[Verifier, ...]:
    """The verifiers of a stored password, separated by spaces; what is none of ours is left out."""
    found = []
    for line in text.split():
        scheme, _, rest = line.partition("$")
        fields = re.split("[:$]", rest)
        if scheme == _SCHEME and len(fields) == 4:
            salt, stored, server = (base64.b64decode(each) for each in fields[1:])
            found.append(Verifier(salt, int(fields[0]), stored, server))
    return tuple(found)


def salt_of(texts: Iterable[str], stand_in: bytes) -> bytes:
    """The salt that is told before it is known which device speaks; the newest if several are in
    use. `stand_in` for who has none: the same every time, as a real one would be."""
    every = [found.salt for text in texts for found in opened(text)]
    return every[-1] if every else stand_in[:SALT_OCTETS]


def proven(found: Verifier, message: bytes, proof: bytes) -> bool:
    """RFC 5802 3: ClientProof XOR HMAC(StoredKey, AuthMessage) hashes to StoredKey."""
    signature = hmac.digest(found.stored_key, message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), found.stored_key)


def signature_of(found: Verifier, message: bytes) -> bytes:
    """ServerSignature: we know the verifier too."""
    return hmac.digest(found.server_key, message, "sha256")


def saslprep(text: str) -> bytes:
    """RFC 4013 as octets; a text it forbids (which no client can send either) as it is."""
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter
        for letter in text
        if not stringprep.in_table_b1(letter)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(_is_forbidden(letter) for letter in normal) or not _is_one_way(normal):
        normal = text
    return normal.encode("utf-8", "surrogatepass")


def _is_forbidden(letter: str) -> bool:
    return (
        stringprep.in_table_c12(letter)
        or stringprep.in_table_c21_c22(letter)
        or stringprep.in_table_c3(letter)
        or stringprep.in_table_c4(letter)
        or stringprep.in_table_c5(letter)
        or stringprep.in_table_c6(letter)
        or stringprep.in_table_c7(letter)
        or stringprep.in_table_c8(letter)
        or stringprep.in_table_c9(letter)
    )


def _is_one_way(text: str) -> bool:
    """RFC 3454 6: right-to-left letters stand alone, and at both ends."""
    if not any(stringprep.in_table_d1(letter) for letter in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(letter) for letter in text)


# ---------------------------------------------------------------- what the store is asked


@dataclass(frozen=True, slots=True)
class ScramName:
    """Who wants to prove that he knows a password. Answer: ScramSalt."""

    login: str


@dataclass(frozen=True, slots=True)
class ScramSalt:
    """What the client needs for its proof, and our part of the nonce."""

    salt: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class ScramProof:
    """The proof over `message` (RFC 5802 3, AuthMessage). Answer: ScramProven."""

    login: str
    salt: bytes
    message: bytes = field(repr=False)
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScramProven:
    """Who that was, and our own proof that we know the verifier."""

    principal: Principal
    signature: bytes = field(repr=False)


# ---------------------------------------------------------------- the conversation

_FIRST = re.compile(
    rb"(?P<header>(?:n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,\0]+))?,)"
    rb"(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,\0]+)*)\Z"
)
"""RFC 5802 7, client-first-message. `m=` in front of the name would be a must we do not know."""
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<channel>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)"
    rb"(?:,[A-Za-z]=[^,\0]+)*?),p=(?P<proof>[A-Za-z0-9+/=]+)\Z"
)


@dataclass(frozen=True, slots=True)
class First:
    """client-first-message, read. `binding`: the type of `p=`, empty for `n` and `y`."""

    header: bytes
    binding: str
    authzid: str
    login: str
    nonce: bytes
    bare: bytes = field(repr=False)

    @property
    def thinks_no_binding(self) -> bool:
        """`y`: the client could bind, and believes that we cannot."""
        return self.header.startswith(b"y")


def read_first(message: bytes) -> First:
    """Raises BadExchange."""
    found = _FIRST.match(message) if len(message) <= MOST_OCTETS else None
    if found is None:
        raise BadExchange("client-first-message")
    binding = found["binding"] or b""
    authzid, login = (_name(found[part] or b"") for part in ("authzid", "name"))
    if not login:
        raise BadExchange("no name")
    return First(
        found["header"], binding.decode("ascii"), authzid, login, found["nonce"], found["bare"]
    )


@dataclass(frozen=True, slots=True)
class Final:
    """client-final-message, read."""

    channel: bytes
    nonce: bytes
    proof: bytes = field(repr=False)
    bare: bytes = field(repr=False)


def read_final(message: bytes) -> Final:
    """Raises BadExchange."""
    found = _FINAL.match(message) if len(message) <= MOST_OCTETS else None
    if found is None:
        raise BadExchange("client-final-message")
    channel, proof = (_base64(found[part]) for part in ("channel", "proof"))
    if len(proof) != hashlib.sha256().digest_size:
        raise BadExchange("a proof of another length")
    return Final(channel, found["nonce"], proof, found["bare"])


def server_first(nonce: bytes, salt: bytes) -> bytes:
    """`r=…,s=…,i=…`."""
    return b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), ITERATIONS)


def server_final(signature: bytes) -> bytes:
    """`v=…`."""
    return b"v=" + base64.b64encode(signature)


def _base64(text: bytes) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadExchange("not base64") from error
    if base64.b64encode(octets) != text:
        raise BadExchange("not canonical base64")
    return octets


def _name(octets: bytes) -> str:
    """saslname: `=2C` is a comma, `=3D` an equals sign, and no other `=` stands alone."""
    if octets.count(b"=") != octets.count(b"=2C") + octets.count(b"=3D"):
        raise BadExchange("a bare equals sign in a name")
    try:
        name = octets.replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8")
        return saslprep(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadExchange("not UTF-8") from error
