"""Reports that come back: what a DSN, an MDN or a notice of Mon espace santé says of a letter sent.

RFC 3464, RFC 8098, messages.md §4, §5 and §9. Read leniently, because many programs write them, and
with bounds, because anybody of the trust space can send one (ATT-07, ATT-44). Who may be believed
is not decided here: `storage` and the doors know who brought it, and whose letter it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mssmtp.errors import BadAddress
from mssmtp.mail import Address
from mssmtp.message import headers
from mssmtp.message.decode import decode_words, fold, text_of
from mssmtp.message.headers import BadFrom
from mssmtp.message.scanner import Scan, ScanLimits, Scanner
from mssmtp.message.transfer import decoded
from mssmtp.message.tree import Part, TooComplex

READ_OCTETS = 131_072
"""As much of a report is looked at: its two first parts and the header of what it returns."""

_LIMITS = ScanLimits(header_octets=READ_OCTETS, mime_depth=10, mime_parts=50)
_MOST_TOLD = 100
_MOST_IDS = 10
_TEXT_OCTETS = 8_192
_SHOWN = 500
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_DISPOSITION = re.compile(r"[^;]*;\s*([A-Za-z-]+)\s*(?:/\s*([A-Za-z-]*))?")
_IDENTIFIER = re.compile(r"<\s*([^<>\s@]{1,200}@[^<>\s@]{1,200})\s*>")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}")
_DELIVERY = frozenset({"message/delivery-status", "message/global-delivery-status"})
_DISPOSED = frozenset(
    {"message/disposition-notification", "message/global-disposition-notification"}
)
_RETURNED = frozenset({"text/rfc822-headers", "message/rfc822", "message/global-headers"})


class Fate(StrEnum):
    """What became of a letter for one recipient: the actions of RFC 3464, then the dispositions
    of RFC 8098; `ERROR` is `processed/error`, of software that could not file it."""

    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DELAYED = "delayed"
    FAILED = "failed"
    PROCESSED = "processed"
    DISPATCHED = "dispatched"
    DISPLAYED = "displayed"
    DELETED = "deleted"
    ERROR = "error"


class Cause(StrEnum):
    """Why it failed, as it is counted and explained. Of patients: SEED-78, OP-93."""

    NONE = ""
    ADDRESS = "address"
    CLOSED = "closed"
    FULL = "full"
    TOO_LARGE = "too-large"
    UNTRUSTED = "untrusted"
    CONTENT = "content"
    UNREACHED = "unreached"
    REFUSED = "refused"
    INTEGRATION = "integration"
    PATIENT_NOT_ACTIVATED = "patient-not-activated"
    PATIENT_CLOSED = "patient-closed"
    PATIENT_NOT_FOUND = "patient-not-found"
    PATIENT_INVALID = "patient-invalid"
    PATIENT_TOO_LARGE = "patient-too-large"
    PATIENT_OTHER = "patient-other"


SENTENCES: dict[Cause, str] = {
    Cause.NONE: "",
    Cause.ADDRESS: "l'adresse est erronée ou inconnue de l'opérateur du destinataire",
    Cause.CLOSED: "la boîte aux lettres du destinataire est fermée ou suspendue",
    Cause.FULL: "la boîte aux lettres du destinataire est pleine",
    Cause.TOO_LARGE: "le message est trop volumineux pour l'opérateur du destinataire",
    Cause.UNTRUSTED: "le domaine ou l'expéditeur n'est pas admis dans l'espace de confiance",
    Cause.CONTENT: "le contenu du message a été refusé par l'opérateur du destinataire",
    Cause.UNREACHED: "l'opérateur du destinataire n'a pas pu être joint à temps",
    Cause.REFUSED: "l'opérateur du destinataire a refusé le message",
    Cause.INTEGRATION: "le logiciel du destinataire n'a pas pu intégrer le document",
    Cause.PATIENT_NOT_ACTIVATED: (
        "le patient n'a pas activé Mon espace santé : il ne peut pas encore recevoir de message"
    ),
    Cause.PATIENT_CLOSED: "le patient a fermé sa messagerie Mon espace santé",
    Cause.PATIENT_NOT_FOUND: "aucun patient n'a cette adresse : vérifiez l'INS du dossier",
    Cause.PATIENT_INVALID: "l'adresse du patient est mal formée : vérifiez l'INS du dossier",
    Cause.PATIENT_TOO_LARGE: (
        "le message dépasse 25 Mo, le plus que Mon espace santé accepte : allégez-le"
    ),
    Cause.PATIENT_OTHER: "Mon espace santé n'a pas remis le message et n'en dit pas la raison",
}
"""One plain sentence each, in the place of `{}` of the sentence of `Fate.FAILED`."""

_FATES: dict[Fate, str] = {
    Fate.DELIVERED: "Remis dans la boîte aux lettres.",
    Fate.RELAYED: "Transmis à l'opérateur du destinataire, qui ne confirme pas la remise.",
    Fate.EXPANDED: "Remis à une liste, qui le distribue à ses membres.",
    Fate.DELAYED: "Pas encore remis ; les essais continuent.",
    Fate.FAILED: "Pas remis : {}.",
    Fate.PROCESSED: "Relevé par le logiciel du destinataire ; personne ne l'a encore affiché.",
    Fate.DISPATCHED: "Relevé par le destinataire, qui l'a transféré ou imprimé.",
    Fate.DISPLAYED: "Lu par le destinataire.",
    Fate.DELETED: "Supprimé par le destinataire, peut-être sans avoir été lu.",
    Fate.ERROR: "Remis, mais {}.",
}


def sentence(fate: Fate, cause: Cause) -> str:
    """What a receptionist reads."""
    shown = SENTENCES[cause] or SENTENCES[Cause.REFUSED]
    return _FATES[fate].format(shown)


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of one recipient. `final` is whom it reached, `original` whom it was for,
    as far as they can be read; `detail` is the peer's own reason, one line, bounded."""

    fate: Fate
    final: Address | None = None
    original: Address | None = None
    cause: Cause = Cause.NONE
    status: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report. `envid` and `message_ids` say of which letter, the surest first."""

    kind: Literal["dsn", "mdn", "patient"]
    told: tuple[Told, ...]
    envid: str = ""
    message_ids: tuple[str, ...] = ()


def may_be_report(header: bytes, patient_domains: Collection[str]) -> bool:
    """By the header section alone: whether the rest is worth keeping for `read`."""
    kind = b"".join(headers.values(header, "content-type")).lower()
    return b"multipart/" in kind and b"report" in kind or _is_of_patients(header, patient_domains)


def read(octets: bytes, patient_domains: Collection[str]) -> Report | None:
    """The report that begins with `octets`; None when it is none.

    A report inside a message, one that somebody forwards, is none: only the parts of the message
    itself are looked at. `octets` may end anywhere behind the header.
    """
    scanner = Scanner(_LIMITS)
    try:
        scanner.feed(octets)
        scan = scanner.close()
    except TooComplex:
        return None
    parts = tuple(_own_parts(scan.root))
    if _is_of_patients(scan.header, patient_domains):
        return _of_patients(octets, scan, parts)
    for part in parts:
        if part.full_type in _DELIVERY:
            return _delivery(octets, scan, part, parts)
        if part.full_type in _DISPOSED:
            return _disposition(octets, part, parts)
    return None


def _own_parts(root: Part) -> Iterator[Part]:
    """Leaves and returned messages, not what is inside these."""
    waiting = [root]
    while waiting:
        part = waiting.pop(0)
        if part.is_multipart:
            waiting += part.children
        else:
            yield part


# ---------------------------------------------------------------- RFC 3464


def _delivery(octets: bytes, scan: Scan, part: Part, parts: tuple[Part, ...]) -> Report | None:
    groups = _groups(_body(octets, part))
    if not groups:
        return None
    told = tuple(filter(None, map(_recipient, groups[1 : _MOST_TOLD + 1])))
    envid = _first(groups[0], "original-envelope-id")
    return Report("dsn", told, envid, _message_ids(octets, parts, scan.header)) if told else None


def _recipient(group: bytes) -> Told | None:
    action = _first(group, "action").strip().lower()
    if action not in ("delivered", "relayed", "expanded", "delayed", "failed"):
        return None
    fate, status = Fate(action), _first(group, "status")
    found = _STATUS.search(status)
    status = found[0] if found else ""
    detail = _first(group, "diagnostic-code").partition(";")[2].strip() or status
    cause = cause_of(status) if fate is Fate.FAILED else Cause.NONE
    return Told(fate, *_both_recipients(group), cause, status, detail[:_SHOWN])


_BY_STATUS = (
    ("5.1.", Cause.ADDRESS),
    ("5.2.1", Cause.CLOSED),
    ("5.2.2", Cause.FULL),
    ("5.2.3", Cause.TOO_LARGE),
    ("5.3.4", Cause.TOO_LARGE),
    ("5.4.", Cause.UNREACHED),
    ("5.6.", Cause.CONTENT),
    ("5.7.1", Cause.UNTRUSTED),
    ("5.7.", Cause.CONTENT),
    ("5.", Cause.REFUSED),
)


def cause_of(status: str) -> Cause:
    """The cause of a failure by its enhanced code (messages.md §5)."""
    for prefix, cause in _BY_STATUS:
        if status == prefix or (prefix.endswith(".") and status.startswith(prefix)):
            return cause
    return Cause.UNREACHED if status.startswith("4.") else Cause.REFUSED


def cause_in(reply: str) -> Cause:
    """The cause that an SMTP reply, a peer's or ours, gives by its enhanced code."""
    found = _STATUS.search(reply[:40])
    return cause_of(found[0]) if found else Cause.REFUSED


