"""Automatic replies (RFC 3834, RFC 5230): whether one is due, and its octets. DEF-13, ATT-44.

Whether somebody was answered lately, and whether the policy lets the box write to him, is the
caller's to know.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssmtp.errors import BadAddress
from mssmtp.mail import Address
from mssmtp.message.dates import render_date
from mssmtp.message.encode import encode_8bit
from mssmtp.message.headers import field_name, fields, message_id
from mssmtp.sieve.letter import Letter, mailboxes_of, shown, spelled
from mssmtp.sieve.outcome import Reply

AT_LEAST = timedelta(days=4)
"""DEF-13: nobody is answered twice within so long."""
AT_MOST = timedelta(days=30)
USUALLY = timedelta(days=7)
MAX_SUBJECT = 200
MAX_REFERENCES = 20
_ASKED = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")
"""RFC 5230 4.5: the box has to be named in one of these."""
_ROBOTS = frozenset(
    (
        *("mailer-daemon", "postmaster", "majordomo", "listserv", "noreply", "no-reply"),
        *("ne-pas-repondre", "nepasrepondre", "bounce", "bounces"),
    )
)
_BULK = frozenset(("bulk", "list", "junk"))
_REPORTS = frozenset(
    (
        *("multipart/report", "message/delivery-status", "message/global-delivery-status"),
        *("message/disposition-notification", "message/global-disposition-notification"),
    )
)
_FAILED_INTEGRATION = ("[ko intégration", "[erreur d'intégration")
"""What software says of a letter it could not take in (messages.md §4)."""
_CONTENT = frozenset(
    (
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
        *("content-language", "content-description", "content-id"),
    )
)


def is_due(letter: Letter, reply: Reply, own: tuple[Address, ...]) -> bool:
    """Is this a letter from a person to the box itself?

    `own`: the addresses of the box. Never for a null reverse-path, lists, reports, receipts or
    what another machine wrote (RFC 3834 2, DEF-13).
    """
    sender = letter.sender
    if sender is None or sender in own or _is_robot(sender):
        return False
    return not _is_automatic(letter) and _names_box(letter, (*own, *_given(reply)))


def pause(reply: Reply) -> timedelta:
    """How long the sender is not answered again (RFC 5230 4.1)."""
    wanted = USUALLY if reply.days is None else timedelta(days=min(reply.days, AT_MOST.days))
    return max(AT_LEAST, wanted)


def _is_robot(sender: Address) -> bool:
    local = sender.local.lower()
    return local in _ROBOTS or local.startswith("owner-") or local.endswith("-request")


def _is_automatic(letter: Letter) -> bool:
    names = {field.name for field in letter.fields}
    if any(name.startswith("list-") for name in names) or "return-receipt-to" in names:
        return True
    if any(_word(value) != "no" for value in letter.values("auto-submitted")):
        return True
    if any(_word(value) in _BULK for value in letter.values("precedence")):
        return True
    suppressed = " ".join(letter.values("x-auto-response-suppress")).lower()
    if any(word in suppressed for word in ("all", "oof", "autoreply")):
        return True
    if any(s.lower().startswith(_FAILED_INTEGRATION) for s in letter.values("subject")):
        return True
    return any(_word(value) in _REPORTS for value in letter.values("content-type"))


def _word(value: str) -> str:
    return value.partition(";")[0].partition("(")[0].strip().lower()


def _given(reply: Reply) -> tuple[Address, ...]:
    found = []
    for text in reply.addresses:
        try:
            found.append(Address.parse(text))
        except BadAddress:
            continue
    return tuple(found)


def _names_box(letter: Letter, own: tuple[Address, ...]) -> bool:
    wanted = {address.key for address in own}
    for name in _ASKED:
        for mailbox in mailboxes_of(letter.fields, name):
            host = mailbox.domain.decode("ascii", "replace")
            if f"{spelled(mailbox.local)}@{host}".lower() in wanted:
                return True
    return False


# ---------------------------------------------------------------- the letter


@dataclass(frozen=True, slots=True)
class Written:
    """What the caller knows of the reply: `id` makes its Message-ID."""

    id: str
    author: Address
    to: Address
    now: datetime


def render(written: Written, letter: Letter, reply: Reply) -> bytes:
    """The reply (RFC 5230 5). Text of the script or the letter never becomes a field (ATT-09)."""
    header = letter.scan.header
    head = [
        f"From: <{written.author}>",
        f"To: <{written.to}>",
        f"Date: {render_date(written.now)}",
        f"Message-ID: <{written.id}@{written.author.domain}>",
        "Auto-Submitted: auto-replied",
        *thread(header),
    ]
    first = "\r\n".join(head).encode("ascii") + b"\r\nSubject: " + _subject(letter, reply)
    content = _entity(reply.reason) if reply.is_mime else None
    return first + b"\r\n" + (content or text_entity(reply.reason))


def _subject(letter: Letter, reply: Reply) -> bytes:
    """RFC 5230 5.4: as the script says, or « Auto: » and that of the letter."""
    said = reply.subject
    if said is None:
        before = (shown(letter.fields, "subject") or [""])[0]
        said = f"Auto: {before}"
    clean = "".join(each if each.isprintable() else " " for each in said)[:MAX_SUBJECT]
    # A word at a time: RFC 2047 words stay below 75 octets, and lines below 998.
    return encode_8bit(clean.encode("utf-8", "replace"))


def thread(header: bytes) -> list[str]:
    """In-Reply-To and References (RFC 5322 3.6.4, RFC 5230 5.5)."""
    answered = message_id(header)
    if answered is None:
        return []
    before = [
        word.decode("ascii")
        for field in fields(header)
        if field.name == "references" and field.value.isascii()
        for word in field.value.split()
        if word.startswith(b"<") and word.endswith(b">") and len(word) <= 250
    ]
    thread = [*before[-MAX_REFERENCES:], answered]
    return [f"In-Reply-To: {answered}", "References: " + "\r\n ".join(dict.fromkeys(thread))]


def text_entity(text: str) -> bytes:
    """Plain text as an entity: its fields, an empty line, quoted-printable."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    body = "\r\n".join(_quoted(line) for line in lines)
    return (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + body.encode("ascii") + b"\r\n"
    )


def _quoted(line: str) -> str:
    octets = binascii.b2a_qp(line.encode("utf-8", "replace"), istext=False)
    return octets.replace(b"=\n", b"=\r\n").decode("ascii")


def _entity(text: str) -> bytes | None:
    """A MIME entity as the script has it (RFC 5230 4.7); None when it is none: any other field in
    it could change who seems to write, and to whom."""
    octets = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode()
    header, empty, body = octets.partition(b"\r\n\r\n")
    if not empty or not octets.isascii():
        return None
    for line in header.split(b"\r\n"):
        name = None if line[:1] in (b" ", b"\t") else field_name(line)
        if name is None and line[:1] not in (b" ", b"\t"):
            return None
        if name is not None and name.decode("ascii").lower() not in _CONTENT:
            return None
    has_version = any(line.lower().startswith(b"mime-version") for line in header.split(b"\r\n"))
    first = b"" if has_version else b"MIME-Version: 1.0\r\n"
    return first + header + b"\r\n\r\n" + body.rstrip(b"\r\n") + b"\r\n"
