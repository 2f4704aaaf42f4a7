"""docs/errors.md: every refusal the code can give, with what it means and what to do.

    python -m tools.error_catalogue            write it
    python -m tools.error_catalogue --check    fail when it is out of date or a refusal has no entry

Sources: the catalogues of `smtp` and `policy`, the tables of `pki` and `trust`, the replies carried
by error classes, the response codes of `imap`. Every 4yz and 5yz `Reply(…)` written anywhere in the
code has to be in one of them.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import mssmtp
from mssmtp.errors import MailError, Reply

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "errors.md"
PACKAGE = ROOT / "mssmtp"

_FIRST_SENTENCE = re.compile(r"(?<=\.) ")


@dataclass(frozen=True, slots=True)
class Entry:
    """One SMTP refusal of the page."""

    key: str
    reply: Reply
    when: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ImapEntry:
    """One response code of the page (RFC 5530), with the text that follows it."""

    code: str
    text: str
    when: str
    remedy: str


class NoEntry(Exception):
    """A refusal of the code about which nothing is written here."""


# Reasons of pki and trust: what the peer showed, and what its operator does about it.
PEER: dict[str, tuple[str, str]] = {
    "no certificate": (
        "Operator door: MAIL on a connection without client certificate (OP-01).",
        "Configure the sending server to present its operator certificate.",
    ),
    "chain": (
        "The certificate is not issued by IGC-Santé, or its issuer was not sent along (OP-07).",
        "Install the IGC-Santé certificate with its intermediate.",
    ),
    "expired": ("The certificate is past its end.", "Order and install a new one."),
    "not yet valid": ("The certificate begins later.", "Check its dates and the machine's clock."),
    "revoked": (
        "The certificate is on the CRL of its authority (OP-08).",
        "Present a certificate in force.",
    ),
    "usage": (
        "The key usages of the certificate do not allow this role (OP-08).",
        "Present a certificate of the product SERV SSL.",
    ),
    "weak": ("A key or signature below RSA 2048 and SHA-256.", "Order a certificate in force."),
    "revocation unknown": (
        "No CRL in force could be obtained: nothing is decided without (OP-09).",
        "Nothing on the peer's side; our administrator looks at `mssmtp doctor`.",
    ),
    "no list": (
        "No signed whitelist was ever accepted: nothing is decided without (OP-28).",
        "Nothing on the peer's side; our administrator looks at `mssmtp doctor`.",
    ),
    "name not listed": (
        "The certificate is good and its name is in no row of the whitelist (OP-10).",
        "Declare the certificate's name to ANS, with its domains.",
    ),
    "domain not listed": (
        "The sender's domain is in no row of the whitelist (OP-13).",
        "Correct the sender's address, or declare the domain to ANS.",
    ),
    "name not of domain": (
        "The sender's domain is listed, for other certificates (OP-10).",
        "Present the certificate declared for it, or add this one to the row.",
    ),
    "suspended": (
        "Our operator has suspended the certificate or the sender's domain (OP-79).",
        "Call our operator; letters wait on the sender's side meanwhile.",
    ),
}

# Error classes with a reply of their own: what the person or administrator who reads it does.
REMEDIES: dict[str, str] = {
    "BadCredentials": "Make a new application password for this device.",
    "BadExchange": "Repair or update the client.",
    "BadFrom": "Write one From field with a complete address.",
    "BalExists": "Choose another address.",
    "CannotBeJudged": "Nothing: the system tries again; `mssmtp doctor` looks at the CRLs.",
    "CannotBeAsked": "Nothing: the software tries again in a few minutes; passwords still work.",
    "BindingTaken": "Unbind it from the other account first; a person has one account.",
    "Cancelled": "Nothing, or try again.",
    "CloudRelay": "Use a program that connects directly, and change the password it was given.",
    "ConfirmationRefused": "Ask for another link; what waits is still there.",
    "DeadlineMissed": "Reach the recipient by another way; send again without the deadline.",
    "CardNotInForce": "Use the card that is in force; log in by password meanwhile.",
    "CardOfNobody": "Log in by password; an e-CPS or CPS names its professional.",
    "CardRefused": "Choose the certificate for authentication of one's own card.",
    "CardRevoked": "Use the card that replaces it; unlink nothing, the identity is the same.",
    "CardStale": "Begin again at the page one came from; the log says what did not fit.",
    "CardSuspended": "Ask the operator why; `mssmtp suspend list` says it, `--end` undoes it.",
    "CardUnchecked": "Try again; our administrator looks at `mssmtp doctor` (web.cards).",
    "NoCard": "Put the card into its reader; see that browser and card software know each other.",
    "DirectoryAway": "Nothing: try again; the hospital's administrator looks at its directory.",
    "DetourRefused": "Begin again at the page of the login; the log says what did not fit.",
    "PscRefused": "Begin again at the page one came from; the log says what did not fit.",
    "PscAway": "Nothing: try again; the log says why.",
    "ProviderAway": "Nothing: try again; the hospital's administrator looks at its provider.",
    "ProviderFirst": "Log in at the hospital's own page.",
    "FinalReplyLost": "Wait: the letter is tried again, and may arrive twice.",
    "LookupFailed": "Check the address; the server tries again until the queue gives up.",
    "AdministratorExists": "Remove the administrator who has the name, certificate or user.",
    "AddressRetired": "Choose another address: a closed one stays with whom it was.",
    "CodeRefused": "Log in again: another code is mailed.",
    "CodeTooSoon": "Look for the code that was mailed; another one in a minute.",
    "CodesGuessed": "Choose another password by its forgotten one's link; or wait an hour.",
    "NotAnAddress": "Type the ordinary e-mail address of the account.",
    "NoSuchEnvelope": "Look at the list of your envelopes.",
    "AlreadyAnswered": "Reload the page to write another message.",
    "InvitationAsked": "Check the address; tick the invitation where the person is not known yet.",
    "NotLoggedIn": "See your administrator: the account is not active any more.",
    "NothingWritten": "Write a text, or attach a file.",
    "TooMuchText": "Attach the text as a file.",
    "PerhapsSent": "Look in Sent, or ask the recipient, before sending it again.",
    "NotUsual": "Type an ordinary e-mail address, not one of the trust space.",
    "PortalRefused": "Type address and password again, or ask for a new password.",
    "PasswordElsewhere": "Change it at the hospital, whose directory or login page keeps it.",
    "WrongPassword": "Type the present password again, or log out and ask for a new one.",
    "LinkRefused": "Ask for a new link.",
    "NotFound": "A page of the portal: check the address, and as whom one is logged in.",
    "ForeignForm": "Send the form that is shown again; behind a proxy, check that it keeps the"
    " headers Host, Origin and Sec-Fetch-Site.",
    "BadBody": "Reload the page; a connection too slow, or a program that is no browser, does it.",
    "TooLong": "Send less, in several goes.",
    "NotSuspended": "`mssmtp suspend list` prints what is suspended.",
    "NoticesDown": "Ask for the code again in a few minutes; see `mssmtp doctor` for the relay.",
    "PersonExists": "Look that person up; one person has one account.",
    "NoSuchPerson": "Check the usual address.",
    "StructureExists": "Change the structure that has this number.",
    "NoSuchStructure": "Check the number of the structure.",
    "NationalIdRequired": "Give the RPPS or ADELI number, or choose type MED.",
    "NoCertificate": "Set the client certificate and its key in the software; look at the port.",
    "NoDeadlineOnward": "Send it again without the deadline, or ask to be warned (BY=…;N).",
    "NoMailAccepted": "Correct the address.",
    "NoSuchBal": "Look the address up in the directory.",
    "NoSuchMailbox": "Nothing: the message is tried again.",
    "NoTlsOnward": "Send it again without REQUIRETLS: TLS is used all the same.",
    "NotLinked": "Log in with the password and a code, then link the identity to the account.",
    "NotYours": "Link the own e-CPS or card; who certifies corrects a wrong register number.",
    "NotPresentable": "Nothing: it is tried again; `mssmtp doctor` says what is not published.",
    "NotTransmissible": "Send it again from another program.",
    "PeerFailed": "Nothing: the message is tried again.",
    "PeerGone": "Nothing: the message is tried again.",
    "PeerNotTrusted": "Tell the other operator; `mssmtp trust show DOMAIN` says who is expected.",
    "PeerTakesLess": "Reduce or split the attachments.",
    "PeerViolates": "Tell the other operator; the message is tried again.",
    "TlsUnavailable": "Tell the other operator; the message is tried again.",
    "SystemRefused": "Compare the certificate with `mssmtp bal certificate list BOX`.",
    "TokenRefused": "Log in to Pro Santé Connect again; ask who answers for the box for access.",
    "TooComplex": "Attach the documents directly or in one archive.",
    "TooManyGuesses": "Wait a minute, then enter the password again.",
    "UnknownMechanism": "Choose a mechanism that the server announces.",
}

IMAP: dict[str, tuple[str, str]] = {
    "ALREADYEXISTS": ("CREATE or RENAME to a name that is taken.", "Choose another name."),
    "AUTHENTICATIONFAILED": (
        "Unknown login, wrong, revoked or expired secret, suspended account: one answer for all.",
        "Make a new application password for this device; with Pro Santé Connect, log in again.",
    ),
    "BADEVENT": (
        "NOTIFY of an event that is not served (AnnotationChange).",
        "The client asks for those that the answer names.",
    ),
    "BADCHARSET": ("SEARCH in a charset that is not served.", "Repair the client: use UTF-8."),
    "BADURL": (
        "APPEND CATENATE with a URL that leads to nothing this account may read.",
        "The client sends the message whole instead.",
    ),
    "CANNOT": (
        "A name that cannot be kept, or a protected mailbox (Sent, Drafts, Trash, Junk, Archive).",
        "Choose another name; leave the five special mailboxes as they are.",
    ),
    "CLIENTBUG": ("A command that is not in the grammar.", "Repair or update the client."),
    "COMPRESSIONACTIVE": ("COMPRESS a second time.", "Nothing: the connection is compressed."),
    "CONTACTADMIN": (
        "Login from the servers of a program's maker, as the new Outlook; no password is looked at"
        " (F2).",
        "Use a program that connects directly; the administrator sees who tried.",
    ),
    "CORRUPTION": (
        "A stored message does not authenticate; the others are not affected (D10).",
        "The administrator runs `mssmtp doctor --deep` and restores from a copy.",
    ),
    "EXPIRED": ("The account was suspended, or its password revoked.", "Ask the administrator."),
    "EXPUNGEISSUED": (
        "Messages named by the command were removed by another session.",
        "The client goes on by itself after its next look.",
    ),
    "INUSE": ("Another session works on the same thing.", "Try again."),
    "LIMIT": ("A limit of the server, or a full disk.", "Try again later; ask the administrator."),
    "METADATA": (
        "SETMETADATA of a value that is too long (MAXSIZE), or of too many entries (TOOMANY).",
        "Make the annotation shorter, or remove another one first.",
    ),
    "NONEXISTENT": ("No mailbox of that name.", "Refresh the list of mailboxes."),
    "NOPERM": (
        "A change in a mailbox opened read-only, or one the role in a shared box does not give.",
        "Open it with SELECT, or ask who answers for the box.",
    ),
    "NOTIFICATIONOVERFLOW": (
        "NOTIFY of more mailboxes and annotations than are remembered for one session (20,000).",
        "The client asks for fewer mailboxes, or looks itself.",
    ),
    "OVERQUOTA": ("The account is full.", "Remove messages, or ask for more room."),
    "PRIVACYREQUIRED": ("LOGIN or AUTHENTICATE in clear (OP-81).", "Switch on STARTTLS or TLS."),
    "SERVERBUG": (
        "A fault of ours; nothing is lost.",
        "The administrator finds the connection id in the log.",
    ),
    "TOOBIG": ("APPEND above the announced limit, or a literal too large.", "Reduce the message."),
    "TOOFEW": (
        "UIDBATCHES of batches that are too small.",
        "The client asks for larger ones; 500 messages are the least.",
    ),
    "TRYCREATE": ("COPY, MOVE or APPEND to no mailbox.", "The client makes it, then tries again."),
    "UNAVAILABLE": ("The store, or Pro Santé Connect, does not answer now.", "Try again later."),
    "UNKNOWN-CTE": (
        "FETCH BINARY of a part whose transfer encoding nobody knows.",
        "Fetch the part as it is, with BODY; the sender should repair the message.",
    ),
    "USEATTR": (
        "CREATE with a special use that another mailbox has, or that no mailbox can have.",
        "Leave the use out: Sent, Drafts, Trash, Junk and Archive are there already.",
    ),
}


def entries() -> list[Entry]:
    """Every SMTP refusal, by code and key. Raises NoEntry."""
    _import_everything()
    from mssmtp import pki, trust
    from mssmtp.policy import refusals
    from mssmtp.smtp import replies

    found = [Entry(*item) for item in (*replies.all_replies(), *refusals.all_replies())]
    for room, table in (("certificate", pki.REPLIES), ("peer", trust.REPLIES)):
        found += _peer_entries(room, {str(reason): reply for reason, reply in table.items()})
    known = {entry.reply for entry in found}
    for kind in _error_classes():
        if kind.smtp not in known:
            known.add(kind.smtp)
            found.append(_class_entry(kind))
    return sorted(found, key=lambda entry: (entry.reply.code, entry.reply.enhanced, entry.key))


def _peer_entries(room: str, table: dict[str, Reply]) -> Iterator[Entry]:
    for reason, reply in table.items():
        if reason not in PEER:
            raise NoEntry(f"{room}: « {reason} »")
        yield Entry(f"{room}.{reason.replace(' ', '-')}", reply, *PEER[reason])


def imap_entries() -> list[ImapEntry]:
    """Every response code of a refusal, by name. Raises NoEntry."""
    _import_everything()
    from mssmtp.imap import responses

    texts = {code: text.decode("ascii") for code, text in responses._TEXTS.items()}
    codes = set(texts) | {kind.imap for kind in _error_classes()} | set(_written_codes())
    if lost := sorted(codes - set(IMAP)):
        raise NoEntry(f"IMAP response codes: {', '.join(lost)}")
    return [ImapEntry(code, texts.get(code, ""), *IMAP[code]) for code in sorted(codes)]


def _written_codes() -> Iterator[str]:
    """Response codes of `Refused("CODE", …)`, and of NO, BAD and BYE put together by hand."""
    for path in (*sorted((PACKAGE / "imap").rglob("*.py")), PACKAGE / "imap_server.py"):
        for node in _calls(path.read_text(encoding="utf-8")):
            values = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
            yield from _codes_of(_called(node), values)


def _codes_of(called: str, values: Sequence[object]) -> Iterator[str]:
    if called == "Refused" and values and isinstance(values[0], str):
        yield values[0].partition(" ")[0]
    elif called in ("tagged", "untagged"):
        condition, _, code = (*values[-3:], None, None, None)[:3]
        if condition in (b"NO", b"BAD", b"BYE") and isinstance(code, bytes):
            yield code.partition(b" ")[0].decode("ascii")


@cache
def _calls(source: str) -> tuple[ast.Call, ...]:
    """Parsed once however often the page is asked for: the whole package takes a second."""
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _import_everything() -> None:
    for module in pkgutil.walk_packages(mssmtp.__path__, "mssmtp."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)


def _error_classes() -> Iterator[type[MailError]]:
    seen: set[type[MailError]] = set()
    waiting = [MailError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in seen and kind.__module__.startswith("mssmtp."):
                seen.add(kind)
                waiting.append(kind)
                yield kind


def _class_entry(kind: type[MailError]) -> Entry:
    room = kind.__module__.removeprefix("mssmtp.").partition(".")[0].partition("_")[0]
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__).strip("-")
    if kind.__name__ not in REMEDIES:
        raise NoEntry(f"class {kind.__name__}")
    when = _FIRST_SENTENCE.split(" ".join((kind.__doc__ or "").split()))[0]
    return Entry(f"{room}.{name}", kind.smtp, when, REMEDIES[kind.__name__])


Written = tuple[str, int, str, str | None]


def written_replies(package: Path = PACKAGE) -> Iterator[Written]:
    """(file:line, code, enhanced code, text) of every refusing `Reply(…)` literal of the package.

    The text is None where it is put together when the reply is made.
    """
    for path in sorted(package.rglob("*.py")):
        for node in _calls(path.read_text(encoding="utf-8")):
            if _called(node) == "Reply":
                values = [a.value if isinstance(a, ast.Constant) else None for a in node.args[:3]]
                if len(values) == 3 and isinstance(values[0], int) and values[0] >= 400:
                    where = f"{path.relative_to(package.parent).as_posix()}:{node.lineno}"
                    text = values[2] if isinstance(values[2], str) else None
                    yield where, values[0], str(values[1]), text


def without_entry(known: Iterable[Entry], package: Path = PACKAGE) -> list[str]:
    """Replies written in the code that have no entry; by codes alone where the text varies."""
    replies = {entry.reply for entry in known}
    pairs = {(reply.code, reply.enhanced) for reply in replies}
    texts = {(reply.code, reply.enhanced, reply.text) for reply in replies}
    return [
        f"{where}: {code} {enhanced} {text or ''}".strip()
        for where, code, enhanced, text in written_replies(package)
        if ((code, enhanced) not in pairs if text is None else (code, enhanced, text) not in texts)
    ]


def render(known: list[Entry], codes: list[ImapEntry]) -> str:
    """The page."""
    lines = [
        "# Refusals",
        "",
        "Generated by `python -m tools.error_catalogue`. Do not edit.",
        "",
        "Every refusal a sender, a mail client or another operator can get: the SMTP code with the",
        "enhanced code (RFC 3463), the French sentence, when it is given, and what to do. 4yz: try",
        "again later; 5yz: it will not work as it is. What stands in < > differs each time.",
        "IMAP refusals follow at the end.",
        "",
    ]
    for code, group in groupby(known, key=lambda entry: entry.reply.code):
        lines += [f"## {code}", "", "| Codes | Sentence | When | What to do |", "|---|---|---|---|"]
        lines += [
            _row(
                f"`{code} {entry.reply.enhanced}`<br>{entry.key}",
                entry.reply.text,
                entry.when,
                entry.remedy,
            )
            for entry in group
        ]
        lines.append("")
    lines += [
        "## IMAP",
        "",
        "`NO` with a response code (RFC 5530). Sentences are US-ASCII (RFC 3501 4).",
        "",
        "| Code | Sentence | When | What to do |",
        "|---|---|---|---|",
    ]
    lines += [_row(f"`[{each.code}]`", each.text, each.when, each.remedy) for each in codes]
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit code is 1 when something is wrong."""
    try:
        known = entries()
        page = render(known, imap_entries())
    except NoEntry as error:
        print(f"no entry for {error}", file=sys.stderr)
        return 1
    if "--check" not in arguments:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    problems = [f"no entry for {item}" for item in without_entry(known)]
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page:
        problems.append("docs/errors.md is out of date: run python -m tools.error_catalogue")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
