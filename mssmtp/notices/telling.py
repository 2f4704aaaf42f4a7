"""From what happened to letters to what people are told (SEED-61, SEED-62): whom, when, how much.

Runs in one transaction with the removal of what is taken up: each event is told once or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssmtp import local_time
from mssmtp.errors import Damaged, MailError
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Domain,
    Envelope,
    EnvelopeId,
    masked,
    masked_text,
)
from mssmtp.message import patients
from mssmtp.message.decode import decode_words
from mssmtp.message.headers import from_addresses, values
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.notices import choices
from mssmtp.notices.choices import Choices, Pace
from mssmtp.notices.desk import Desk
from mssmtp.notices.kinds import TRAITS, Kind
from mssmtp.notices.templates import MOST_LINES, checked
from mssmtp.notices.titles import UNTITLED, shown_title
from mssmtp.storage import Happening, NewNotice, NoSuchBal, NoSuchMessage, Writing, from_us

_HOUR = timedelta(hours=1)
MOST_TOLD = 500
"""Members of one ORG box that are told."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Somebody who may be told."""

    to: Address
    language: str
    choices: Choices
    account: AccountId | None = None


@dataclass(frozen=True, slots=True)
class _Letter:
    """What may be said of a letter; `title` is not masked yet."""

    sender: str
    title: str
    is_patient: bool
    envelope: EnvelopeId | None