# ---------------------------------------------------------------- RFC 8098


_BY_DISPOSITION = {
    "displayed": Fate.DISPLAYED,
    "processed": Fate.PROCESSED,
    "dispatched": Fate.DISPATCHED,
    "deleted": Fate.DELETED,
}


def _disposition(octets: bytes, part: Part, parts: tuple[Part, ...]) -> Report | None:
    group = b"\n".join(_groups(_body(octets, part)))
    found = _DISPOSITION.match(_first(group, "disposition"))
    fate = _BY_DISPOSITION.get(found[1].lower()) if found else None
    if found is None or fate is None:
        return None
    detail, cause = _first(group, "error"), Cause.NONE
    if (found[2] or "").lower() in ("error", "failed"):
        fate, cause = Fate.ERROR, Cause.INTEGRATION
        detail = detail or _first(group, "disposition").partition("/")[2]
    told = Told(fate, *_both_recipients(group), cause, "", detail[:_SHOWN])
    named = _identifiers(_first(group, "original-message-id"))
    return Report("mdn", (told,), "", tuple(dict.fromkeys((*named, *_returned_id(octets, parts)))))


# ---------------------------------------------------------------- Mon espace santé


_PATIENT_WORDS = tuple(
    (cause, re.compile(rf"\b(?:{words})"))
    for cause, words in (
        (Cause.PATIENT_NOT_ACTIVATED, r"(pas|non)( ete| encore)* active|not (been )?activated"),
        (Cause.PATIENT_TOO_LARGE, r"volumineu|taille\b|25 mo\b|too (large|big)|exceeds|size limit"),
        (Cause.PATIENT_CLOSED, r"fermee?s?\b|clotur|desactive|plus active|closed|disabled"),
        (Cause.PATIENT_INVALID, r"invalid|incorrecte?\b|mal ?formee?|bad address|syntax"),
        (
            Cause.PATIENT_NOT_FOUND,
            r"introuvable|inconnu|existe pas|(pas|non) (ete )?trouve|aucun patient|not found"
            r"|unknown|does not exist|no such",
        ),
    )
)
"""Folded. Mon espace santé publishes no list of its texts: the first cause that a word tells."""
_PATIENT_STATUS = {
    "5.1.3": Cause.PATIENT_INVALID,
    "5.2.1": Cause.PATIENT_CLOSED,
    "5.2.3": Cause.PATIENT_TOO_LARGE,
    "5.3.4": Cause.PATIENT_TOO_LARGE,
    "5.1.1": Cause.PATIENT_NOT_FOUND,
    "5.1.10": Cause.PATIENT_NOT_FOUND,
}


