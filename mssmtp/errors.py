"""Refusals as values: an error carries the reply the peer will read.

Only a front door turns a reply into octets. Texts for peers name no host,
path, table or class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*\Z")


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply: code, enhanced code (RFC 3463) and a French sentence with its remedy.

    `text` is one line of Unicode; the door cuts it into reply lines. Raises ValueError when the
    class digit of the two codes differs or the text holds a control character.
    """

    code: int
    enhanced: str
    text: str

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"not an SMTP code: {self.code}")
        if self.enhanced and (
            not _ENHANCED.match(self.enhanced) or self.enhanced[0] != str(self.code)[0]
        ):
            raise ValueError(f"{self.enhanced} does not fit {self.code}")
        if not _PRINTABLE.match(self.text):
            raise ValueError("control character in a reply text")

    @property
    def is_temporary(self) -> bool:
        """True for 4yz: the client should try again (RFC 5321 4.2.1)."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """True for 5yz."""
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}".replace("  ", " ").strip()


INTERNAL = Reply(
    451, "4.3.0", "Erreur interne du serveur ; le message n'est pas perdu, réessayez plus tard."
)


def own_words(said: str) -> str:
    """What the library of the settings says of a value, without its prefix: what follows that is
    said by a check of ours, or names the values there are."""
    return said.replace("Value error, ", "", 1)


class Ended(Exception):
    """A conversation with a mail program is over. `farewell` is said last, if anybody listens."""

    def __init__(self, farewell: bytes = b"") -> None:
        super().__init__()
        self.farewell = farewell


class MailError(Exception):
    """Base of every refusal. `smtp` and `imap` are what the two kinds of door answer.

    `imap` is a response code of RFC 5530 / 9051 without brackets. Subclasses set both and may be
    given another reply per instance.
    """

    smtp: ClassVar[Reply] = INTERNAL
    imap: ClassVar[str] = "SERVERBUG"

    def __init__(self, message: str = "", *, reply: Reply | None = None) -> None:
        super().__init__(message or (reply or self.smtp).text)
        self.reply = reply or self.smtp


class BadSyntax(MailError):
    """Peer octets that are not in the grammar; nothing else is raised by a parser."""

    smtp = Reply(501, "5.5.4", "Syntaxe de la commande incorrecte ; vérifiez le logiciel d'envoi.")
    imap = "CLIENTBUG"


class BadAddress(BadSyntax):
    """A mail address that is not one of RFC 5321 4.1.2, or is outside what the space uses."""

    smtp = Reply(501, "5.1.3", "Adresse mal formée ; corrigez-la puis renvoyez.")


class NonAsciiAddress(BadAddress):
    """OP-67: every listed domain is ASCII and SMTPUTF8 is not announced."""

    smtp = Reply(553, "5.6.7", "Adresse non ASCII ; les adresses MSSanté n'ont pas d'accent.")


class StorageFull(MailError):
    """No space or no inodes where the store lives; nothing was written."""

    smtp = Reply(452, "4.3.1", "Espace de stockage insuffisant ; réessayez plus tard.")
    imap = "LIMIT"


class StorageUnavailable(MailError):
    """The store cannot be written now (read-only, busy, lost); nothing was acknowledged."""

    smtp = Reply(451, "4.3.0", "Stockage momentanément indisponible ; réessayez plus tard.")
    imap = "UNAVAILABLE"


class StorageBehind(StorageUnavailable):
    """More waits to be written than the disk takes: refused at once, not waited for (D11)."""

    smtp = Reply(
        451,
        "4.3.2",
        "Le stockage ne suit pas l'arrivée des messages ; réessayez dans quelques minutes.",
    )


class Damaged(MailError):
    """A sealed object does not authenticate; only this object is affected (D10)."""

    imap = "CORRUPTION"


class ConfigError(Exception):
    """A setting is wrong. Carries what, why and what to do; never reaches a peer."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}. {remedy}")
        self.what, self.why, self.remedy = what, why, remedy


class OperationRefused(ConfigError):
    """An operation was refused. `is_usage`: what was asked for is wrong, rather than the times."""

    def __init__(self, what: str, why: str, remedy: str, *, is_usage: bool) -> None:
        super().__init__(what, why, remedy)
        self.is_usage = is_usage
