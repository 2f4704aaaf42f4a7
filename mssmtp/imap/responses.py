"""Responses as octets (RFC 3501 7). Every refusal carries a code and a text (GEN-05)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import names
from mssmtp.imap.numbers import UidRequired

CRLF = b"\r\n"

# resp-text is US-ASCII until UTF8=ACCEPT: the sentences a person may read do without accents.
# Thunderbird and Outlook show them as they are, with a full stop of their own: what and what to do.
_TEXTS = {
    "ALREADYEXISTS": b"Ce nom existe deja ; choisissez-en un autre",
    "AUTHENTICATIONFAILED": b"Identifiant ou mot de passe incorrect",
    "BADURL": b"Nothing to be read under this URL",
    "CANNOT": b"Nom impossible ou dossier protege ; choisissez un autre nom",
    "CLIENTBUG": b"Command not understood",
    "COMPRESSIONACTIVE": b"DEFLATE is active already",
    "CORRUPTION": b"Message illisible ; prevenez votre administrateur",
    "EXPUNGEISSUED": b"Some of these messages no longer exist",
    "INUSE": b"Occupe ; recommencez",
    "LIMIT": b"Limite du serveur atteinte",
    "NONEXISTENT": b"Ce dossier n'existe pas, ou ne vous est plus ouvert ; actualisez la liste",
    "NOPERM": b"Vos droits ici ne le permettent pas ; voyez le responsable de la boite",
    "OVERQUOTA": b"Boite pleine ; supprimez des messages ou demandez plus de place",
    "PRIVACYREQUIRED": b"Use TLS first",
    "SERVERBUG": b"Erreur interne du serveur ; recommencez plus tard",
    "TOOBIG": b"Message trop volumineux ; reduisez ses pieces jointes",
    "TRYCREATE": b"Create the mailbox first",
    "USEATTR": b"Usage deja attribue ou impossible",
    "UNKNOWN-CTE": b"Some parts have an unknown transfer encoding",
    "UNAVAILABLE": b"Service momentanement indisponible ; recommencez plus tard",
}


class Refused(MailError):
    """A refusal of this room with its response code and, when it helps, another text."""

    def __init__(self, code: str, text: bytes = b"") -> None:
        super().__init__(code)
        self.code = code
        self.text = text or _TEXTS[code]


def tagged(tag: bytes, condition: bytes, text: bytes, code: bytes = b"") -> bytes:
    """`tag OK|NO|BAD [code] text`."""
    return b"%b %b %b%b\r\n" % (tag, condition, b"[%b] " % code if code else b"", text)


def untagged(condition: bytes, text: bytes, code: bytes = b"") -> bytes:
    """`* OK|NO|BAD|BYE|PREAUTH [code] text`."""
    return tagged(b"*", condition, text, code)


def refusal(tag: bytes, error: MailError) -> bytes:
    """The tagged NO for `error`. Its own message never leaves: it may name the inside."""
    if isinstance(error, Refused):
        return tagged(tag, b"NO", error.text, error.code.encode("ascii"))
    return tagged(tag, b"NO", _TEXTS.get(error.imap, b"Refused"), error.imap.encode("ascii"))


def is_bad(error: MailError) -> bool:
    """Whether the command was not in the grammar: BAD; everything else is a NO with its code."""
    return isinstance(error, BadSyntax) and error.imap == "CLIENTBUG"


def failure(tag: bytes, error: MailError) -> bytes:
    """The tagged BAD or NO for `error`."""
    if not is_bad(error):
        return refusal(tag, error)
    text = str(error) if str(error).isascii() else "Command not understood"
    code = b"UIDREQUIRED" if isinstance(error, UidRequired) else b"CLIENTBUG"
    return tagged(tag, b"BAD", text.encode("ascii"), code)


def continuation(text: bytes = b"OK") -> bytes:
    """`+ text`; never without the space (GEN-06)."""
    return b"+ %b\r\n" % text


def quoted(octets: bytes, *, utf8: bool = False) -> bytes:
    """`octets` as quoted string, or as literal where a quoted one cannot be (9, QUOTED-CHAR).

    `utf8`: the client has enabled UTF-8 in quoted strings (RFC 6855 3, RFC 9051 4.3).
    """
    if any(octet in octets for octet in (b"\r", b"\n", b"\0")):
        return literal(octets)
    if not octets.isascii() and not utf8:
        return literal(octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def literal(octets: bytes, *, may_hold_nul: bool = False) -> bytes:
    """`{n}` CRLF octets; with a `~` before it when there is a NUL among them (RFC 3516 4.3)."""
    if may_hold_nul and b"\0" in octets:
        return b"~{%d}\r\n%b" % (len(octets), octets)
    return b"{%d}\r\n%b" % (len(octets), octets)


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name, quoted, in the spelling the client has chosen."""
    if utf8:
        return quoted(names.encode_utf8(name), utf8=True)
    return quoted(names.encode(name))


@lru_cache(maxsize=4096)
def flags(given: frozenset[str], *, recent: bool = False) -> bytes:
    """`flag-list` without parentheses, in a stable order."""
    return b" ".join(
        flag.encode("ascii", "replace")
        for flag in (*(["\\Recent"] if recent else []), *sorted(given))
    )


OLDER_RIGHTS = {"c": "kx", "d": "te"}
"""RFC 4314 2.1.1: what the letters of RFC 2086 stand for here."""


def rights(given: str) -> bytes:
    """Letters of RFC 4314 2.1, for older clients also those of RFC 2086 (2.1.1)."""
    older = (old for old, new in OLDER_RIGHTS.items() if any(right in given for right in new))
    return "".join((*given, *older)).encode("ascii") or b'""'


def listed(items: Iterable[bytes]) -> bytes:
    """`(a b c)`."""
    return b"(%b)" % b" ".join(items)