def _is_of_patients(header: bytes, domains: Collection[str]) -> bool:
    try:
        found = headers.from_addresses(header)
    except BadFrom:
        return False
    return any(one.local.lower() == "mailer-daemon" and one.domain in domains for one in found)


def _of_patients(octets: bytes, scan: Scan, parts: tuple[Part, ...]) -> Report | None:
    """SEED-79: a notice that a letter to a patient was not delivered, with or without RFC 3464."""
    status = next((part for part in parts if part.full_type in _DELIVERY), None)
    formal = _delivery(octets, scan, status, parts) if status is not None else None
    text = "\n".join(_texts(octets, parts))
    ids = _message_ids(octets, parts, scan.header)
    named = tuple(dict.fromkeys((*ids, *_identifiers(text))))[:_MOST_IDS]
    if formal is not None:
        told = tuple(_explained(one, text) for one in formal.told)
        return Report("patient", told, formal.envid, named)
    shown = decode_words(b" ".join(headers.values(scan.header, "subject")))
    # Whom it is about: a patient's address in it, else whoever of the letter is a patient.
    domain = headers.from_addresses(scan.header)[0].domain
    found = [address for address in _addresses(text) if address.domain == domain]
    about = [one for one in found if one.local.lower() != "mailer-daemon"][:_MOST_TOLD]
    failed = Told(Fate.FAILED, None, None, Cause.NONE, "", _line(text))
    told = tuple(
        _explained(Told(Fate.FAILED, one, None, Cause.NONE, "", failed.detail), f"{shown}\n{text}")
        for one in dict.fromkeys(about)
    ) or (_explained(failed, f"{shown}\n{text}"),)
    return Report("patient", told, "", named)


