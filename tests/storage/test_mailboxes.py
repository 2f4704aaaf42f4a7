"""Mailboxes, flags, expunge, copy, move."""

from __future__ import annotations

from functools import partial

import pytest

from mssmtp.mail import Address, Bal, BalState, BalType, MailboxId, ModSeq, Uid
from mssmtp.storage import (
    BadMailboxName,
    BalExists,
    MailboxExists,
    NationalIdRequired,
    NoSuchMailbox,
    NoSuchMessage,
    ProtectedMailbox,
    Store,
    TooManyKeywords,
    Writing,
)
from tests.storage.support import RPPS, SteppingClock, accept, add_bal, inbox, message

SEEN, DELETED = frozenset({"\\Seen"}), frozenset({"\\Deleted"})


def names(store: Store, bal: Bal) -> list[str]:
    return [mailbox.name for mailbox in store.read(lambda r: r.mailboxes(bal.id)).result()]


def create(store: Store, bal: Bal, name: str) -> MailboxId:
    return store.write(lambda w: w.create_mailbox(bal.id, name)).result().id


def fill(store: Store, mailbox: MailboxId, count: int) -> list[Uid]:
    when = SteppingClock().now()
    letters = [store.seal(message(f"n {number}")) for number in range(count)]
    return store.write(
        lambda w: [w.append(mailbox, letter, frozenset(), when) for letter in letters]
    ).result()


def uids(store: Store, mailbox: MailboxId) -> list[int]:
    return [row.uid for row in store.read(lambda r: r.messages(mailbox)).result()]


def test_a_new_box_has_its_special_mailboxes_subscribed(store: Store, zoe: Bal) -> None:
    boxes = store.read(lambda r: r.mailboxes(zoe.id)).result()
    assert [box.name for box in boxes] == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert all(box.subscribed for box in boxes)
    assert {box.special_use for box in boxes} == {
        None,
        "\\Archive",
        "\\Drafts",
        "\\Junk",
        "\\Sent",
        "\\Trash",
    }
    assert len({box.uid_validity for box in boxes}) == 6


@pytest.mark.parametrize("name", ["INBOX", "inbox", "Sent", "Trash"])
def test_protected_mailboxes_stay(store: Store, zoe: Bal, name: str) -> None:
    with pytest.raises(ProtectedMailbox):
        store.write(lambda w: w.delete_mailbox(zoe.id, name)).result()
    if name.upper() != "INBOX":
        with pytest.raises(ProtectedMailbox):
            store.write(lambda w: w.rename_mailbox(zoe.id, name, "Elsewhere")).result()


def test_parents_are_made_and_names_are_any_text(store: Store, zoe: Bal) -> None:
    create(store, zoe, "Été/🩺 suivi/../a'; DROP TABLE bals;--")
    assert "Été/🩺 suivi" in names(store, zoe)
    assert "Été" in names(store, zoe)
    with pytest.raises(MailboxExists):
        create(store, zoe, "Été")
    with pytest.raises(MailboxExists):
        create(store, zoe, "iNbOx")


@pytest.mark.attack
@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a/", "a\0b", "a\r\nb", "x/" * 40 + "y"])
def test_att_23_impossible_names_are_refused(store: Store, zoe: Bal, name: str) -> None:
    with pytest.raises(BadMailboxName):
        create(store, zoe, name)


@pytest.mark.attack
def test_att_22_metacharacters_are_only_text(store: Store, zoe: Bal) -> None:
    evil = Address.parse("'or'1'='1@hopital-a.test")
    assert store.read(lambda r: r.bal(evil)).result() is None
    assert store.read(lambda r: r.account("' OR 1=1 --")).result() is None
    assert store.read(lambda r: r.account("ZOE@hopital-a.test")).result() is not None
    assert store.read(lambda r: r.mailbox(zoe.id, "%")).result() is None


