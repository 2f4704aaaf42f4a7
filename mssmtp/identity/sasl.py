"""SASL (RFC 4422), server side, sans-IO: lines in, one step out. PLAIN (RFC 4616), LOGIN, SCRAM.

A step is a Challenge to send, a Claim for the door to judge, or the Principal in the end;
everything else is an exception. One exchange object serves one command and never ends twice,
whatever the client does (ATT-13).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mssmtp.errors import BadSyntax, Reply
from mssmtp.identity import scram
from mssmtp.identity.refusals import BadCredentials, BadExchange, LoginRefused
from mssmtp.identity.scram import ScramName, ScramProof, ScramProven, ScramSalt
from mssmtp.mail import Principal

MAX_LINE_OCTETS = 12_288
"""RFC 4954 4: a base64 line of at least this much must be taken; we take no more."""
MAX_NAME_OCTETS = 255
"""RFC 4616 2: authcid and passwd of at most 255 octets each."""


class UnknownMechanism(BadSyntax):
    """A mechanism that is not offered (RFC 4954 4: 504)."""

    smtp = Reply(504, "5.5.4", "Mécanisme inconnu ; choisissez un de ceux que le serveur annonce.")
    imap = "CANNOT"


class Cancelled(BadSyntax):
    """The client sent `*` (RFC 4954 4: 501; RFC 3501 6.2.2: BAD)."""

    smtp = Reply(501, "5.7.0", "Authentification abandonnée par le client.")
    imap = "CLIENTBUG"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send `octets` (base64 already): `334 ` before them in SMTP, `+ ` in IMAP."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client said; nothing is verified yet. `repr` shows no password."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, and the address of the box it is to open (client-access.md 2)."""

    box: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presented:
    """EXTERNAL: whoever the TLS layer has shown, in `box`; "" is the only one it may open."""

    box: str


Claim = Credentials | Bearer | Presented | ScramName | ScramProof
"""What a client says it is; nothing is verified yet."""
Answer = Principal | ScramSalt | ScramProven
"""What the door finds: who it is, or of SCRAM what the exchange goes on with."""
Step = Challenge | Claim | Principal


@dataclass(frozen=True, slots=True)
class Channel:
    """What a mechanism may know of the connection. `bindings`: RFC 5929 type -> its octets."""

    bindings: Mapping[str, bytes] = field(default_factory=dict)


class Dialog(Protocol):
    """The server's side of one mechanism; it sees decoded octets only."""

    opening: bytes
    """The challenge to a client that sends no initial response."""

    refusal: bytes | None
    """The challenge that comes before a refusal, for the client to acknowledge; None: there is
    none (RFC 7628 3.2.3)."""

    def step(self, response: bytes) -> bytes | Claim | Principal:
        """The next challenge, what the client has said, or the end.

        Raises BadSyntax kinds, BadCredentials.
        """
        ...


class _Plain:
    """RFC 4616."""

    opening = b""
    refusal: bytes | None = None

    def step(self, response: bytes) -> Credentials:
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise BadExchange("PLAIN has three parts")
        authzid, authcid, password = (text_of(part) for part in parts)
        if not authcid or not password:
            raise BadExchange("empty authcid or password")
        # ATT-17: acting for somebody else is the policy's matter, never a login's.
        if authzid and authzid != authcid:
            raise BadCredentials("authzid differs from authcid")
        return Credentials(authcid, password)


class _BarePlain(_Plain):
    """PLAIN of devices that leave out the empty authzid and its NUL."""

    def step(self, response: bytes) -> Credentials:
        return super().step(b"\0" + response if response.count(b"\0") == 1 else response)


class _Login:
    """LOGIN was never more than a draft; these prompts are what clients compare with (OLC-09)."""

    opening = b"Username:"
    refusal: bytes | None = None

    def __init__(self) -> None:
        self._login: str | None = None

    def step(self, response: bytes) -> bytes | Credentials:
        text = text_of(response)
        if not text or "\0" in text:
            raise BadExchange("empty line, or NUL")
        if self._login is None:
            self._login = text
            return b"Password:"
        return Credentials(self._login, text)


class _Scram:
    """RFC 5802, for SHA-256 (RFC 7677). `is_bound`: the -PLUS of it."""

    opening = b""
    refusal: bytes | None = None
    is_bound = False

    def __init__(self) -> None:
        self.bindings: Mapping[str, bytes] = {}
        self._first: scram.First | None = None
        self._salt: ScramSalt | None = None
        self._server_first = b""
        self._principal: Principal | None = None

    def step(self, response: bytes) -> Claim | Principal:
        if self._first is None:
            return self._hello(response)
        if self._principal is None:
            return self._proof(self._first, response)
        if response:
            raise BadExchange("more than the end")
        return self._principal

    def _hello(self, response: bytes) -> ScramName:
        first = scram.read_first(response)
        if self.is_bound != bool(first.binding) or (first.binding not in ("", *self.bindings)):
            raise BadExchange("another channel binding than was offered")
        # RFC 5802 6: somebody in the middle took -PLUS out of what was announced.
        if first.thinks_no_binding and self.bindings:
            raise BadExchange("the client was told that there is no channel binding")
        if first.authzid and first.authzid != first.login:  # ATT-17
            raise BadCredentials("authzid differs from authcid")
        self._first = first
        return ScramName(first.login)

    def _proof(self, first: scram.First, response: bytes) -> ScramProof:
        final, salt = scram.read_final(response), self._salt
        if salt is None:
            raise BadExchange("out of turn")
        expected = first.header + self.bindings.get(first.binding, b"")
        # ATT-21: both are compared in constant time, though neither is a secret of ours.
        if not hmac.compare_digest(final.channel, expected):
            raise BadCredentials("channel bindings do not match")
        if not hmac.compare_digest(final.nonce, first.nonce + salt.nonce):
            raise BadExchange("another nonce")
        message = b",".join((first.bare, self._server_first, final.bare))
        return ScramProof(first.login, salt.salt, message, final.proof)

    def answer(self, answer: ScramSalt | ScramProven) -> bytes:
        if isinstance(answer, ScramSalt) and self._first is not None:
            self._salt = answer
            nonce = self._first.nonce + answer.nonce
            self._server_first = scram.server_first(nonce, answer.salt)
            return self._server_first
        if isinstance(answer, ScramProven):
            self._principal = answer.principal
            return scram.server_final(answer.signature)
        raise BadExchange("out of turn")


