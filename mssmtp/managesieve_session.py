"""What ManageSieve commands do (RFC 5804 2): one answer each, in order.

The socket is `managesieve`'s; logins are judged as at every other door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from mssmtp.errors import Ended, MailError
from mssmtp.identity.refusals import LoginRefused
from mssmtp.identity.sasl import Answer, Challenge, Claim, Exchange
from mssmtp.mail import Bal, Principal
from mssmtp.sieve.faults import BadScript
from mssmtp.sieve.interpreter import MAX_FORWARDS
from mssmtp.sieve.script import MAX_OCTETS, Script
from mssmtp.sieve.signatures import EXTENSIONS
from mssmtp.sieve.wire import Atom, Word, answer, capabilities, string
from mssmtp.storage import Reading, Writing
from mssmtp.storage.scripts import MAX_NAME, MAX_SCRIPTS, ScriptRefused

T = TypeVar("T")

ADMINISTER = "a"
"""The right of RFC 4314 it takes: a script sorts the mail of everybody who reads the box."""
LONGEST_PAUSE_S = 30.0
WRONG_S = 1.0
LOGGED_OUT = answer("OK", "Au revoir.")
_SYNTAX = "Commande mal formée."
_TOO_LARGE = f"Texte trop long ; un script a {MAX_OCTETS} octets au plus."


class Refused(Exception):
    """NO, with its sentence and its code."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text, self.code = text, code


class Peer(Protocol):
    """The connection, as a session needs it."""

    is_secure: bool
    wrong_passwords: int
    """How many it may try."""

    def announced(self) -> tuple[str, ...]:
        """Mechanisms."""
        ...

    def exchange(self, mechanism: str) -> Exchange:
        """Raises UnknownMechanism."""
        ...

    async def ask(self, challenge: bytes) -> bytes:
        """What the client answers to it. Raises Ended, BadSyntax."""
        ...

    async def enter(self, claim: Claim) -> Answer:
        """Who that is. Raises LoginRefused, and what the store raises."""
        ...

    async def start_tls(self, go_ahead: bytes) -> None:
        """Raises Ended."""
        ...

    async def pause(self, seconds: float) -> None:
        """Nobody else waits (ATT-14)."""
        ...

    def logged_in(self, principal: Principal) -> None:
        """Scripts may come from now on."""
        ...

    async def refreshed(self, principal: Principal) -> Principal:
        """As of now (ATT-18, ATT-25). Raises LoginRefused."""
        ...

    async def read(self, query: Callable[[Reading], T]) -> T:
        """Ask the store."""
        ...

    async def write(self, job: Callable[[Writing], T]) -> T:
        """Change it."""
        ...