def test_uid_validity_is_new_after_delete_and_create(store: Store, zoe: Bal) -> None:
    first = store.write(lambda w: w.create_mailbox(zoe.id, "Tmp")).result()
    store.write(lambda w: w.delete_mailbox(zoe.id, "Tmp")).result()
    again = store.write(lambda w: w.create_mailbox(zoe.id, "Tmp")).result()
    assert again.uid_validity > first.uid_validity
    assert again.id != first.id


def test_a_deleted_mailbox_stays_subscribed_until_asked(store: Store, zoe: Bal) -> None:
    create(store, zoe, "Tmp")
    store.write(lambda w: w.delete_mailbox(zoe.id, "Tmp")).result()
    assert "Tmp" in store.read(lambda r: r.subscriptions(zoe.id)).result()
    store.write(lambda w: w.subscribe(zoe.id, "Tmp", on=False)).result()
    assert "Tmp" not in store.read(lambda r: r.subscriptions(zoe.id)).result()
    with pytest.raises(NoSuchMailbox):
        store.write(lambda w: w.subscribe(zoe.id, "Tmp", on=True)).result()


def test_rename_takes_children_along_and_keeps_uids(store: Store, zoe: Bal) -> None:
    create(store, zoe, "A/B/C")
    before = store.read(lambda r: r.mailbox(zoe.id, "A/B/C")).result()
    store.write(lambda w: w.rename_mailbox(zoe.id, "A/B", "X/Y")).result()
    after = store.read(lambda r: r.mailbox(zoe.id, "X/Y/C")).result()
    assert before is not None
    assert after is not None
    assert (after.id, after.uid_validity) == (before.id, before.uid_validity)
    assert "A/B" not in names(store, zoe)
    assert "X" in names(store, zoe)
    with pytest.raises(BadMailboxName):
        store.write(lambda w: w.rename_mailbox(zoe.id, "X", "X/Z")).result()


def test_renaming_inbox_moves_its_messages(store: Store, zoe: Bal) -> None:
    fill(store, inbox(store, zoe), 3)
    store.write(lambda w: w.rename_mailbox(zoe.id, "INBOX", "Old")).result()
    old = store.read(lambda r: r.mailbox(zoe.id, "Old")).result()
    assert old is not None
    assert old.messages == 3
    assert uids(store, inbox(store, zoe)) == []


def test_flags_change_modseq_only_where_they_change(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 4)
    store.write(lambda w: w.store_flags(box, [Uid(2)], "+", SEEN)).result()
    rows = store.write(lambda w: w.store_flags(box, [Uid(1), Uid(2), Uid(9)], "+", SEEN)).result()
    assert [row.uid for row in rows] == [1, 2]
    assert rows[0].modseq > rows[1].modseq
    mailbox = store.read(lambda r: r.mailbox_by_id(box)).result()
    assert mailbox is not None
    assert mailbox.unseen == 2
    changed = store.read(lambda r: r.messages(box, None, rows[1].modseq)).result()
    assert [row.uid for row in changed] == [1]
    store.write(lambda w: w.store_flags(box, [Uid(1)], "=", frozenset({"$Label1"}))).result()
    row = store.read(lambda r: r.messages(box, [(1, 1)])).result()[0]
    assert row.flags == {"$Label1"}


def test_uids_and_the_first_unseen_are_read_without_the_rows(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    assert store.read(lambda r: (r.uids(box), r.first_unseen(box))).result() == ([], None)
    fill(store, box, 4)
    store.write(lambda w: w.store_flags(box, [Uid(1), Uid(2)], "+", SEEN)).result()
    assert store.read(lambda r: (r.uids(box), r.first_unseen(box))).result() == ([1, 2, 3, 4], 3)
    assert store.read(lambda r: r.uids(box, 3)).result() == [3, 4]
    store.write(lambda w: w.store_flags(box, [Uid(3), Uid(4)], "+", SEEN)).result()
    assert store.read(lambda r: r.first_unseen(box)).result() is None


def test_scattered_uids_are_read_as_they_are_in_order(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 100)
    store.write(lambda w: w.store_flags(box, [Uid(7)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    for singles in (31, 32, 33):
        wanted = [(90, 95), *((uid, uid) for uid in range(1, 2 * singles, 2)), (80, 82)]
        rows = store.read(lambda r, spans=wanted: r.messages(box, spans)).result()  # type: ignore[misc]
        named = {uid for low, high in wanted for uid in range(low, high + 1)}
        assert [row.uid for row in rows] == sorted(named - {7})


def test_keywords_keep_their_first_spelling(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 1)
    store.write(lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"$MDNSent"}))).result()
    rows = store.write(
        lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"$mdnsent"}))
    ).result()
    assert rows[0].flags == {"$MDNSent"}
    assert store.read(lambda r: r.keywords(box)).result() == ("$MDNSent",)
    many = frozenset(f"k{number}" for number in range(60))
    with pytest.raises(TooManyKeywords):
        store.write(lambda w: w.store_flags(box, [Uid(1)], "+", many)).result()
    assert store.read(lambda r: r.keywords(box)).result() == ("$MDNSent",)