class Telling:
    """Decides who is told. `patient_domains`: whose addresses are masked (OP-87)."""

    def __init__(self, desk: Desk, patient_domains: Collection[Domain]) -> None:
        self._desk, self._domains = desk, frozenset(patient_domains)

    def take_up(self, writing: Writing, happened: Iterable[Happening], now: datetime) -> None:
        """Queue what follows from `happened`."""
        groups: dict[tuple[str, BalId], list[Happening]] = {}
        for each in happened:
            groups.setdefault((each.kind, each.bal), []).append(each)
        for (kind, id), group in groups.items():
            bal = writing.bal_by_id(id)
            if bal is None or bal.state is not BalState.ACTIVE or bal.type is BalType.APP:
                continue
            readers = tuple(self._readers(writing, bal))
            if kind == "arrival":
                self._arrived(writing, bal, readers, group, now)
            elif kind == "sealing":
                self._sealed(writing, bal, readers, group, now)
            else:
                self._opened(writing, bal, readers, group, now)

    # ------------------------------------------------------------ who

    def _readers(self, writing: Writing, bal: Bal) -> Iterator[_Reader]:
        if bal.usual_address is not None:
            person = writing.person(bal.usual_address)
            language = "fr" if person is None else person.language
            yield from self._told(bal.usual_address, language, choices.of_box(writing, bal), None)
        if bal.type is not BalType.ORG:
            return
        for account, role in writing.members(bal.id)[:MOST_TOLD]:
            person = writing.person_by_account(account)
            if person is not None:
                chosen = choices.of_member(writing, account, role, bal)
                yield from self._told(person.usual_address, person.language, chosen, account)

    def _told(
        self, to: Address, language: str, chosen: Choices, account: AccountId | None
    ) -> Iterator[_Reader]:
        if not self._desk.is_ours(to):  # ATT-44: the notice would cause another
            yield _Reader(to, language, chosen, account)

    # ------------------------------------------------------------ arrivals

    def _arrived(
        self,
        writing: Writing,
        bal: Bal,
        readers: Sequence[_Reader],
        group: Sequence[Happening],
        now: datetime,
    ) -> None:
        if all(reader.choices.arrival is Pace.NEVER for reader in readers):
            return
        found = [self._letter(writing, bal.id, each.blob) for each in group]
        letters = [each for each in found if each is not None]  # gone meanwhile: nothing waits
        for reader in readers:
            pace = reader.choices.arrival
            if pace is Pace.NEVER or not letters:
                continue
            if pace is Pace.AT_ONCE:
                told = writing.noticed_since(reader.to, Kind.ARRIVAL, now - _HOUR)
                room = max(self._desk.settings.most_per_hour - told, 0)
                single, rest = letters[:room], letters[room:]
                pace = Pace.HOURLY
            else:
                single, rest = [], letters
            for letter in single:
                self._tell_arrival(writing, bal, reader, letter, now)
            if rest:
                due = self._end(pace, now)
                self._gather(writing, bal, reader, rest, due)

    def _tell_arrival(
        self, writing: Writing, bal: Bal, reader: _Reader, letter: _Letter, now: datetime
    ) -> None:
        said = {
            "box": str(bal.address),
            "sender": letter.sender,
            "title": self._title(letter, reader.language),
            "link": self._desk.link(self._page(bal, letter)),
        }
        self._queue(writing, Kind.ARRIVAL, reader, bal, said, now)

    @staticmethod
    def _page(bal: Bal, letter: _Letter) -> str:
        """Where its holder opens it; who reads a box of others does so with a program."""
        is_others = bal.type is BalType.ORG or letter.envelope is None
        return "" if is_others else f"enveloppes/{letter.envelope}"

    def _gather(
        self,
        writing: Writing,
        bal: Bal,
        reader: _Reader,
        letters: Sequence[_Letter],
        due: datetime,
    ) -> None:
        said: dict[str, str | list[str]] = {
            "box": str(bal.address),
            "count": str(len(letters)),
            "letters": [
                f"{each.sender} : {self._title(each, reader.language)}"
                for each in letters[:MOST_LINES]
            ],
            "link": self._desk.link(""),
        }
        new = self._new(Kind.DIGEST, reader, bal, said, due)
        writing.gather_notice(new, "letters", MOST_LINES)

    def _end(self, pace: Pace, now: datetime) -> datetime:
        """When a digest that begins now goes out."""
        if pace is Pace.HOURLY:
            return now.replace(minute=0, second=0, microsecond=0) + _HOUR
        return local_time.next_at(self._desk.settings.daily_at, now, self._desk.zone)

    # ------------------------------------------------------------ openings

    def _opened(
        self,
        writing: Writing,
        bal: Bal,
        readers: Sequence[_Reader],
        group: Sequence[Happening],
        now: datetime,
    ) -> None:
        for each in group:
            letter = self._letter(writing, each.told.get("reader", bal.id), each.blob)
            recipient = self._who(writing, each)
            if recipient is None:
                continue
            for reader in readers:
                if reader.choices.opening is Pace.NEVER:
                    continue
                said = {
                    "recipient": recipient,
                    "title": self._shown(letter, reader.language),
                    "time": self._desk.moment(from_us(int(each.told["at"])), reader.language),
                    "envelope": str(each.told["envelope"]),
                }
                self._queue(writing, Kind.OPENING, reader, bal, said, now)

    def _who(self, writing: Writing, each: Happening) -> str | None:
        if "recipient" in each.told:
            return masked_text(str(each.told["recipient"]), self._domains)
        box = writing.bal_by_id(BalId(int(each.told["reader"])))
        return None if box is None else str(box.address)

    def _sealed(
        self,
        writing: Writing,
        bal: Bal,
        readers: Sequence[_Reader],
        group: Sequence[Happening],
        now: datetime,
    ) -> None:
        """Letters that were sent (SEED-63)."""
        wanting = [each for each in readers if each.choices.sealing is not Pace.NEVER]
        for each in group if wanting else ():
            envelope = None if each.blob is None else writing.envelope_of(each.blob)
            letter = self._letter(writing, bal.id, each.blob)
            if envelope is None:
                continue
            for reader in wanting:
                said: dict[str, str | list[str]] = {
                    "recipients": [
                        masked(to.typed or to.address, self._domains) for to in envelope.recipients
                    ],
                    "title": self._shown(letter, reader.language),
                    "time": self._desk.moment(each.at, reader.language),
                    "envelope": envelope.id,
                    "link": self._desk.link(f"enveloppes/{envelope.id}"),
                }
                writing.queue_notice(self._new(Kind.SEALING, reader, bal, said, now))

    # ------------------------------------------------------------ what

    def _shown(self, letter: _Letter | None, language: str) -> str:
        return UNTITLED[language] if letter is None else self._title(letter, language)

    def _letter(self, writing: Writing, bal: BalId, blob: int | None) -> _Letter | None:
        try:
            octets = b"" if blob is None else writing.summary_of(BalId(bal), blob)
            header = Summary.from_bytes(octets).header
        except (Damaged, NoSuchBal, NoSuchMessage, UnknownSummary):  # not a disk that is away
            return None
        try:
            authors = from_addresses(header)
        except MailError:  # mail from elsewhere may name nobody, or more than can be read
            authors = ()
        subject = values(header, "subject")
        envelope = None if blob is None else writing.envelope_of(blob)
        return _Letter(
            ", ".join(masked(each, self._domains) for each in authors[:3]),
            masked_text(decode_words(subject[0]), self._domains) if subject else "",
            patients.concerns(octets, self._domains) or self._is_patients(envelope),
            None if envelope is None else envelope.id,
        )

    def _is_patients(self, envelope: Envelope | None) -> bool:
        """DEF-05: a hidden recipient stands in the envelope alone."""
        if envelope is None:
            return False
        named = (envelope.sender, *(to.address for to in envelope.recipients))
        return any(each is not None and each.domain in self._domains for each in named)

    def _title(self, letter: _Letter, language: str) -> str:
        masking = self._desk.settings.mask_subject
        return shown_title(letter.title, masking, language, is_patient=letter.is_patient)

    def _queue(
        self,
        writing: Writing,
        kind: Kind,
        reader: _Reader,
        bal: Bal,
        said: Mapping[str, str],
        now: datetime,
    ) -> None:
        writing.queue_notice(self._new(kind, reader, bal, said, now))

    def _new(
        self,
        kind: Kind,
        reader: _Reader,
        bal: Bal,
        said: Mapping[str, str | list[str]],
        due: datetime,
    ) -> NewNotice:
        end = due + TRAITS[kind].lifetime
        values_ = checked(kind, said)
        return NewNotice(
            kind.value, reader.to, reader.language, values_, due, end, reader.account, bal.id
        )