class Session:
    """One client."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._principal: Principal | None = None
        self._wrong = 0

    @property
    def principal(self) -> Principal | None:
        """Who has logged in."""
        return self._principal

    def greeting(self, text: str = "mssmtp ManageSieve") -> bytes:
        """What is told at the start and behind STARTTLS (RFC 5804 1.7, 2.2)."""
        peer = self._peer
        told: dict[str, str | None] = {
            "IMPLEMENTATION": "mssmtp",
            "SIEVE": " ".join(EXTENSIONS),
            "SASL": " ".join(peer.announced()) if peer.is_secure else "",
        }
        if not peer.is_secure:
            told["STARTTLS"] = None
        told |= {"MAXREDIRECTS": str(MAX_FORWARDS), "VERSION": "1.0"}
        if self._principal is not None:
            told["OWNER"] = self._principal.login
        return capabilities(told) + answer("OK", text)

    async def obey(self, words: list[Word]) -> bytes:
        """The answer to one command. Raises Ended."""
        if not words or not isinstance(words[0], Atom):
            return answer("NO", _SYNTAX)
        verb = words[0].text.upper()
        try:
            if verb in _ANYTIME:
                return await _ANYTIME[verb](self, words[1:])
            if verb not in _LOGGED_IN:
                return answer("NO", "Commande inconnue.")
            if self._principal is None:
                return answer("NO", "Connectez-vous d'abord.")
            return await _LOGGED_IN[verb](self, words[1:])
        except Refused as refused:
            return answer("NO", refused.text, refused.code)
        except ScriptRefused as refused:
            return answer("NO", str(refused), refused.code)
        except BadScript as bad:
            return answer("NO", str(bad))
        except MailError as error:
            return answer("NO", error.reply.text, "TRYLATER" if error.reply.is_temporary else "")

    # ------------------------------------------------------------ before login

    async def _capability(self, words: list[Word]) -> bytes:
        _strings(words, 0)
        return self.greeting("")

    async def _noop(self, words: list[Word]) -> bytes:
        """RFC 5804 2.13."""
        if not words:
            return answer("OK")
        (tag,) = _strings(words, 1)
        return answer("OK", "", "TAG", tag)

    async def _logout(self, words: list[Word]) -> bytes:
        raise Ended(LOGGED_OUT)

    async def _starttls(self, words: list[Word]) -> bytes:
        _strings(words, 0)
        if self._peer.is_secure:
            raise Refused("La connexion est déjà chiffrée.")
        await self._peer.start_tls(answer("OK", "Commencez TLS."))
        return self.greeting("Connexion chiffrée.")

    async def _authenticate(self, words: list[Word]) -> bytes:
        """RFC 5804 2.1, over TLS only (OP-81)."""
        if self._principal is not None:
            raise Refused("Vous êtes déjà connecté.")
        if not self._peer.is_secure:
            raise Refused("Demandez STARTTLS d'abord.", "ENCRYPT-NEEDED")
        given = _strings(words, len(words))
        if not 1 <= len(given) <= 2:
            raise Refused(_SYNTAX)
        initial = (given[1] or b"=") if len(given) == 2 else None
        exchange = self._peer.exchange(given[0].decode("ascii", "replace"))
        try:
            principal = await self._exchanged(exchange, initial)
        except LoginRefused as error:
            if (last := exchange.refused(error)) is not None:
                await self._peer.ask(last.octets)
            return await self._turned_away(error)
        self._principal = principal
        self._peer.logged_in(principal)
        return answer("OK", "Connecté.")

    async def _exchanged(self, exchange: Exchange, initial: bytes | None) -> Principal:
        step = exchange.begin(initial)
        while not isinstance(step, Principal):
            if isinstance(step, Challenge):
                step = exchange.receive(await self._peer.ask(step.octets))
            else:
                step = exchange.answer(await self._peer.enter(step))
        return step

    async def _turned_away(self, error: LoginRefused) -> bytes:
        self._wrong += 1
        if error.is_guess:
            await self._peer.pause(min(max(error.delay_s, WRONG_S), LONGEST_PAUSE_S))
        told = answer("NO", error.reply.text, "TRYLATER" if error.reply.is_temporary else "")
        if self._wrong >= self._peer.wrong_passwords:
            raise Ended(told + answer("BYE", "Trop d'essais de connexion."))
        return told

    # ------------------------------------------------------------ scripts

    async def _box(self) -> Bal:
        """The box whose scripts these are, by the rights of now. Raises Refused, Ended."""
        assert self._principal is not None  # noqa: S101 - `obey` has looked
        try:
            self._principal = await self._peer.refreshed(self._principal)
        except LoginRefused as error:
            raise Ended(answer("BYE", "Cet accès a été retiré.")) from error
        who = self._principal
        chosen = who.box if who.box is not None else who.first
        box = next((bal for bal in who.bals if bal.id == chosen), None)
        if box is None:
            raise Refused("Cet accès n'ouvre aucune boîte.")
        if ADMINISTER not in who.rights_in(box.id):
            raise Refused("Seul un responsable de la boîte change ses règles de tri.")
        return box

    async def _changed(self, box: Bal, request: str, job: Callable[[Writing], None]) -> bytes:
        """One commit with its trace, which names no script: a name may name a patient."""
        assert self._principal is not None  # noqa: S101 - `_box` was called
        who = self._principal

        def traced(writing: Writing) -> None:
            job(writing)
            writing.trace("account", who.login, request, account=who.account, bal=box.id)

        await self._peer.write(traced)
        return answer("OK")

    async def _havespace(self, words: list[Word]) -> bytes:
        box = await self._box()
        if len(words) != 2 or not isinstance(words[1], Atom) or not words[1].text.isdigit():
            raise Refused(_SYNTAX)
        name = _name(words[0])
        if len(words[1].text) > 10 or int(words[1].text) > MAX_OCTETS:
            raise Refused(_TOO_LARGE, "QUOTA/MAXSIZE")
        names = {each.name for each in await self._peer.read(lambda r: r.scripts(box.id))}
        if name not in names and len(names) >= MAX_SCRIPTS:
            raise Refused(f"Au plus {MAX_SCRIPTS} scripts.", "QUOTA/MAXSCRIPTS")
        return answer("OK")

    async def _putscript(self, words: list[Word]) -> bytes:
        """A script that cannot be read is not stored (RFC 5804 2.6)."""
        box = await self._box()
        name, octets = _name_and(words)
        await _check(octets)
        return await self._changed(
            box, "script stored", lambda w: w.put_script(box.id, name, octets)
        )

    async def _checkscript(self, words: list[Word]) -> bytes:
        await self._box()
        (octets,) = _strings(words, 1)
        await _check(octets)
        return answer("OK")

    async def _listscripts(self, words: list[Word]) -> bytes:
        box = await self._box()
        _strings(words, 0)
        found = await self._peer.read(lambda r: r.scripts(box.id))
        lines = (
            string(each.name.encode()) + (b" ACTIVE" if each.is_active else b"") + b"\r\n"
            for each in found
        )
        return b"".join(lines) + answer("OK")

    async def _setactive(self, words: list[Word]) -> bytes:
        box = await self._box()
        (given,) = _strings(words, 1)
        name = _name(given) if given else ""
        request = "script activated" if name else "no script active"
        return await self._changed(box, request, lambda w: w.activate_script(box.id, name))

    async def _getscript(self, words: list[Word]) -> bytes:
        box = await self._box()
        (given,) = _strings(words, 1)
        name = _name(given)
        found = await self._peer.read(lambda r: r.script(box.id, name))
        octets = found.octets
        return b"{%d}\r\n" % len(octets) + octets + b"\r\n" + answer("OK")

    async def _deletescript(self, words: list[Word]) -> bytes:
        box = await self._box()
        (given,) = _strings(words, 1)
        name = _name(given)
        return await self._changed(box, "script deleted", lambda w: w.drop_script(box.id, name))

    async def _renamescript(self, words: list[Word]) -> bytes:
        box = await self._box()
        old, given = _name_and(words)
        new = _name(given)
        return await self._changed(
            box, "script renamed", lambda w: w.rename_script(box.id, old, new)
        )


async def _check(octets: bytes) -> None:
    """Raises BadScript. In a thread: one of 64 KiB is a tenth of a second of work (ATT-27)."""
    await asyncio.to_thread(Script.read, octets)


def _strings(words: list[Word], count: int) -> list[bytes]:
    """Exactly `count` strings. Raises Refused."""
    found = [word for word in words if isinstance(word, bytes)]
    if len(words) != count or len(found) != count:
        raise Refused(_SYNTAX)
    return found


def _name_and(words: list[Word]) -> tuple[str, bytes]:
    name, octets = _strings(words, 2)
    return _name(name), octets


def _name(word: Word) -> str:
    """A name of RFC 5804 1.6: no controls, not too long. Raises Refused."""
    if isinstance(word, Atom):
        raise Refused(_SYNTAX)
    try:
        name = word.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("Le nom n'est pas en UTF-8.") from error
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Refused(f"Un nom a 1 à {MAX_NAME} caractères, sans caractère de contrôle.")
    return name


Verb = Callable[[Session, list[Word]], Awaitable[bytes]]
_ANYTIME: Mapping[str, Verb] = {
    "CAPABILITY": Session._capability,
    "NOOP": Session._noop,
    "LOGOUT": Session._logout,
    "STARTTLS": Session._starttls,
    "AUTHENTICATE": Session._authenticate,
}
_LOGGED_IN: Mapping[str, Verb] = {
    "HAVESPACE": Session._havespace,
    "PUTSCRIPT": Session._putscript,
    "CHECKSCRIPT": Session._checkscript,
    "LISTSCRIPTS": Session._listscripts,
    "SETACTIVE": Session._setactive,
    "GETSCRIPT": Session._getscript,
    "DELETESCRIPT": Session._deletescript,
    "RENAMESCRIPT": Session._renamescript,
}