def test_expunge_takes_only_deleted_ones_and_leaves_tombstones(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 5)
    before = store.read(lambda r: r.mailbox_by_id(box)).result()
    assert before is not None
    store.write(lambda w: w.store_flags(box, [Uid(2), Uid(4)], "+", DELETED)).result()
    assert store.write(lambda w: w.expunge(box, [Uid(1), Uid(2)])).result() == [2]
    assert store.write(lambda w: w.expunge(box)).result() == [4]
    assert uids(store, box) == [1, 3, 5]
    gone = store.read(lambda r: r.expunged_since(box, before.highest_modseq)).result()
    assert gone == [2, 4]
    with pytest.raises(NoSuchMessage):
        store.read(lambda r: r.body(box, Uid(2))).result()
    assert fill(store, box, 1) == [6]


def test_the_last_reference_shreds_the_content(store: Store, zoe: Bal) -> None:
    box, other = inbox(store, zoe), create(store, zoe, "Copy")
    envelope, _ = accept(store, store.seal(message()), [zoe])
    store.write(lambda w: w.copy(box, [Uid(1)], other)).result()
    store.write(lambda w: w.store_flags(box, [Uid(1)], "+", DELETED)).result()
    store.write(lambda w: w.expunge(box)).result()
    assert store.check().counted["blobs"] == 1
    store.write(lambda w: w.delete_mailbox(zoe.id, "Copy")).result()
    assert store.check().counted["blobs"] == 0
    kinds = [event.kind for event in store.read(lambda r: r.events(envelope)).result()]
    assert kinds == ["scellement", "remise", "suppression"]


def test_copy_and_move_carry_flags_and_content_to_another_box(store: Store, zoe: Bal) -> None:
    other = add_bal(store, "ana@hopital-a.test")
    box, target = inbox(store, zoe), inbox(store, other)
    fill(store, box, 3)
    marks = frozenset({"\\Seen", "$Label2"})
    store.write(lambda w: w.store_flags(box, [Uid(2)], "+", marks)).result()
    pairs = store.write(lambda w: w.copy(box, [Uid(2), Uid(9)], target)).result()
    assert pairs == [(2, 1)]
    row = store.read(lambda r: r.messages(target)).result()[0]
    assert row.flags == marks
    assert store.read(lambda r: r.body(target, Uid(1))).result() == message("n 1")
    assert store.write(lambda w: w.move(box, [Uid(1), Uid(2)], target)).result() == [(1, 2), (2, 3)]
    assert uids(store, box) == [3]
    with pytest.raises(NoSuchMailbox):
        store.write(lambda w: w.copy(box, [Uid(3)], MailboxId(999))).result()


