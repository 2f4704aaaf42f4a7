"""Canaries in everything that is kept of people, structures, administrators, and of the services
around mail; and whether no table was left out."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from mssmtp.mail import (
    AccountId,
    Actor,
    Address,
    AdminLevel,
    Bal,
    DelegateRight,
    MailboxId,
    PersonId,
    Structure,
    StructureId,
    Uid,
    domain,
)
from mssmtp.storage import Administrator, Delegation, NewNotice, Reading, Store, Writing
from mssmtp.storage.people_values import NewPerson, PersonDetails, Record, ServedDomain
from mssmtp.storage.register import RegisterEntry
from mssmtp.storage.schema import metadata, sql
from mssmtp.storage.suspensions import Suspension
from tests.canary.finder import PLAIN, STEM
from tests.storage.support import read_by

NATIONAL = "810000000000"
MAY_BE_EMPTY = frozenset({"copying", "doomed_files", "expunged", "states"})
"""Numbers and ids alone, and when they come and go is the store's business."""

_COUNTED = {
    table.name: sql(select(func.count()).select_from(table)) for table in metadata.sorted_tables
}


def empty_tables(store: Store) -> set[str]:
    """Tables without a row: what would be put there was not put anywhere."""

    def count(reading: Reading) -> dict[str, int]:
        return {name: reading._all(statement)[0][0] for name, statement in _COUNTED.items()}

    counted = store.read(count).result()
    return {name for name, rows in counted.items() if not rows} - MAY_BE_EMPTY


def fill(store: Store, bal: Bal, other: Bal, box: MailboxId) -> None:
    """A structure and its people, what was declared and given, what services remember."""
    account = store.write(_make_people).result()
    store.write(lambda w: _give(w, bal, account)).result()
    store.write(lambda w: _serve(w, bal, account)).result()
    store.write(lambda w: _share(w, other, account)).result()
    store.write(lambda w: read_by(w, account, box, w.uids(box)[:3], "lu")).result()
    store.write(lambda w: w.record_readings()).result()


def _make_people(writing: Writing) -> AccountId:
    structure = writing.create_structure(
        Structure(StructureId(0), f"{STEM} clinique", "130000011", "13000000000019")
    )
    person = writing.create_person(
        NewPerson(
            Address.parse(f"{PLAIN}.personne@clinique.test"),
            f"{STEM}nom",
            f"{STEM}prénom",
            national_id=NATIONAL,
            structure=structure.id,
            details=PersonDetails(f"{STEM}civilité", f"{STEM}téléphone", f"{STEM}service"),
        )
    )
    served = domain("clinique.mssante.test")
    writing.put_domain(ServedDomain(served, structure.id, purpose=f"{STEM} usage"))
    writing.put_register_entry(RegisterEntry(NATIONAL, f"{STEM}nom", f"{STEM}prénom"))
    writing._retire(Address.parse(f"{PLAIN}.ancien@clinique.mssante.test"))
    said = Record("attestation", writing.now(), {"by": f"{STEM} signataire"})
    writing.add_record("person", PersonId(person.id), said)
    writing.add_administrator(
        Administrator(
            Actor(AdminLevel.STRUCTURE, f"{STEM} dsi", structure=structure.id),
            Address.parse(f"{PLAIN}.dsi@clinique.test"),
            "ab" * 32,
            5_001,
        )
    )
    return person.account


def _give(writing: Writing, bal: Bal, account: AccountId) -> None:
    now = writing.now()
    writing.bind_account("psc", f"{STEM}-sujet", account, f"{STEM} e-CPS")
    writing.set_portal_password(account, f"{STEM} argon2")
    writing.new_secret("reset", f"{STEM}-jeton", account, now, {"a": f"{STEM} lien"})
    writing.put_suspension(
        Suspension("account", str(account), now, f"{STEM} qui", f"{STEM} pourquoi")
    )
    given = Delegation(
        bal.id, account, DelegateRight.SEND, now, reason=f"{STEM} congé", by=f"{STEM} titulaire"
    )
    writing.add_delegation(given)
    writing.trace("administration", f"{STEM} dsi", f"{STEM} acte", account=account)


def _serve(writing: Writing, bal: Bal, account: AccountId) -> None:
    now = writing.now()
    script = f'# {STEM}\nif header "subject" "{PLAIN}" {{ fileinto "{STEM}"; }}\n'
    writing.put_script(bal.id, f"{STEM}tri", script.encode())
    writing.activate_script(bal.id, f"{STEM}tri")
    writing.remember_answered(bal.id, f"{PLAIN}.absent@b.test", now + timedelta(days=4))
    writing.prefer("bal", bal.id, "reply", f"{STEM} je suis absent".encode())
    writing.prefer("account", account, "notifications", f"{STEM} choix".encode())
    later = now + timedelta(hours=1)
    values = {"title": f"{STEM} objet"}
    to = Address.parse(f"{PLAIN}.avis@clinique.test")
    writing.queue_notice(NewNotice("code", to, "fr", values, later, later, account, bal.id))


def _share(writing: Writing, other: Bal, account: AccountId) -> None:
    mailbox = writing.mailbox(other.id, "INBOX")
    assert mailbox is not None
    writing.add_member(other.id, account)
    writing.set_entry(mailbox.id, account, "lr")
    note = f"{STEM} annotation".encode()
    writing.annotate(other.id, f"/shared/vendor/x/{STEM}", note, mailbox=mailbox.id)


def copy_in_sent(store: Store, bal: Bal, octets: bytes) -> Uid | None:
    """What was submitted has its copy in Sent, found again by name and body."""
    letter = store.seal(octets, may_be_sent=True)

    def job(writing: Writing) -> Uid | None:
        mailbox = writing.mailbox(bal.id, "Sent")
        assert mailbox is not None
        uid, _ = writing.append_sent(mailbox, letter, frozenset({"\\Seen"}), writing.now())
        return uid

    return store.write(job).result()
