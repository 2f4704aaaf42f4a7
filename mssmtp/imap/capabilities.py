"""What a session announces, and what it may switch on (RFC 3501 6.1.1, RFC 5161; extensions.md).

A name stands here only when its tests pass: everything announced can be relied upon.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

ALWAYS = ("IMAP4rev1", "IMAP4rev2", "SASL-IR", "ID", "ENABLE", "IDLE")
BEFORE_TLS = ("LITERAL-", "STARTTLS", "LOGINDISABLED")
"""OP-81."""
AFTER_LOGIN = (
    "LITERAL+",
    "UIDPLUS",
    "MOVE",
    "NAMESPACE",
    "ACL",
    "RIGHTS=texk",
    "LIST-MYRIGHTS",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "XLIST",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "UNSELECT",
    "ESEARCH",
    "SEARCHRES",
    "PARTIAL",
    "WITHIN",
    "SAVEDATE",
    "OBJECTID",
    "INPROGRESS",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "BINARY",
    "MULTIAPPEND",
    "CATENATE",
    "REPLACE",
    "PREVIEW",
    "CONDSTORE",
    "UTF8=ACCEPT",
    "METADATA",
    "LIST-METADATA",
    "QRESYNC",
    "UIDONLY",
    "UIDBATCHES",
    "NOTIFY",
)


def before_login(mechanisms: Collection[str]) -> list[str]:
    """For a stranger under TLS. Where no password is taken LOGIN is not either (RFC 3501 6.2.3).

    LITERAL- bounds what a stranger sends unasked; LITERAL+ is for who has logged in (RFC 7888
    forbids to announce both at once).
    """
    closed = [] if takes_passwords(mechanisms) else ["LOGINDISABLED"]
    return ["LITERAL-", *(f"AUTH={name}" for name in mechanisms), *closed]


def takes_passwords(mechanisms: Collection[str]) -> bool:
    """Whether LOGIN, which is SASL PLAIN by another name, is taken."""
    return "PLAIN" in mechanisms


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the client has switched on: nothing newer than IMAP4rev1 is told before.

    `utf8`: names and quoted strings may hold UTF-8. `modseqs`: changes are told with MODSEQ (RFC
    7162 3.1). `vanished`: VANISHED takes the place of EXPUNGE (3.2.10). `uids_only`: no sequence
    number is said or taken (RFC 9586).
    """

    rev2: bool = False
    utf8: bool = False
    modseqs: bool = False
    vanished: bool = False
    uids_only: bool = False


ENABLES: Mapping[str, Mapping[str, bool]] = {
    "CONDSTORE": {"modseqs": True},
    "QRESYNC": {"modseqs": True, "vanished": True},
    "UIDONLY": {"uids_only": True},
    "IMAP4REV2": {"rev2": True, "utf8": True},
    "UTF8=ACCEPT": {"utf8": True},
}
"""What ENABLE takes, in capitals, and what it switches on."""


def enabled(dialect: Dialect, name: str) -> Dialect:
    """`dialect` with the extension `name` switched on. Raises KeyError for one that is not here."""
    return replace(dialect, **ENABLES[name])
