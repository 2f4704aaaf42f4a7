"""A process that puts canaries everywhere a store takes text, and goes through all it can do.

`python -m tests.canary.filling CONFIG`: prints `filled`, waits for a line, prints `closed`. What a
store writes meanwhile, and what it leaves when it is killed instead, is searched by the test.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mssmtp import log
from mssmtp.config import load
from mssmtp.errors import MailError
from mssmtp.mail import Address, Bal, BalType, Domain, Door, Envelope, MailboxId, Recipient, Uid
from mssmtp.message.readable import Needle
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import LocalDelivery, Outcome, Owner, Store, Writing
from mssmtp.storage.textsealing import TextKind
from tests.canary import people
from tests.canary.finder import PLAIN, STEM
from tests.storage.support import RPPS, TRANSFER

logger = logging.getLogger("mssmtp.canary")
PACKED = 600
"""Messages enough for packs of summaries and of texts."""
ELSEWHERE = Domain("ailleurs.test")


def canary(place: str) -> str:
    """The word, and where it was put."""
    return f"{STEM}{place}"


def address(place: str, domain: str = "hopital-a.test") -> Address:
    """An address whose local part is a canary."""
    return Address.parse(f"{PLAIN}.{place}@{domain}")


def letter(place: str, extra: bytes = b"") -> bytes:
    """Canaries in every part of a message, in the encodings of mail.

    Not in the Message-ID: the proof of sealing names it in clear (DEF-14).
    """
    word = canary(place)
    quoted = "".join(chr(o) if o < 0x80 else f"={o:02X}" for o in word.encode())
    text = (
        f"Return-Path: <{PLAIN}.retour@b.test>\r\nMessage-ID: <1@b.test>\r\n"
        f'From: "{word} expéditeur" <{PLAIN}.de@b.test>\r\n'
        f"To: {word} destinataire <{PLAIN}.a@hopital-a.test>\r\n"
        f"Subject: =?utf-8?Q?{quoted}?= {word}\r\nX-MSS-NIL: {PLAIN}-nil\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{word} corps\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n--b\r\n"
        f"Content-Type: application/pdf; name*=utf-8''{quoted.replace('=', '%')}.pdf\r\n"
        f'Content-Disposition: attachment; filename="{PLAIN}.pdf"\r\n\r\n{word} piece\r\n'
    )
    return text.encode() + extra + b"\r\n--b--\r\n"


class Filler:
    """One store and what was put into it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = datetime.now(UTC)
        self.unfinished = store.writer()

    def people(self) -> tuple[Bal, Bal]:
        """Two BALs, logins, app passwords."""

        def job(w: Writing) -> tuple[Bal, Bal]:
            first = w.create_bal(
                address("bal"),
                BalType.PER,
                national_id=RPPS,
                usual_address=address("usuelle", "clinique.test"),
                login=f"{PLAIN}-{STEM}-login",
            )
            second = w.create_bal(address("org"), BalType.ORG, login=f"{PLAIN}-second")
            account = w.create_account(f"{PLAIN}-compte")
            w.add_member(second.id, account.id)
            for name in ("téléphone", "poste"):
                w.add_app_password(account.id, canary(name), canary("argon2"), canary("scram"))
            return first, second

        return self.store.write(job).result()

    def mail(self, bals: tuple[Bal, Bal]) -> str:
        """Small and large letters to both and to elsewhere; a refusal; drafts."""
        envelope = ""
        for extra in (b"", b"x" * 20_000, os.urandom(300_000).hex().encode()):
            envelope = self._accept(bals, extra, bals[0].id if extra else ELSEWHERE)
        refused = Envelope(
            self.store.new_envelope_id(),
            address("refuse", "b.test"),
            (Recipient(address("inconnu")),),
            self.now,
        )
        self.store.write(
            lambda w: w.reject(refused, TRANSFER, canary("refus").encode(), owner=ELSEWHERE)
        ).result()
        return envelope

    def _accept(self, bals: tuple[Bal, Bal], extra: bytes, owner: Owner) -> str:
        sealed = self.store.seal(letter("lettre", extra))
        local = [
            LocalDelivery(bal.id, Recipient(bal.address, address("tapee")), "INBOX") for bal in bals
        ]
        queued = tuple(
            Recipient(address(f"dest{n}", "ailleurs.test"), orcpt=f"rfc822;{PLAIN}.orcpt")
            for n in range(2)
        )
        sent = Envelope(
            self.store.new_envelope_id(),
            address("emetteur", "b.test"),
            (*(one.recipient for one in local), *queued),
            self.now,
            f"{PLAIN}-envid",
        )

        def job(w: Writing) -> object:
            return w.accept(
                sent,
                sealed,
                local=local,
                queued=queued,
                skip=0,
                owner=owner,
                transfer=TRANSFER,
                facts=canary("faits").encode(),
            )

        self.store.write(job).result()
        return sent.id

    def mailboxes(self, bal: Bal) -> MailboxId:
        """Made, renamed, deleted, subscribed; drafts with keywords, copied, moved, expunged."""

        def names(w: Writing) -> MailboxId:
            made = w.create_mailbox(bal.id, f"{canary('boite')}/{canary('sous')}")
            w.create_mailbox(bal.id, canary("supprimee"))
            w.delete_mailbox(bal.id, canary("supprimee"))
            w.create_mailbox(bal.id, canary("ancien"))
            w.rename_mailbox(bal.id, canary("ancien"), canary("nouveau"))
            return made.id

        box = self.store.write(names).result()
        words = frozenset({"\\Seen", f"{PLAIN}Mot", canary("MotClef")})
        uids = [one.result() for one in [self._append(box, words) for _ in range(PACKED)]]

        def move(w: Writing) -> None:
            there = w.mailbox(bal.id, "Archive")
            assert there is not None
            w.copy(box, uids[:5], there.id)
            w.move(box, uids[5:8], there.id)
            w.store_flags(box, uids[8:12], "+", frozenset({"\\Deleted", canary("Autre")}))
            w.expunge(box)

        self.store.write(move).result()
        return box

    def _append(self, box: MailboxId, words: frozenset[str]) -> Future[Uid]:
        sealed = self.store.seal(letter("brouillon"))
        return self.store.write(lambda w: w.append(box, sealed, words, self.now))

    def queue(self, envelope: str) -> None:
        """Outcomes with replies that name people."""
        leases = self.store.write(lambda w: w.lease(self.now, 10, "canary")).result()
        later = self.now + timedelta(minutes=5)
        told = [
            Outcome(
                lease.envelope.id,
                recipient,
                "retry" if lease.envelope.id == envelope else "failed",
                f"451 {canary('reponse')} <{recipient.address}>",
                later if lease.envelope.id == envelope else None,
            )
            for lease in leases
            for recipient in lease.recipients
        ]
        self.store.write(lambda w: w.record(told, TRANSFER)).result()

    def trouble(self, bal: Bal) -> None:
        """Errors of the store and of the engine, with canaries in what caused them."""
        for job in self._wrong(bal):
            try:
                self.store.write(job).result()
            except Exception:  # as a door says it
                logger.exception("internal error")

    def _wrong(self, bal: Bal) -> Iterator[Callable[[Writing], object]]:
        yield lambda w: w.create_mailbox(bal.id, canary("nouveau"))
        yield lambda w: w.delete_mailbox(bal.id, canary("absente"))
        yield lambda w: w.create_mailbox(bal.id, canary("\n"))
        yield lambda w: w.create_bal(address("bal"), BalType.PER, national_id=RPPS)
        yield lambda w: w.create_account(f"{PLAIN}-compte")
        # Refused by the engine itself: it may log what it was given.
        yield lambda w: w._add_mailbox(bal.id, canary("nouveau"), None)
        yield lambda w: w._add_mailbox(bal.id, canary("special"), b"not a text \xff".decode("l1"))
        yield lambda w: w._run("SELECT 1 FROM nowhere", name=canary("requete"))
        yield lambda w: w.append(
            MailboxId(987), self.store.seal(letter("perdu")), frozenset(), self.now
        )
        yield lambda w: (_ for _ in ()).throw(RuntimeError("a bug of ours"))
        yield lambda w: (w.create_mailbox(bal.id, canary("annulee")), 1 / 0)

    def reading(self, box: MailboxId) -> None:
        """Summaries, bodies, packs, the whole check; keys are replaced."""
        uids = self.store.read(lambda r: r.uids(box)).result()
        self.store.read(lambda r: list(r.summaries(box, uids))).result()
        self.store.read(lambda r: [r.body(box, Uid(uid)) for uid in uids[:3]]).result()
        self._search(box)
        assert self.store.check(deep=True).is_sound
        self.store.rotate_owners(None)
        self.store.rotate_master()
        self.store.write(lambda w: w.prune(self.now)).result()

    def _search(self, box: MailboxId) -> None:
        """With the packs that searching makes, and with those that are there already."""
        uids = self.store.read(lambda r: r.uids(box)).result()
        needles = [Needle(PLAIN.encode())]
        for kind in (*TextKind, *TextKind):
            assert self._found(box, kind, needles, uids) == set(uids)

    def _found(
        self, box: MailboxId, kind: TextKind, needles: list[Needle], uids: list[Uid]
    ) -> set[Uid]:
        steps = self.store.read(lambda r: list(r.find_texts(box, kind, needles, uids))).result()
        return set().union(*(step.found[0] for step in steps))

    def evidence(self, bal: Bal) -> None:
        """A letter of somebody of ours, for here and for somebody who is only invited."""
        stranger = Recipient(address("invite", "poste.test"))
        mine = Recipient(bal.address)
        octets = letter("soumise")
        sealed = self.store.seal(octets, may_be_sent=True)
        sent = Envelope(self.store.new_envelope_id(), bal.address, (mine, stranger), self.now)

        def job(w: Writing) -> object:
            return w.accept(
                sent,
                sealed,
                local=[LocalDelivery(bal.id, mine)],
                queued=(),
                skip=0,
                owner=bal.id,
                transfer=replace(TRANSFER, door=Door.SUBMISSION),
                facts=canary("faits").encode(),
                invited=(stranger,),
            )

        self.store.write(job).result()
        people.copy_in_sent(self.store, bal, octets)

    def begin(self) -> None:
        """A letter that is still arriving: its beginning is in `incoming/`."""
        self.unfinished.write(letter("arrivant") + os.urandom(200_000).hex().encode())


def main() -> None:
    """Fill the store of a configuration."""
    log.configure("debug")
    store = Store(load(Path(sys.argv[1])).store, SystemClock(), SystemEntropy(), worker="canary")
    filler = Filler(store)
    filler.begin()
    bals = filler.people()
    envelope = filler.mail(bals)
    box = filler.mailboxes(bals[0])
    filler.queue(envelope)
    filler.trouble(bals[0])
    filler.evidence(bals[0])
    people.fill(store, *bals, box)
    filler.reading(box)
    assert people.empty_tables(store) == set()
    print("filled", flush=True)
    if sys.stdin.readline():
        with suppress(MailError):
            filler.unfinished.abort()
        store.close()
        print("closed", flush=True)


if __name__ == "__main__":
    main()
