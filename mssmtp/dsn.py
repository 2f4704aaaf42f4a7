"""Delivery status notifications as octets (RFC 3461, 3462, 3464; messages.md §5).

Text of a peer is data here: it never becomes a header, a field or a part (ATT-09, ATT-37).
A report is itself sent with a null reverse-path, so that it is never answered (RFC 3461 6.2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from mssmtp import local_time
from mssmtp.mail import Address, Domain, Recipient, ReversePath
from mssmtp.message.dates import render_date

FAILURE_SUBJECT = "Undelivered Mail Returned to Sender"
DELAYED_SUBJECT = "Delayed Mail (still being retried)"
SUCCESS_SUBJECT = "Successful Mail Delivery Report"
FULL_OCTETS = 1_048_576
"""RET=FULL returns the whole message up to this size; a larger one returns its header section."""

_LINE_OCTETS = 998  # RFC 5322 2.1.1, without CRLF
_DIAGNOSTIC_CHARACTERS = 1_000
_XTEXT = re.compile(r"\+([0-9A-F]{2})")

Action = Literal["failed", "delayed", "relayed", "delivered"]


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What became of one recipient.

    `status` is an enhanced code (RFC 3463); `diagnostic` the SMTP reply that decided, ours or the
    peer's, as it came; `remote_mta` the host that gave it, None when we decided ourselves.
    `support`: whom to call about the recipient's operator, as the whitelist has it (OP-80).
    """

    recipient: Recipient
    status: str
    diagnostic: str
    remote_mta: str | None = None
    support: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report is made of. `original` is the message, or at least its header section.

    `id` names the report itself (its Message-ID is `<id@domain>`); `envid` is the ENVID of
    RFC 3461 or our queue id; `domain` is the sender's domain here; `ret` is "FULL", "HDRS", None.
    """

    id: str
    host_name: Domain
    domain: Domain
    to: Address
    envid: str
    arrived_at: datetime
    now: datetime
    statuses: tuple[RecipientStatus, ...]
    original: bytes
    ret: str | None = None
    zone: tzinfo = UTC
    """The clock of who reads it."""

    def __post_init__(self) -> None:
        if not self.statuses:
            raise ValueError("a report without recipient")


def is_due(sender: ReversePath, recipient: Recipient, event: str) -> bool:
    """Whether the sender asked for a report of `event` (SUCCESS, FAILURE, DELAY).

    Never for a null sender, hence never for another report (RFC 5321 4.5.5, WT-38, ATT-44).
    Without NOTIFY: failures and delays (RFC 3461 4.1).
    """
    if sender is None:
        return False
    if recipient.notify is None:
        return event in ("FAILURE", "DELAY")
    return event in recipient.notify


def failure(report: Report) -> bytes:
    """The message that tells the sender which recipients will never get the letter (SEED-68)."""
    return _message(report, "failed", FAILURE_SUBJECT, _failure_text(report), None)


def delayed(report: Report, *, retry_until: datetime) -> bytes:
    """The message that tells the sender, once, that the letter still waits (OP-18)."""
    return _message(
        report, "delayed", DELAYED_SUBJECT, _delayed_text(report, retry_until), retry_until
    )


def relayed(report: Report) -> bytes:
    """The answer to NOTIFY=SUCCESS when the next operator makes no reports (RFC 3461 5.2.2)."""
    french = [
        "Votre message a été transmis à l'opérateur du destinataire, qui ne confirme pas",
        "la remise dans la boîte aux lettres :",
    ]
    english = [
        "Your message was handed to the recipient's operator, which does not confirm delivery to",
        "the mailbox:",
    ]
    return _success(report, "relayed", french, english)


def delivered(report: Report) -> bytes:
    """The answer to NOTIFY=SUCCESS for a box of ours (RFC 3461 5.2.3)."""
    french = ["Votre message a été remis dans la boîte aux lettres de :"]
    return _success(report, "delivered", french, ["Your message was delivered to the mailbox of:"])


def _success(report: Report, action: Action, french: list[str], english: list[str]) -> bytes:
    names = [f"  - {_shown(each)}" for each in report.statuses]
    lines = [*french, *names, "", _ENGLISH, "", *english, *names]
    return _message(report, action, SUCCESS_SUBJECT, lines, None)


# ---------------------------------------------------------------- the sentence a person reads


@dataclass(frozen=True, slots=True)
class _Cause:
    family: str
    sentence: str
    remedy: str
    english: str
    english_remedy: str


_ENGLISH = "--- English ---"
_WRONG = "adresse erronée"
_REFUSED = "refus du destinataire"
_TECHNICAL = "incident technique"

_CAUSES: tuple[tuple[str, _Cause], ...] = (
    (
        "5.1.",
        _Cause(
            _WRONG,
            "l'adresse est erronée ou inconnue de l'opérateur du destinataire",
            "Vérifiez l'adresse dans l'annuaire MSSanté, corrigez-la puis renvoyez le message.",
            "the address is wrong, or the recipient's operator does not know it",
            "Check the address in the MSSanté directory, correct it and send again.",
        ),
    ),
    (
        "5.2.1",
        _Cause(
            _REFUSED,
            "la boîte aux lettres est fermée ou suspendue",
            "Joignez le destinataire par un autre moyen et demandez-lui son adresse actuelle.",
            "the mailbox is closed or suspended",
            "Reach the recipient by other means and ask for the current address.",
        ),
    ),
    (
        "5.2.2",
        _Cause(
            _REFUSED,
            "la boîte aux lettres du destinataire est pleine",
            "Prévenez le destinataire, puis renvoyez le message plus tard.",
            "the recipient's mailbox is full",
            "Tell the recipient, then send again later.",
        ),
    ),
    (
        "5.3.4",
        _Cause(
            _REFUSED,
            "le message est trop volumineux pour l'opérateur du destinataire",
            "Réduisez les pièces jointes ou répartissez-les sur plusieurs messages.",
            "the message is too large for the recipient's operator",
            "Reduce the attachments, or send them in several messages.",
        ),
    ),
    (
        "5.7.1",
        _Cause(
            _REFUSED,
            "domaine absent de l'espace de confiance, ou expéditeur non autorisé",
            "Vérifiez que le destinataire a bien une adresse MSSanté et que vous pouvez lui "
            "écrire.",
            "the domain is not in the trust space, or the sender is not entitled",
            "Check that the recipient has an MSSanté address and that you may write to it.",
        ),
    ),
    (
        "5.7.30",
        _Cause(
            _REFUSED,
            "l'opérateur du destinataire ne promet pas le chiffrement exigé sur tout le trajet",
            "Renvoyez le message sans exiger le chiffrement de bout en bout du trajet.",
            "the recipient's operator does not promise the required TLS on the whole way",
            "Send the message again without requiring TLS.",
        ),
    ),
    (
        "5.7.",
        _Cause(
            _REFUSED,
            "le contenu du message a été refusé",
            "Retirez la pièce jointe en cause ou changez son format, puis renvoyez le message.",
            "the content of the message was refused",
            "Remove the attachment in question or change its format, then send again.",
        ),
    ),
    (
        "5.6.",
        _Cause(
            _REFUSED,
            "le contenu du message a été refusé",
            "Retirez la pièce jointe en cause ou changez son format, puis renvoyez le message.",
            "the content of the message was refused",
            "Remove the attachment in question or change its format, then send again.",
        ),
    ),
)
_UNREACHED = _Cause(
    _TECHNICAL,
    "l'opérateur du destinataire n'a pas pu être joint ou authentifié à temps",
    "Renvoyez le message ; si l'incident persiste, prévenez votre support informatique.",
    "the recipient's operator could not be reached or authenticated in time",
    "Send again; if it lasts, tell your IT support.",
)
_OTHER_REFUSAL = _Cause(
    _REFUSED,
    "l'opérateur du destinataire a refusé le message",
    "Lisez sa réponse ci-dessous ; en cas de doute, prévenez votre support informatique.",
    "the recipient's operator refused the message",
    "Read its answer below; in doubt, tell your IT support.",
)


def _cause(status: str) -> _Cause:
    """The plain family of messages.md §5."""
    for prefix, cause in _CAUSES:
        if status == prefix or (prefix.endswith(".") and status.startswith(prefix)):
            return cause
    if status.startswith("5.4.") or not status.startswith("5."):
        return _UNREACHED
    return _OTHER_REFUSAL


def _shown(status: RecipientStatus) -> str:
    """The address as the sender wrote it (APX-04: he would not recognise a rewritten one)."""
    return str(status.recipient.typed or status.recipient.address)


def _failure_text(report: Report) -> list[str]:
    lines: list[str] = []
    for cause, statuses in _by_cause(report.statuses):
        if len(statuses) == 1:
            lines.append(f"Votre message n'a pas pu être remis à {_shown(statuses[0])} :")
        else:
            lines.append("Votre message n'a pas pu être remis à :")
            lines += [f"  - {_shown(each)}" for each in statuses]
        lines += [f"{cause.sentence}.", f"({cause.family})", "", cause.remedy, ""]
    lines += [_ENGLISH, ""]
    for cause, statuses in _by_cause(report.statuses):
        lines.append("Your message could not be delivered to:")
        lines += [f"  - {_shown(each)}" for each in statuses]
        lines += [f"{cause.english}.", cause.english_remedy, ""]
    return [*lines, *_contacts(report.statuses), *_replies(report.statuses)]


def _delayed_text(report: Report, retry_until: datetime) -> list[str]:
    return [
        "Votre message n'a pas encore pu être remis à :",
        *(f"  - {_shown(each)}" for each in report.statuses),
        "",
        "Vous n'avez rien à faire : les essais continuent jusqu'au "
        f"{local_time.moment(retry_until, report.zone)}.",
        "Si l'envoi est urgent, joignez le destinataire par un autre moyen.",
        "",
        _ENGLISH,
        "",
        "Your message could not be delivered yet. There is nothing for you to do: attempts go on",
        f"until {local_time.moment(retry_until, report.zone, 'en')}. If it is urgent, reach the"
        " recipient by other means.",
        "",
        *_contacts(report.statuses),
        *_replies(report.statuses),
    ]


def _by_cause(
    statuses: Iterable[RecipientStatus],
) -> list[tuple[_Cause, list[RecipientStatus]]]:
    groups: dict[_Cause, list[RecipientStatus]] = {}
    for each in statuses:
        groups.setdefault(_cause(each.status), []).append(each)
    return list(groups.items())


def _contacts(statuses: Iterable[RecipientStatus]) -> list[str]:
    """Whom to call, once for each operator (OP-80)."""
    found = dict.fromkeys(each.support for each in statuses if each.support)
    lines = [
        f"Support de l'opérateur du destinataire (recipient's operator) : {_readable(each)}"
        for each in found
    ]
    return [*lines, ""] if lines else []


def _replies(statuses: Iterable[RecipientStatus]) -> list[str]:
    """The peers' own words, for the support desk; quoted, one line each."""
    lines = ["Détail technique (technical detail) :"]
    for each in statuses:
        host = f" ({_readable(each.remote_mta)})" if each.remote_mta else ""
        lines.append(f"  {_shown(each)}{host} : {_readable(each.diagnostic)}")
    return lines