def test_copied_messages_share_a_modseq_and_their_letters_last_as_long_as_one_of_them(
    store: Store, zoe: Bal
) -> None:
    box, other = inbox(store, zoe), create(store, zoe, "Copy")
    sent = fill(store, box, 130)
    first = store.write(lambda w: w.copy(box, sent, other)).result()
    again = store.write(lambda w: w.copy(other, [Uid(1), Uid(130)], other)).result()
    assert [made for _, made in (*first, *again)] == list(range(1, 133))
    rows = store.read(lambda r: r.messages(other)).result()
    assert [row.modseq for row in rows] == [ModSeq(2)] * 130 + [ModSeq(3)] * 2
    assert store.write(lambda w: w.move(other, [Uid(1), Uid(3)], box)).result() == [
        (1, 131),
        (3, 132),
    ]
    assert store.write(lambda w: w.discard(box, sent)).result() == sent
    assert store.check().counted["blobs"] == 130
    assert store.read(lambda r: r.body(box, Uid(131))).result() == message("n 0")
    store.write(lambda w: w.discard(box, [Uid(131), Uid(132)])).result()
    assert store.check().counted["blobs"] == 129  # the first one was copied twice
    store.write(lambda w: w.delete_mailbox(zoe.id, "Copy")).result()
    assert store.check().counted["blobs"] == 0


def test_recent_is_claimed_once(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 2)
    assert store.write(lambda w: w.claim_recent(box)).result() == 1
    assert store.write(lambda w: w.claim_recent(box)).result() == 3


def test_changed_since_sees_new_messages(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    fill(store, box, 2)
    known = store.read(lambda r: r.mailbox_by_id(box)).result()
    assert known is not None
    fill(store, box, 1)
    rows = store.read(lambda r: r.messages(box, [(1, 99)], known.highest_modseq)).result()
    assert [row.uid for row in rows] == [3]
    assert store.read(lambda r: r.messages(box, None, ModSeq(0))).result()[-1].uid == 3


@pytest.mark.requirement("OP-38")
@pytest.mark.parametrize("number", [None, "", "8123", "199900000110", "8999000001100"])
def test_per_without_rpps_or_adeli_is_refused(store: Store, number: str | None) -> None:
    address = Address.parse("sans@hopital-a.test")
    with pytest.raises(NationalIdRequired, match="MED"):
        store.write(lambda w: w.create_bal(address, BalType.PER, national_id=number)).result()
    made = store.write(lambda w: w.create_bal(address, BalType.MED)).result()
    assert made.type is BalType.MED


def test_an_address_belongs_to_one_box_usual_addresses_too(store: Store, zoe: Bal) -> None:
    usual = Address.parse("zoe@clinique.test")
    made = store.write(
        lambda w: w.create_bal(
            Address.parse("z2@hopital-a.test"),
            BalType.PER,
            national_id=RPPS,
            usual_address=usual,
        )
    ).result()
    assert store.read(lambda r: r.bal_by_usual(usual)).result() == made
    for address in (usual, zoe.address):
        with pytest.raises(BalExists):
            store.write(partial(Writing.create_bal, address=address, type=BalType.MED)).result()


def test_a_principal_acts_in_active_boxes_only(store: Store, zoe: Bal) -> None:
    org = store.write(
        lambda w: w.create_bal(Address.parse("secretariat@hopital-a.test"), BalType.ORG)
    ).result()
    account = store.read(lambda r: r.account("zoe@hopital-a.test")).result()
    assert account is not None
    for _ in range(2):
        store.write(lambda w: w.add_member(org.id, account.id)).result()
    assert store.read(lambda r: r.principal(account.id)).result().bals == (zoe, org)
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.SUSPENDED)).result()
    assert store.read(lambda r: r.principal(account.id)).result().bals == (org,)


def test_app_passwords_are_kept_and_revoked(store: Store, zoe: Bal) -> None:
    account = store.read(lambda r: r.account("zoe@hopital-a.test")).result()
    assert account is not None
    id = store.write(lambda w: w.add_app_password(account.id, "Poste", "$argon2", "SCRAM")).result()
    when = SteppingClock().now()
    store.write(lambda w: w.touch_app_password(id, when)).result()
    store.write(lambda w: w.revoke_app_password(id)).result()
    (found,) = store.read(lambda r: r.app_passwords(account.id)).result()
    assert (found.name, found.argon2, found.scram) == ("Poste", "$argon2", "SCRAM")
    assert found.last_used_at == when
    assert found.revoked_at is not None
