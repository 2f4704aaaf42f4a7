"""The client's side of SCRAM-SHA-256 (RFC 5802 3), written apart from ours: it shares no code."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


@dataclass
class Client:
    """One exchange. `header`: `n,,`, `y,,` or `p=type,,`; `binding`: the octets of that type."""

    login: bytes
    password: bytes
    header: bytes = b"n,,"
    binding: bytes = b""
    nonce: bytes = b"rOprNGfwEbeRWgbNEkqO"
    first: bytes = b""
    message: bytes = b""
    server_key: bytes = b""

    def hello(self) -> bytes:
        self.first = b"n=%b,r=%b" % (self.login, self.nonce)
        return self.header + self.first

    def proof(self, server_first: bytes) -> bytes:
        fields = dict(each.split(b"=", 1) for each in server_first.split(b","))
        salt, rounds = base64.b64decode(fields[b"s"]), int(fields[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        bare = b"c=%b,r=%b" % (b64(self.header + self.binding), fields[b"r"])
        self.message = b",".join((self.first, server_first, bare))
        signed = hmac.digest(hashlib.sha256(client_key).digest(), self.message, "sha256")
        both = zip(client_key, signed, strict=True)
        return bare + b",p=" + b64(bytes(one ^ other for one, other in both))

    def believes(self, server_final: bytes) -> bool:
        """Whether the server has shown that it knows the verifier."""
        return server_final == b"v=" + b64(hmac.digest(self.server_key, self.message, "sha256"))