# ---------------------------------------------------------------- octets


def _message(
    report: Report,
    action: Action,
    subject: str,
    text: list[str],
    retry_until: datetime | None,
) -> bytes:
    explanation = _wrapped(text)
    fields = _status_fields(report, action, retry_until)
    kind, original = _returned(report, action)
    original_is_8bit = not original.isascii()
    boundary = _boundary(report.id, (explanation, fields, original))
    head = [
        f"From: MAILER-DAEMON@{report.domain} (Mail Delivery System)",
        f"To: {report.to}",
        f"Date: {render_date(report.now.astimezone(UTC))}",
        f"Message-ID: <{_token(report.id)}@{report.domain}>",
        f"Subject: {subject}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "Content-Transfer-Encoding: 8bit",
    ]
    encoding = "Content-Transfer-Encoding: 8bit\r\n" if original_is_8bit else ""
    delimiter = f"\r\n--{boundary}\r\n".encode()
    return b"".join(
        (
            "\r\n".join(head).encode("ascii"),
            b"\r\n" + delimiter,
            b'Content-Type: text/plain; charset="UTF-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n',
            explanation,
            delimiter,
            b"Content-Type: message/delivery-status\r\n\r\n",
            fields,
            delimiter,
            f"Content-Type: {kind}\r\n{encoding}\r\n".encode(),
            original,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _status_fields(report: Report, action: Action, retry_until: datetime | None) -> bytes:
    """The message/delivery-status part (RFC 3464 2.1): one group, then one per recipient."""
    lines = [
        f"Reporting-MTA: dns; {report.host_name}",
        f"Original-Envelope-Id: {_token(_from_xtext(report.envid))}",
        f"Arrival-Date: {render_date(report.arrived_at.astimezone(UTC))}",
    ]
    for each in report.statuses:
        recipient = each.recipient
        lines += [
            "",
            f"Final-Recipient: rfc822; {recipient.address}",
            f"Original-Recipient: {_original_recipient(recipient)}",
            f"Action: {action}",
            f"Status: {each.status}",
        ]
        if each.remote_mta:
            lines.append(f"Remote-MTA: dns; {_token(each.remote_mta)}")
        if each.diagnostic:
            lines.append(f"Diagnostic-Code: smtp; {_plain(each.diagnostic)}")
        if retry_until is not None:
            lines.append(f"Will-Retry-Until: {render_date(retry_until.astimezone(UTC))}")
    return "".join(f"{_folded(line)}\r\n" for line in lines).encode("ascii")


def _original_recipient(recipient: Recipient) -> str:
    if recipient.orcpt:
        kind, _, value = _plain(_from_xtext(recipient.orcpt)).partition(";")
        if value:
            return f"{kind.strip()}; {value.strip()}"
    return f"rfc822; {recipient.typed or recipient.address}"


def _returned(report: Report, action: Action) -> tuple[str, bytes]:
    """Media type and octets of the third part (RFC 3462 2); of a letter that did not fail only the
    header section, whatever was wished (RFC 3461 4.3).

    A message/rfc822 part must not be encoded (RFC 2046 5.2.1), so a message that is not made of
    lines of at most 998 octets is returned by its header section only.
    """
    message = report.original
    is_whole = report.ret == "FULL" and action == "failed"
    if is_whole and len(message) <= FULL_OCTETS and _is_transparent(message):
        return "message/rfc822", message
    header, _, _ = message.partition(b"\r\n\r\n")
    return "text/rfc822-headers", _safe_header(header)


def _is_transparent(octets: bytes) -> bool:
    lines = octets.split(b"\r\n")
    return all(
        len(line) <= _LINE_OCTETS and b"\r" not in line and b"\n" not in line and b"\0" not in line
        for line in lines
    )


def _safe_header(header: bytes) -> bytes:
    """`header` with lines of at most 998 octets and no bare CR, LF or NUL."""
    out: list[bytes] = []
    for line in header.split(b"\r\n"):
        clean = line.translate(None, b"\r\n\0")
        out.append(clean[:_LINE_OCTETS])
        rest = clean[_LINE_OCTETS:]
        step = _LINE_OCTETS - 1
        out += [b" " + rest[i : i + step] for i in range(0, len(rest), step)]
    return b"\r\n".join(out) + b"\r\n"


def _boundary(report_id: str, parts: tuple[bytes, ...]) -> str:
    """A boundary that stands in no part: the returned message is not ours to trust."""
    number = 0
    while True:
        boundary = f"=_{_token(report_id)}_{number}"
        if not any(boundary.encode() in part for part in parts):
            return boundary
        number += 1


def _readable(text: str) -> str:
    """Peer text on one line of Unicode without controls, bounded."""
    octets = text.encode("utf-8", "surrogateescape")
    known = octets.decode("utf-8", "replace")
    visible = "".join(" " if c.isspace() else c for c in known if c.isspace() or _is_visible(c))
    return " ".join(visible.split())[:_DIAGNOSTIC_CHARACTERS]


def _is_visible(character: str) -> bool:
    # Bidirectional and zero-width marks (Cf) would let a peer rewrite what the reader sees.
    return not unicodedata.category(character).startswith("C")


def _plain(text: str) -> str:
    """`_readable` in printable ASCII: RFC 3464 fields are 7-bit. Accents are dropped, not lost."""
    spread = unicodedata.normalize("NFKD", _readable(text))
    bare = "".join(c for c in spread if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in bare)


def _token(text: str) -> str:
    """`_plain` without spaces, quotes and angle brackets, for ids and host names."""
    kept = "".join(c for c in _plain(text) if c not in ' "<>\\()')
    return kept[:255] or "unknown"


def _from_xtext(text: str) -> str:
    """RFC 3461 4: `+HH` is one octet."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)


def _folded(line: str) -> str:
    """RFC 5322 2.2.3 folding; a word longer than a row is cut, for no line may exceed 998."""
    return "\r\n ".join(_rows(line, 76))


def _wrapped(lines: Iterable[str]) -> bytes:
    """Paragraph lines as UTF-8, wrapped to 78 columns (RFC 5322 2.1.1)."""
    rows = [row for line in lines for row in _rows(line, 78)]
    return ("\r\n".join(rows) + "\r\n").encode("utf-8")


def _rows(line: str, width: int) -> list[str]:
    rows: list[str] = []
    while len(line) > width:
        indent = len(line) - len(line.lstrip(" "))
        cut = line.rfind(" ", indent + 1, width + 1)
        if cut < 0:
            rows.append(line[:width])
            line = line[width:]
        else:
            rows.append(line[:cut])
            line = line[cut + 1 :]
    return [*rows, line]