class _ScramPlus(_Scram):
    """Bound to the TLS connection: nobody in the middle can pass the proof on (RFC 5929, 9266)."""

    is_bound = True


Mechanisms = Mapping[str, Callable[[], Dialog]]
MECHANISMS: Mechanisms = {
    "SCRAM-SHA-256-PLUS": _ScramPlus,
    "SCRAM-SHA-256": _Scram,
    "PLAIN": _Plain,
    "LOGIN": _Login,
}
"""For who has a password, over TLS only, in the order it is announced. One more is one more
Dialog."""
OLD_FORMS: Mechanisms = {"PLAIN": _BarePlain, "LOGIN": _Login}
"""As scanners and analysers write them (MAC-02), for their listener only."""


def announced(offered: Mechanisms, channel: Channel) -> tuple[str, ...]:
    """What is told of `offered` on this connection: -PLUS only where it can be kept."""
    return tuple(name for name in offered if channel.bindings or not name.endswith("-PLUS"))


class Exchange:
    """One AUTH or AUTHENTICATE command. Raises UnknownMechanism for what is not offered.

    `is_lenient`: base64 without its padding, and white space around it, are taken too.
    """

    def __init__(
        self,
        mechanism: str,
        offered: Mechanisms = MECHANISMS,
        channel: Channel | None = None,
        *,
        is_lenient: bool = False,
    ) -> None:
        make = offered.get(mechanism.upper())
        if make is None:
            raise UnknownMechanism
        self._dialog = make()
        if channel is not None and isinstance(self._dialog, _Scram):
            self._dialog.bindings = channel.bindings
        self._asks = False
        self._is_lenient = is_lenient
        self._begun = False
        self._ended = False

    def begin(self, initial: bytes | None = None) -> Step:
        """The first step. `initial` is the initial response as sent, None when there is none.

        `=` stands for an empty one (RFC 4954 4, RFC 4959 3). Raises BadExchange, BadCredentials.
        """
        if self._begun:
            raise BadExchange("already begun")
        self._begun = True
        if initial is None:
            return Challenge(base64.b64encode(self._dialog.opening))
        return self._step(b"" if initial == b"=" else initial)

    def receive(self, line: bytes) -> Step:
        """The next step, for `line` without its CRLF. Raises Cancelled too."""
        if not self._begun:
            raise BadExchange("not begun")
        return self._step(line)

    def answer(self, answer: Answer) -> Challenge | Principal:
        """The next step, with what the Claim that was the last one has come to."""
        if not self._asks:
            raise BadExchange("nothing was asked")
        self._asks = False
        if isinstance(answer, Principal):
            self._ended = True
            return answer
        if not isinstance(self._dialog, _Scram):
            raise TypeError(type(answer).__name__)
        return Challenge(base64.b64encode(self._dialog.answer(answer)))

    def _step(self, line: bytes) -> Step:
        if self._ended or self._asks:
            raise BadExchange("already over")
        try:
            step = self._dialog.step(_decoded(_mended(line) if self._is_lenient else line))
        except (BadSyntax, BadCredentials):
            self._ended = True
            raise
        if isinstance(step, bytes):
            return Challenge(base64.b64encode(step))
        self._ended = isinstance(step, Principal)
        self._asks = not self._ended
        return step

    def refused(self, error: LoginRefused) -> Challenge | None:
        """What is still to be sent when the claim was refused: the client answers it with one line,
        whatever that is, and then hears of the refusal. A wait or an outage is told at once."""
        if self._dialog.refusal is None or error.reply.is_temporary:
            return None
        return Challenge(base64.b64encode(self._dialog.refusal))


def _mended(line: bytes) -> bytes:
    bare = line.strip(b" \t")
    return bare if bare == b"*" else bare + b"=" * (-len(bare) % 4)


def _decoded(line: bytes) -> bytes:
    """The octets of one base64 line, in its one canonical form (RFC 4648 3.5)."""
    if len(line) > MAX_LINE_OCTETS:
        raise BadExchange("line too long")
    if line == b"*":
        raise Cancelled
    try:
        octets = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise BadExchange("not base64") from error
    if base64.b64encode(octets) != line:
        raise BadExchange("not canonical base64")
    return octets


def text_of(octets: bytes) -> str:
    """A name or password of at most 255 octets. Raises BadExchange."""
    if len(octets) > MAX_NAME_OCTETS:
        raise BadExchange("more than 255 octets")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadExchange("not UTF-8") from error
