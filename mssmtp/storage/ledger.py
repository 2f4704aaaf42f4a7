"""The ledger: chained events, transfer traces, facts of decisions (messages.md §3.4, §11; OP-74).

The chain covers ids, times and digests of salted lines; the lines themselves (who, which names)
are sealed under the keys of the boxes concerned. It can be checked without naming anybody.
Written in the commit of what it records and never purged (SEED-66).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Literal, cast

from sqlalchemy import bindparam, delete, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import Address, Domain, Door, Envelope, EnvelopeId
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import (
    STEPS,
    Event,
    EventKind,
    Letter,
    Shredded,
    Step,
    Transfer,
    TransferTrace,
    from_us,
    to_us,
)
from mssmtp.storage.schema import event_lines, events, facts, sql, transfers
from mssmtp.storage.view import View, WritingView

FIRST_PREVIOUS = bytes(32)
"""What the first event of a store is chained to."""

SALT_OCTETS = 15
LINES = b"event\0"
FACTS = b"facts\0"

LineKind = Literal["sender", "person", "recipient", "rewritten", "name", "reply"]
"""`rewritten`: the address used for the `recipient` before it, which is as the client gave it."""
Line = tuple[LineKind, str]

_LAST = sql(
    select(events.c.number, events.c.digest, events.c.at).order_by(events.c.number.desc()).limit(1)
)
_NEW_EVENT = sql(insert(events))
_NEW_LINES = sql(insert(event_lines))
_EVENTS = sql(
    select(
        events.c.number,
        events.c.kind,
        events.c.at,
        events.c.clear,
        events.c.previous,
        events.c.digest,
    )
    .where(events.c.envelope == bindparam("envelope"))
    .order_by(events.c.number)
)
_OPENABLE = sql(
    select(event_lines.c.owner, event_lines.c.sealed)
    .where(event_lines.c.event == bindparam("event"))
    .order_by(event_lines.c.owner)
)
_NEW_TRANSFER = sql(
    insert(transfers).values(
        {name: bindparam(name) for name in ("envelope", "at", "owner", "clear", "sealed")}
    )
)
_TRANSFERS = sql(
    select(transfers.c.at, transfers.c.owner, transfers.c.clear, transfers.c.sealed)
    .where(transfers.c.envelope == bindparam("envelope"))
    .order_by(transfers.c.number)
)
_DROP_FACTS = sql(delete(facts).where(facts.c.envelope == bindparam("envelope")))
_NEW_FACTS = sql(insert(facts))
_FACTS_OF = sql(
    select(facts.c.owner, facts.c.sealed).where(facts.c.envelope == bindparam("envelope"))
)
_SOME_FACTS = sql(
    select(facts.c.envelope, facts.c.owner, facts.c.sealed)
    .where(facts.c.envelope > bindparam("after"))
    .order_by(facts.c.envelope)
    .limit(bindparam("most"))
)
_COUNT_FACTS = sql(select(func.count()).select_from(facts))
_OLD_FACTS = sql(delete(facts).where(facts.c.expires_at <= bindparam("now")))
_STRAYED_FACTS = sql(
    update(facts)
    .where(facts.c.expires_at > bindparam("latest"))
    .values(expires_at=bindparam("latest"))
)


# Built once: json.dumps builds an encoder for every call with options.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_in_quotes = json.encoder.encode_basestring


def canonical(value: object) -> str:
    """JSON without spaces, keys in order, UTF-8 text: what digests are taken of."""
    return _CANONICAL.encode(value)


def line_digest(line: Sequence[str]) -> str:
    """SHA-256 of a salted line [salt, kind, value], in hexadecimal."""
    return _text_digest(canonical(list(line)))


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def chain_digest(clear: str) -> bytes:
    """Digest of an event: of its clear text, which names the previous digest."""
    return hashlib.sha256(clear.encode("utf-8", "surrogatepass")).digest()


class LedgerReading(View):
    """What happened to an envelope."""

    def events(self, envelope: EnvelopeId) -> tuple[Event, ...]:
        """Ledger events of an envelope, in order, their lines opened. Raises Damaged."""
        return tuple(
            Event(
                number,
                cast(EventKind, kind),
                from_us(at),
                envelope,
                clear,
                previous.hex(),
                digest.hex(),
                self._opened_lines(number),
            )
            for number, kind, at, clear, previous, digest in self._all(_EVENTS, envelope=envelope)
        )

    def journey(self, envelope: EnvelopeId) -> tuple[Step, ...]:
        """What became of every recipient, step by step, in order. Raises Damaged."""
        return tuple(step for event in self.events(envelope) for step in _steps(event))

    def transfers(self, envelope: EnvelopeId) -> tuple[TransferTrace, ...]:
        """Transfer traces of an envelope, in order, addresses opened. Raises Damaged."""
        return tuple(
            _trace(
                envelope,
                from_us(at),
                json.loads(clear),
                json.loads(self._owner_key(owner).open(trace_purpose(envelope, at, clear), sealed)),
            )
            for at, owner, clear, sealed in self._all(_TRANSFERS, envelope=envelope)
        )

    def facts(self, envelope: EnvelopeId) -> bytes | None:
        """The facts of the decision on an envelope; None once they expired."""
        row = self._one(_FACTS_OF, envelope=envelope)
        return self._owner_key(row[0]).open(FACTS + envelope.encode(), row[1]) if row else None

    def kept_facts(self, after: EnvelopeId, most: int) -> list[tuple[EnvelopeId, bytes | None]]:
        """Facts of the decisions behind `after`, oldest first; None where the key is gone."""
        return [
            (EnvelopeId(envelope), self._facts_opened(EnvelopeId(envelope), owner, sealed))
            for envelope, owner, sealed in self._all(_SOME_FACTS, after=after, most=most)
        ]

    def count_facts(self) -> int:
        """Of how many decisions the facts are kept."""
        return int(self._all(_COUNT_FACTS)[0][0])

    def _facts_opened(self, envelope: EnvelopeId, owner: int, sealed: bytes) -> bytes | None:
        try:
            return self._owner_key(owner).open(FACTS + envelope.encode(), sealed)
        except Damaged:
            return None

    def _opened_lines(self, event: int) -> tuple[tuple[str, str, str], ...]:
        for owner, sealed in self._all(_OPENABLE, event=event):
            try:
                key = self._owner_key(owner)
            except Shredded:
                continue
            opened = json.loads(key.open(LINES + str(event).encode(), sealed))
            return tuple((salt, kind, value) for salt, kind, value in opened)
        return ()


class LedgerWriting(LedgerReading, WritingView):
    """Adding to the ledger."""

    def _event(
        self,
        kind: EventKind,
        envelope: EnvelopeId,
        lines: Iterable[Line],
        owners: Iterable[OwnerKey],
        **clear: object,
    ) -> str:
        """Append one event; `lines` are salted and sealed under each of `owners`.

        `clear` are ids, digests and sizes only. Returns the digest in hexadecimal.
        """
        number, previous, before = self._rows.head or self._one(_LAST) or (0, FIRST_PREVIOUS, 0)
        at = self._vault.clock.now()
        if to_us(at) < before:  # the order is that of the numbers; the chain tells why times differ
            clear["clock_was"] = _printed(from_us(before))
        # As `canonical` has it; a salt and a kind hold nothing that JSON would escape.
        salted = [
            f'["{salt}","{which}",{_in_quotes(value)}]'
            for salt, (which, value) in self._salted(tuple(lines))
        ]
        text = canonical(
            {
                "event": kind,
                "number": number + 1,
                "time": _printed(at),
                "envelope": envelope,
                "sealed": [_text_digest(line) for line in salted],
                "previous": previous.hex(),
                **clear,
            }
        )
        digest = chain_digest(text)
        self._later(
            _NEW_EVENT,
            number=number + 1,
            kind=kind,
            at=to_us(at),
            envelope=envelope,
            clear=text,
            previous=previous,
            digest=digest,
        )
        self._rows.head = (number + 1, digest, to_us(at))
        purpose = LINES + str(number + 1).encode()
        octets = f"[{','.join(salted)}]".encode("utf-8", "surrogatepass")  # as `canonical` has it
        for owner in {owner.id: owner for owner in owners}.values():
            self._later(
                _NEW_LINES, event=number + 1, owner=owner.id, sealed=owner.seal(purpose, octets)
            )
        return digest.hex()

    def _salted(self, lines: Sequence[Line]) -> Iterator[tuple[str, Line]]:
        """Each with a salt of its own."""
        drawn = base64.b64encode(self._vault.entropy.token_bytes(SALT_OCTETS * len(lines))).decode()
        # Three octets are four characters: salts drawn together come apart again.
        width = SALT_OCTETS // 3 * 4
        for number, line in enumerate(lines):
            yield drawn[number * width : (number + 1) * width], line

    def _trace_transfer(
        self,
        envelope: Envelope,
        recipients: Sequence[Address],
        transfer: Transfer,
        owner: OwnerKey,
        letter: Letter | tuple[int, tuple[tuple[str, str], ...]],
    ) -> None:
        """One hop (OP-74): domains in clear, addresses and header values sealed."""
        size, traced = (letter.size_octets, letter.traced) if isinstance(letter, Letter) else letter
        domains = sorted({address.domain for address in recipients})
        if envelope.sender is not None:
            domains.insert(0, envelope.sender.domain)
        clear_of = _clear_lately if len(domains) <= _FEW_DOMAINS else _clear_of
        text, digest = clear_of(_NAMED(transfer), size, tuple(domains))
        sealed: dict[str, object] = {
            "sender": None if envelope.sender is None else str(envelope.sender),
            "recipients": [str(address) for address in recipients],
            "headers": traced,
            "reply": transfer.reply,
        }
        # APX-04: a rewrite is seen in the trace too; few letters have one.
        if typed := [
            (str(each.typed), str(each.address))
            for each in envelope.recipients
            if each.typed is not None and each.address in recipients
        ]:
            sealed["typed"] = typed
        at = to_us(self._vault.clock.now())
        self._later(
            _NEW_TRANSFER,
            envelope=envelope.id,
            at=at,
            owner=owner.id,
            clear=text,
            sealed=owner.seal(
                _trace_purpose(envelope.id, at, digest),
                canonical(sealed).encode("utf-8", "surrogatepass"),
            ),
        )

    def _keep_facts(self, envelope: EnvelopeId, octets: bytes, owner: OwnerKey) -> None:
        expires_at = self._vault.clock.now() + self._vault.facts_kept
        self._later(
            _NEW_FACTS,
            envelope=envelope,
            expires_at=to_us(expires_at),
            owner=owner.id,
            sealed=owner.seal(FACTS + envelope.encode(), octets),
        )

    def _drop_facts(self, envelope: EnvelopeId) -> None:
        self._run(_DROP_FACTS, envelope=envelope)

    def _forget_facts(self, now: datetime) -> int:
        # Of a time the clock was put back from: they are kept as long as others from now on.
        self._run(_STRAYED_FACTS, latest=to_us(now + self._vault.facts_kept))
        return self._run(_OLD_FACTS, now=to_us(now))


def _printed(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def trace_purpose(envelope: str, at: int, clear: str) -> bytes:
    """What the sealed part of a trace is bound to: its clear part is authenticated with it."""
    return _trace_purpose(envelope, at, chain_digest(clear))


def _trace_purpose(envelope: str, at: int, digest: bytes) -> bytes:
    return b"transfer\0" + envelope.encode() + b"\0%d\0" % at + digest


_IN_CLEAR = (
    "direction",
    "door",
    "peer_address",
    "tls_version",
    "tls_cipher",
    "peer_dn",
    "peer_serial",
    "peer_issuer",
    "list_date",
    "crl_number",
    "verdict",
)
_NAMED = attrgetter(*("door.value" if name == "door" else name for name in _IN_CLEAR))
_FEW_DOMAINS = 8
"""Traces of letters to more are not remembered: 512 of them stay within a few megabytes (D11)."""


def _clear_of(
    named: tuple[object, ...], size: int, domains: tuple[Domain, ...]
) -> tuple[str, bytes]:
    """The clear part of a trace and its digest."""
    clear = dict(zip(_IN_CLEAR, named, strict=True))
    if isinstance(clear["list_date"], datetime):
        clear["list_date"] = clear["list_date"].isoformat()
    text = canonical({**clear, "size": size, "domains": domains})
    return text, chain_digest(text)


_clear_lately = lru_cache(maxsize=512)(_clear_of)
"""Of the letters of one connection many are alike."""


def _trace(
    envelope: EnvelopeId, at: datetime, clear: dict[str, object], sealed: dict[str, object]
) -> TransferTrace:
    list_date, crl_number = clear["list_date"], clear["crl_number"]
    transfer = Transfer(
        direction=cast(Literal["in", "out"], clear["direction"]),
        door=Door(str(clear["door"])),
        peer_address=str(clear["peer_address"]),
        verdict=str(clear["verdict"]),
        reply=str(sealed["reply"]),
        tls_version=_text(clear["tls_version"]),
        tls_cipher=_text(clear["tls_cipher"]),
        peer_dn=_text(clear["peer_dn"]),
        peer_serial=_text(clear["peer_serial"]),
        peer_issuer=_text(clear["peer_issuer"]),
        list_date=datetime.fromisoformat(str(list_date)) if list_date else None,
        crl_number=crl_number if isinstance(crl_number, int) else None,
    )
    headers = tuple((n, v) for n, v in cast(list[tuple[str, str]], sealed["headers"]))
    sender = _text(sealed["sender"])
    return TransferTrace(
        transfer,
        envelope,
        at,
        cast(int, clear["size"]),
        Address.parse(sender) if sender else None,
        tuple(cast(list[str], sealed["recipients"])),
        next((value for name, value in headers if name == "message-id"), None),
        tuple((name, value) for name, value in headers if name != "message-id"),
        tuple(cast(list[str], clear["domains"])),
        tuple(
            (typed, used) for typed, used in cast(list[tuple[str, str]], sealed.get("typed", []))
        ),
    )


def _steps(event: Event) -> Iterator[Step]:
    if event.kind not in STEPS:
        return
    clear = json.loads(event.clear)
    detail = next((value for _, kind, value in event.opened if kind == "reply"), "")
    result, cause = str(clear.get("result", "")), str(clear.get("cause", ""))
    report = clear.get("report")
    told_by = None if report is None else EnvelopeId(report)
    for _, kind, value in event.opened:
        if kind == "recipient":
            yield Step(value, event.kind, result, cause, event.at, detail, told_by)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