def _explained(told: Told, text: str) -> Told:
    if told.fate is not Fate.FAILED:
        return told
    folded = fold(f"{told.detail}\n{text}")
    said = (cause for cause, words in _PATIENT_WORDS if words.search(folded))
    cause = next(said, _PATIENT_STATUS.get(told.status, Cause.PATIENT_OTHER))
    return Told(told.fate, told.final, told.original, cause, told.status, told.detail)


def _texts(octets: bytes, parts: tuple[Part, ...]) -> Iterator[str]:
    """What a person reads of it: the text before anything that is returned."""
    for part in parts:
        if part.full_type in _RETURNED:
            return
        if part.media_type == "text":
            body = octets[part.body_start : min(part.body_end, part.body_start + _TEXT_OCTETS)]
            yield text_of(part, body)


# ---------------------------------------------------------------- reading


def _body(octets: bytes, part: Part) -> bytes:
    return decoded(part.encoding, octets[part.body_start : part.body_end])


def _groups(body: bytes) -> list[bytes]:
    """Groups of fields, which empty lines part (RFC 3464 2.1)."""
    lines = body.replace(b"\r\n", b"\n")
    return [group for group in re.split(rb"\n(?:[ \t]*\n)+", lines.strip(b"\n")) if group]


def _first(group: bytes, name: str) -> str:
    """The first field of that name on one line of text; "" when there is none."""
    found = headers.values(group, name)
    return _line(decode_words(found[0])) if found else ""


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN]


def _both_recipients(group: bytes) -> tuple[Address | None, Address | None]:
    final = _first(group, "final-recipient").rpartition(";")[2]
    original = _first(group, "original-recipient").rpartition(";")[2]
    return next(_addresses(final), None), next(_addresses(original), None)


def _addresses(text: str) -> Iterator[Address]:
    """Every address that can be read in `text`."""
    for found in _ADDRESS.finditer(text):
        try:
            yield Address.parse(found[0].rstrip("."))
        except BadAddress:
            continue


def _message_ids(octets: bytes, parts: tuple[Part, ...], header: bytes) -> tuple[str, ...]:
    """What may name the letter: the Message-ID returned with it, then what it answers to."""
    named = headers.values(header, "in-reply-to") + headers.values(header, "references")
    answered = _identifiers(b" ".join(named).decode("ascii", "replace"))
    return tuple(dict.fromkeys((*_returned_id(octets, parts), *answered)))[:_MOST_IDS]


def _identifiers(text: str) -> Iterator[str]:
    """Message-IDs with their brackets; some programs put spaces inside."""
    return (f"<{found[1]}>" for found in _IDENTIFIER.finditer(text))


def _returned_id(octets: bytes, parts: tuple[Part, ...]) -> tuple[str, ...]:
    for part in parts:
        if part.full_type in _RETURNED:
            found = headers.message_id(_body(octets, part))
            return (found,) if found else ()
    return ()
