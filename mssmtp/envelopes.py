"""Somebody's own envelopes, for who has no mail program: the list, one opened, its files (SEED-35).

Opening is an act, not a look: it sets `\\Seen`, is the event *lu* (DEF-06), and the sender hears of
it as from any program (SEED-62). What is of somebody else's box is answered as what does not exist.
Everything blocks: to be called in a thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mssmtp.errors import BadAddress, Damaged, MailError, Reply
from mssmtp.mail import AccountId, Address, Bal, EnvelopeId, MailboxId, Uid
from mssmtp.message import reading as showing
from mssmtp.message.headers import values
from mssmtp.message.readable import Read
from mssmtp.message.reading import File, Opened
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.outside import Clock
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.model import Mailbox, MessageRow

PAGE: Final = 50
MOST_PAGES: Final = 20
_DRAFT_LASTS = timedelta(days=1)
_ALONE = re.compile(r"<[^<>]+>")
_PLACE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,10})\Z", re.ASCII)
_ENVELOPE = re.compile(r"[0-9A-Za-z]{1,40}\Z", re.ASCII)
_DRAFT = re.compile(r"[0-9A-Za-z_-]{22}\Z", re.ASCII)
_SENT = "\\Sent"
_WHOLE_OCTETS = 1_048_576
"""A letter up to this size is read at once."""


class NoSuchEnvelope(MailError):
    """There is none, or it is not in a box of this person: nobody is told which (ATT-24)."""

    smtp = Reply(550, "5.1.1", "Cette enveloppe n'existe pas, ou n'est pas la vôtre.")
    imap = "NONEXISTENT"


class AlreadyAnswered(MailError):
    """The same form was sent twice: one letter goes out."""

    smtp = Reply(
        554, "5.5.1", "Ce message est déjà parti ; rechargez la page pour en écrire un autre."
    )
    imap = "ALREADYEXISTS"


@dataclass(frozen=True, slots=True)
class Line:
    """One envelope of the list; `id` names it in links."""

    id: str
    author: str
    subject: str
    at: datetime
    is_read: bool
    is_answered: bool


@dataclass(frozen=True, slots=True)
class Cover:
    """One envelope. `opened` is None until it was opened; `sender` is whom an answer goes to."""

    id: str
    box: Bal
    author: str
    subject: str
    at: datetime
    sender: Address | None
    is_sent: bool
    is_answered: bool
    opened: Opened | None
    header: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Place:
    box: Bal
    mailbox: Mailbox
    row: MessageRow

    @property
    def id(self) -> str:
        return _id(self.mailbox, self.row.uid)

    @property
    def is_sent(self) -> bool:
        return self.mailbox.special_use == _SENT

    @property
    def is_opened(self) -> bool:
        return "\\Seen" in self.row.flags or self.is_sent


@dataclass(frozen=True, slots=True)
class Envelopes:
    """Of all accounts."""

    store: Store
    clock: Clock

    def lines(self, account: AccountId, page: int = 1) -> tuple[list[Line], bool]:
        """What has come, the newest first, and whether there is more."""
        wanted = min(max(page, 1), MOST_PAGES) * PAGE
        return self.store.read(lambda r: _lines(r, account, wanted)).result()

    def look(self, account: AccountId, id: str) -> Cover:
        """One of them; its content once it was opened. Raises NoSuchEnvelope, Damaged."""

        def query(reading: Reading) -> Cover:
            place = _place(reading, account, id)
            cover = _cover(reading, place)
            if cover.opened is not None:
                self._note(reading, account, place)
            return cover

        return self.store.read(query).result()

    def _note(self, reading: Reading, account: AccountId, place: _Place) -> None:
        """Something of its body is shown; that a person looks at it, a button says (DEF-06)."""
        letters = reading.letters_of(place.mailbox.id, [(place.row.uid, place.row.uid)])
        self.store.noted.add(account, place.box.id, letters, "releve", self.clock.now())

    def open(self, account: AccountId, id: str) -> None:
        """A person has opened it, and the event is kept. Raises NoSuchEnvelope."""

        def job(writing: Writing) -> None:
            place = _place(writing, account, id)
            mailbox, uid = place.mailbox.id, place.row.uid
            if place.is_sent:
                return
            writing.store_flags(mailbox, [uid], "+", frozenset({"\\Seen"}))
            letters = writing.letters_of(mailbox, [(uid, uid)])
            writing.record_read(account, place.box.id, letters, "lu")

        self.store.write(job).result()

    def file(self, account: AccountId, id: str, number: int) -> tuple[File, Iterator[bytes]]:
        """Something attached to an envelope that was opened, and its octets.

        Raises NoSuchEnvelope, Damaged.
        """

        def query(reading: Reading) -> tuple[_Place, tuple[File, ...]]:
            place = _place(reading, account, id)
            if not place.is_opened:
                raise NoSuchEnvelope
            self._note(reading, account, place)
            return place, showing.files(_summary(reading, place), _reader(reading, place))

        place, found = self.store.read(query).result()
        if not 1 <= number <= len(found):
            raise NoSuchEnvelope
        mailbox, uid = place.mailbox.id, place.row.uid

        def read(start: int, stop: int) -> bytes:
            return self.store.read(lambda r: r.body(mailbox, uid, start, stop)).result()

        return found[number - 1], found[number - 1].blocks(read)

    # ------------------------------------------------------------ what is written

    def author(self, account: AccountId) -> Address | None:
        """From where this person writes: the own box, while it works."""
        own = self.store.read(lambda r: r.own_bal(account)).result()
        return None if own is None else own.address

    def begin_letter(self, account: AccountId, draft: str) -> None:
        """`draft`: letters of the form that is sent now, for the first time.

        Of two who come at once, one goes on. Raises AlreadyAnswered.
        """
        if not _DRAFT.match(draft):
            raise AlreadyAnswered
        token = f"{account}\0{draft}"

        def job(writing: Writing) -> bool:
            if writing.secret("draft", token) is not None:
                return False
            writing.new_secret("draft", token, account, self.clock.now() + _DRAFT_LASTS)
            return True

        if not self.store.write(job).result():
            raise AlreadyAnswered

    def answered(self, account: AccountId, id: str) -> None:
        """Its answer has left: `\\Answered`, as a mail program sets it. Raises NoSuchEnvelope."""

        def job(writing: Writing) -> None:
            place = _place(writing, account, id)
            flags = frozenset({"\\Answered"})
            writing.store_flags(place.mailbox.id, [place.row.uid], "+", flags)

        self.store.write(job).result()


def _id(mailbox: Mailbox, uid: int) -> str:
    return f"{mailbox.id}-{mailbox.uid_validity}-{uid}"


def _own(reading: Reading, account: AccountId) -> dict[int, Bal]:
    """Boxes of the account itself that are open: what others lend is for programs."""
    principal = reading.principal(account)
    return {bal.id: bal for bal in principal.bals if principal.owns(bal.id)}


def _place(reading: Reading, account: AccountId, id: str) -> _Place:
    """By its place, or by the name an envelope has in notices. Raises NoSuchEnvelope."""
    own = _own(reading, account)
    if numbers := _PLACE.match(id):
        mailbox, validity, uid = map(int, numbers.groups())
        found = _at(reading, own, mailbox, uid)
        if found is not None and found.mailbox.uid_validity == validity:
            return found
    elif _ENVELOPE.match(id):
        for mailbox, uid in _delivered(reading, EnvelopeId(id)):
            found = _at(reading, own, mailbox, uid)
            if found is not None:
                return found
    raise NoSuchEnvelope


def _at(reading: Reading, own: dict[int, Bal], mailbox: int, uid: int) -> _Place | None:
    found = reading.mailbox_by_id(MailboxId(mailbox))
    if found is None or found.bal not in own:
        return None
    rows = reading.messages(found.id, [(uid, uid)])
    return _Place(own[found.bal], found, rows[0]) if rows else None


def _delivered(reading: Reading, envelope: EnvelopeId) -> Iterator[tuple[int, int]]:
    """Mailbox and UID of the copies of a letter, as its events have them."""
    try:
        events = reading.events(envelope)
    except Damaged:
        return
    for event in events:
        if event.kind == "remise":
            told = json.loads(event.clear)
            yield int(told["mailbox"]), int(told["uid"])


def _lines(reading: Reading, account: AccountId, wanted: int) -> tuple[list[Line], bool]:
    found: list[_Place] = []
    for box in _own(reading, account).values():
        for mailbox in reading.mailboxes(box.id):
            if mailbox.special_use is None and mailbox.messages:
                uids = reading.uids(mailbox.id)[-wanted - 1 :]
                rows = reading.messages(mailbox.id, [(uids[0], uids[-1])])
                found += [_Place(box, mailbox, row) for row in rows[-wanted - 1 :]]
    found.sort(key=lambda each: each.row.internal_date_us, reverse=True)
    shown = found[max(wanted - PAGE, 0) : wanted]
    return [_line(reading, each) for each in shown], len(found) > wanted


def _line(reading: Reading, place: _Place) -> Line:
    summary = _summary(reading, place)
    return Line(
        place.id,
        _author(summary),
        showing.line(summary, "subject"),
        place.row.internal_date,
        place.is_opened,
        "\\Answered" in place.row.flags,
    )


def _cover(reading: Reading, place: _Place) -> Cover:
    summary = _summary(reading, place)
    opened = showing.shown(summary, _reader(reading, place)) if place.is_opened else None
    return Cover(
        place.id,
        place.box,
        _author(summary),
        showing.line(summary, "subject"),
        place.row.internal_date,
        None if place.is_sent else _sender(summary.header),
        place.is_sent,
        "\\Answered" in place.row.flags,
        opened,
        summary.header,
    )


def _author(summary: Summary) -> str:
    """As the letter has it; an address that stands alone needs no brackets."""
    told = showing.line(summary, "from")
    return told[1:-1] if _ALONE.fullmatch(told) else told


def _sender(header: bytes) -> Address | None:
    """Whom the letter came from: our own first line says it (RFC 5321 4.4)."""
    for value in values(header, "return-path")[:1]:
        try:
            return Address.parse(value.decode("ascii", "replace").strip(" <>"))
        except BadAddress:
            return None
    return None


def _summary(reading: Reading, place: _Place) -> Summary:
    """A letter that cannot be read is shown as one that says so."""
    for _, octets in reading.summaries(place.mailbox.id, [Uid(place.row.uid)]):
        try:
            return Summary.from_bytes(octets)
        except UnknownSummary as error:
            raise Damaged("a letter cannot be opened") from error
    raise NoSuchEnvelope


def _reader(reading: Reading, place: _Place) -> Read:
    mailbox, uid = place.mailbox.id, place.row.uid
    if place.row.size_octets <= _WHOLE_OCTETS:
        whole = reading.body(mailbox, uid)
        return lambda start, stop: whole[start:stop]
    return lambda start, stop: reading.body(mailbox, uid, start, stop)
