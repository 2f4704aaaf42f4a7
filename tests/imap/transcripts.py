"""Reads and plays transcripts: numbered clients, forbidden lines, bound variables.

    # imap/name.txt     RFC 3501 7.4.1
    clients: 2   messages: 2   state: selected   shared: yes
    shared: yes   roles: lecteur,responsable   Zoé's and Luc's in the box of radiology
    quota: 2048/4                      octets and messages of Zoé's box
    clients: 3   logins: 123           Zoé, Luc, and radiology's own login
    tokens: on                         XOAUTH2 and OAUTHBEARER beside passwords; `silent`: the
                                       refusal comes without a challenge
    systems: yes                       EXTERNAL alone
    1> STORE 1 +FLAGS (\\Deleted)      a command; OK is expected
    1>NO CANNOT DELETE Sent            refused with that code
    1>BAD FETCH                        not understood
    1>> DONE                           octets as they are, with CRLF; nothing is expected by itself
    1< * 1 EXPUNGE                     must come, in this order
    1! EXPUNGE                         must not come as part of any line
    1. BYE                             the connection is closed
    ~ message                          a message is delivered to Zoé's INBOX
    ~ patient                          one of a patient
    ~ submits @message1                Zoé has sent it through the submission door
    ~ hands over                       Zoé's box, to Luc (DEF-23)
    ~ hour                             an hour passes; `~ week` a week
    ~ tick 1                           client 1's wait times out

`$name` in an expected line binds a word the first time and must be the same word afterwards; `...`
stands for anything. `@message3` in a command is a literal of that message, `@{text}` of that text,
in which `\\r\\n` and `\\0` are these octets; `~64{text}` is its base64, in which `^A` is octet 1.
An expectation looks at what its client received since its last command.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

from mssmtp.identity import EXTERNAL, MECHANISMS, with_tokens
from mssmtp.imap.effects import Woken
from mssmtp.mail import Role
from mssmtp.storage import PATIENT
from tests.imap.world import LUC, SERVICE, ZOE, Client, World, message

_STEP = re.compile(
    r"(?P<client>\d)(?P<kind>>>|>NO |>BAD |>|<|!|\.)\s?(?P<text>.*)\Z|~ (?P<event>.*)\Z"
)
_LITERAL = re.compile(rb"@message(\d+)|@\{([^}]*)\}")
_BASE64 = re.compile(r"~64\{([^}]*)\}")


def _message(text: bytes) -> bytes:
    """What stands for it: `@message3`, `@{text}`."""
    found = _LITERAL.fullmatch(text)
    assert found, "not a message"
    return message(int(found[1])) if found[1] else _unescaped(found[2])


def _sasl(text: str) -> bytes:
    return text.replace("^A", "\x01").encode()


def _unescaped(text: bytes) -> bytes:
    return text.replace(rb"\r\n", b"\r\n").replace(rb"\0", b"\0")


@dataclass
class Script:
    """One transcript file, parsed."""

    title: str
    settings: dict[str, str]
    steps: list[tuple[int, str]]


def read_script(path: Path) -> Script:
    """The script in `path`."""
    settings: dict[str, str] = {}
    steps: list[tuple[int, str]] = []
    title = ""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("#"):
            title = title or line.lstrip("# ")
        elif line.startswith("clients:"):
            settings = dict(re.findall(r"(\w+):\s*(\S+)", line))
        elif line.strip():
            steps.append((number, line))
    assert steps, f"{path} is empty"
    return Script(title, settings, steps)


@dataclass
class Player:
    """Plays one script in a world."""

    world: World
    script: Script
    clients: list[Client] = field(default_factory=list)
    heard: dict[int, list[str]] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)

    def play(self) -> None:
        """Raises AssertionError naming the line."""
        settings = self.script.settings
        if settings.get("shared") == "yes":
            for login, role in zip((ZOE, LUC), settings.get("roles", "").split(","), strict=False):
                self.world.share(Role(role) if role else Role.RESPONSABLE, login)
        if "quota" in settings:  # octets/messages, of Zoé's box; the others have no limit
            octets, messages = map(int, settings["quota"].split("/"))
            self.world.limit(octets, messages)
        if "tokens" in settings:  # on: with the challenge of XOAUTH2; silent: without
            challenge = settings["tokens"] == "on"
            self.world.mechanisms = with_tokens(MECHANISMS, challenge=challenge)
        if "systems" in settings:
            self.world.mechanisms = EXTERNAL
        self.world.fill(int(settings.get("messages", "0")))
        state = settings.get("state", "selected")
        for who in settings.get("logins", "1" * int(settings.get("clients", "1"))):
            user = None if state == "none" else {"1": ZOE, "2": LUC, "3": SERVICE}[who]
            select = "INBOX" if state == "selected" else None
            self.clients.append(self.world.client(user, select))
        for client in self.clients:
            client.received.clear()
        for number, step in self.script.steps:
            try:
                self._step(step)
            except AssertionError as error:
                raise AssertionError(f"line {number}: {step}\n{error}") from None

    def _step(self, step: str) -> None:
        found = _STEP.match(step)
        assert found, "not a step"
        if found["event"]:
            self._event(found["event"])
            return
        client, text = int(found["client"]), found["text"]
        match found["kind"]:
            case ">":
                self._command(client, text, "OK")
            case ">NO ":
                code, _, command = text.partition(" ")
                self._command(client, command, f"NO [{code}")
            case ">BAD ":
                self._command(client, text, "BAD")
            case ">>":
                self._begin(client)
                self.clients[client - 1].send(self._octets(text) + b"\r\n")
            case "<":
                self._expect(client, text)
            case "!":
                lines, forbidden = self._lines(client), self._filled(text)
                assert not any(forbidden in line for line in lines), "\n".join(lines)
            case ".":
                assert not self.clients[client - 1].is_open, "still open"

    def _event(self, text: str) -> None:
        if text == "message":
            self.world.deliver(message(99))
        elif text == "patient":
            self.world.deliver(message(98), flags=frozenset({PATIENT}))
        elif text.startswith("submits "):
            self.world.submit(_message(text[8:].encode()))
        elif text == "hands over":
            self.world.hand_over()
        elif text == "hour":
            self.world.clock.advance(3_600)
        elif text == "week":
            self.world.clock.advance(7 * 86_400 + 1)
        elif text.startswith("tick "):
            self.clients[int(text[5:]) - 1].wake(Woken.TIMEOUT)
        else:
            raise AssertionError("unknown event")

    def _begin(self, client: int) -> None:
        self.clients[client - 1].received.clear()
        self.at[client] = 0

    def _octets(self, text: str) -> bytes:
        def literal(found: re.Match[bytes]) -> bytes:
            octets = _message(found[0])
            return b"{%d+}\r\n%b" % (len(octets), octets)

        return _LITERAL.sub(literal, self._filled(text).encode("utf-8"))

    def _filled(self, text: str) -> str:
        filled = re.sub(r"\$(\w+)", lambda m: self.bound.get(m[1], m[0]), text)
        return _BASE64.sub(lambda m: base64.b64encode(_sasl(m[1])).decode(), filled)

    def _command(self, client: int, text: str, expected: str) -> None:
        self._begin(client)
        tagged, _ = self.clients[client - 1].command(self._octets(text))
        assert tagged.startswith(expected), f"{tagged}\nafter {self._lines(client)}"

    def _lines(self, client: int) -> list[str]:
        return bytes(self.clients[client - 1].received).decode("utf-8", "replace").split("\r\n")

    def _expect(self, client: int, text: str) -> None:
        pattern, names = self._pattern(text)
        lines = self._lines(client)
        for position in range(self.at.get(client, 0), len(lines)):
            if found := pattern.fullmatch(lines[position]):
                self.at[client] = position + 1
                self.bound.update({name: found[name] for name in names})
                return
        raise AssertionError("did not come; heard:\n" + "\n".join(lines))

    def _pattern(self, text: str) -> tuple[re.Pattern[str], list[str]]:
        names: list[str] = []
        pieces = []
        for piece in re.split(r"(\.\.\.|\$[A-Za-z_]\w*)", text):
            if piece == "...":
                pieces.append(".*")
            elif piece.startswith("$") and piece[1:].islower() and len(piece) > 1:
                name = piece[1:]
                if name in self.bound:
                    pieces.append(re.escape(self.bound[name]))
                else:
                    names.append(name)
                    pieces.append(rf"(?P<{name}>[^\s\])]+)")
            else:
                pieces.append(re.escape(piece))
        return re.compile("".join(pieces)), names
