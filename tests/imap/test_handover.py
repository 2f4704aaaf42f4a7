"""What is handed over is a mailbox of its own, exact whatever others do to the box (DEF-23)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp.imap.commands.expunge import remove_deleted
from mssmtp.imap.effects import Read
from mssmtp.imap.numbers import View
from mssmtp.mail import BalState, DelegateRight
from mssmtp.storage import Delegation, Writing
from mssmtp.storage.handed import is_to_do
from tests.imap.world import LUC, ZOE, Client, World, message

INBOX = f'"Other Users/{ZOE}/INBOX"'
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["arrives", "reads", "copies", "moves", "returns", "expunges", "marks"]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), True),
        (("\\Answered",), True),
        (("\\Seen",), False),
        (("\\Seen", "$MSSPris"), True),
        (("\\Seen", "\\Flagged"), True),
        (("\\Seen", "$MSSPris", "$MSSDone"), False),
        (("$MSSFait",), True),
        (("\\Deleted",), False),
    ],
)
def test_unread_is_to_do_and_so_is_what_was_begun_and_not_done(
    flags: tuple[str, ...], expected: bool
) -> None:
    assert is_to_do(frozenset(flags)) is expected


class Mirror:
    """A client that believes what it is told, and never asks anew."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.uids: list[int] = []
        self.learn(client.ok(f"SELECT {INBOX}"))

    def learn(self, lines: list[str]) -> None:
        for line in lines:
            if found := re.fullmatch(r"\* (\d+) EXISTS", line):
                assert int(found[1]) >= len(self.uids), "EXISTS never takes anything away"
                self.uids += [0] * (int(found[1]) - len(self.uids))
            elif found := re.fullmatch(r"\* (\d+) EXPUNGE", line):
                del self.uids[int(found[1]) - 1]
            elif found := re.match(r"\* (\d+) FETCH \(.*?UID (\d+)", line):
                assert self.uids[int(found[1]) - 1] in (0, int(found[2]))
                self.uids[int(found[1]) - 1] = int(found[2])
        if 0 in self.uids:
            self.learn(self.client.ok(f"FETCH {self.uids.index(0) + 1}:* (UID)"))


class Holder:
    """Does things to the box, and keeps book of which contents are handed over."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, world.client(ZOE)
        self.places: dict[str, dict[int, bool]] = {"INBOX": {}, "Suivi": {}}
        self.client.ok("CREATE Suivi")

    def do(self, deed: str, number: int) -> None:
        here = self.places["INBOX"]
        if deed == "arrives":
            self.world.deliver(message(number))
            self.client.ok("NOOP")
            here[1 + max([*here, self.last])] = True
            self.last = max(here)
            return
        box, target = ("Suivi", "INBOX") if deed == "returns" else ("INBOX", "Suivi")
        held = self.places[box]
        if not held:
            return
        uid = sorted(held)[number % len(held)]
        self._act(deed, uid, (box, target))

    last = 0

    def _act(self, deed: str, uid: int, places: tuple[str, str]) -> None:
        box, target = places
        self.client.ok(f"SELECT {box}")
        if deed == "reads":
            self.client.ok(f"UID STORE {uid} +FLAGS (\\Seen)")
        elif deed == "marks":
            self.client.ok(f"UID STORE {uid} -FLAGS (\\Seen)")
        elif deed == "expunges":
            self.client.ok(f"UID STORE {uid} +FLAGS (\\Deleted)")
            self.client.ok(f"UID EXPUNGE {uid}")
            del self.places[box][uid]
        else:
            verb = "COPY" if deed == "copies" else "MOVE"
            tagged, told = self.client.command(f"UID {verb} {uid} {target}")
            found = re.search(r"COPYUID \d+ \d+ (\d+)", "".join([tagged, *told]))
            assert found, tagged
            made = int(found[1])
            is_new = self.places[box][uid] and (box, uid) not in self.kept
            self.places[target][made] = is_new
            if deed != "copies":
                del self.places[box][uid]
            if target == "INBOX":
                self.last = max(self.last, made)
        self.client.ok("SELECT INBOX")

    kept: frozenset[tuple[str, int]] = frozenset()
    """Handed over as they lie, not for their content: a copy of them is not."""


@pytest.mark.requirement("DEF-23")
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=DEEDS, after=DEEDS)
def test_numbers_uids_and_counters_are_exact_whatever_the_holder_does(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[str, int]],
    after: list[tuple[str, int]],
) -> None:
    world = World(tmp_path_factory.mktemp("handover"))
    holder = Holder(world)
    for deed in [("arrives", 0), ("arrives", 1), ("reads", 0), *before]:
        holder.do(*deed)
    for box, uids in holder.places.items():
        unread = holder.client.ok(f"SELECT {box}") and holder.client.ok("UID SEARCH UNSEEN")
        found = {int(each) for each in re.findall(r"\d+", unread[0])}
        holder.places[box] = {uid: uid in found for uid in uids}
    holder.kept = frozenset((b, u) for b, uids in holder.places.items() for u in uids)
    holder.client.ok("SELECT INBOX")
    world.hand_over()
    mirror, other = Mirror(world.client(LUC, None)), world.client(LUC, None)
    for deed in after:
        holder.do(*deed)
        mirror.learn(mirror.client.ok("NOOP"))
        seen = sorted(uid for uid, is_seen in holder.places["INBOX"].items() if is_seen)
        assert mirror.uids == seen
        told = "".join(other.ok(f"STATUS {INBOX} (MESSAGES UNSEEN SIZE)"))
        assert f"MESSAGES {len(seen)} " in told
        unseen = "".join(mirror.client.ok("UID SEARCH UNSEEN")).count(" ") - 1
        assert f"UNSEEN {unseen} " in told
    mirror.client.ok("UID STORE 1:* +FLAGS ($MSSFait \\Seen)")
    mirror.learn(mirror.client.ok("NOOP"))
    assert mirror.uids == sorted(u for u, is_seen in holder.places["INBOX"].items() if is_seen)
    world.store.close()


@pytest.mark.requirement("DEF-23", "DEF-12")
@pytest.mark.attack("ATT-24")
def test_att_24_the_rest_of_the_box_cannot_be_reached_by_any_name_or_number(world: World) -> None:
    world.fill(3)
    world.client(ZOE).ok("STORE 1,3 +FLAGS.SILENT (\\Seen)")
    world.hand_over(DelegateRight.SEND)
    colleague = world.client(LUC, None)
    colleague.ok(f"SELECT {INBOX}")
    for asked in (
        "UID FETCH 1:3 (UID BODY.PEEK[])",
        "UID SEARCH BODY Bonjour",
        "UID SORT (ARRIVAL) UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 ALL",
        "UID STORE 1:3 +FLAGS (\\Answered)",
        "UID COPY 1:3 INBOX",
    ):
        said = "".join(colleague.ok(asked))
        assert not re.search(r"UID [13]\b|SEARCH .*\b[13]\b|\([13]\)|Bonjour [13]", said), asked
    for refused in ("UID STORE 2 +FLAGS (\\Deleted)", "UID MOVE 2 INBOX", "UID EXPUNGE 2"):
        assert colleague.command(refused)[0].startswith("NO [NOPERM]"), refused
    assert colleague.command(f'CREATE "Other Users/{ZOE}/Ici"')[0].startswith("NO")
    holder = world.client(ZOE)
    assert "\\Answered" not in "".join(holder.ok("FETCH 1,3 FLAGS"))


@pytest.mark.attack("ATT-24")
def test_att_24_what_was_expunged_beside_a_part_is_not_told_apart_from_what_is_there(
    world: World,
) -> None:
    world.fill(6)
    holder = world.client(ZOE)
    holder.ok("STORE 1,2,5 +FLAGS.SILENT (\\Seen)")
    world.hand_over(DelegateRight.READ)
    holder.ok("STORE 2,3 +FLAGS.SILENT (\\Deleted)")
    holder.ok("UID EXPUNGE 2,3")
    colleague = world.client(LUC, None)
    colleague.ok("ENABLE QRESYNC")
    selected = "".join(colleague.ok(f"SELECT {INBOX}"))
    found = re.search(r"UIDVALIDITY (\d+)", selected)
    assert found
    for asked in (
        f"SELECT {INBOX} (QRESYNC ({found[1]} 1))",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    ):
        gone = [each for each in colleague.ok(asked) if "VANISHED" in each]
        assert gone == ["* VANISHED (EARLIER) 1:3,5"], asked


@pytest.mark.attack("ATT-24")
def test_att_24_how_full_the_box_beside_a_part_is_is_not_told(world: World) -> None:
    world.fill(2)
    assert any("STORAGE" in each for each in world.client(ZOE).ok("GETQUOTAROOT INBOX"))
    world.hand_over(DelegateRight.SEND)
    colleague = world.client(LUC, None)
    assert colleague.ok(f"GETQUOTAROOT {INBOX}") == [f"* QUOTAROOT {INBOX}"]
    assert colleague.command(f'GETQUOTA "{ZOE}"')[0].startswith("NO [NONEXISTENT]")


@pytest.mark.requirement("DEF-23")
def test_a_box_that_was_closed_shows_the_same_part_even_to_a_former_delegate(world: World) -> None:
    world.fill(3)
    world.client(ZOE).ok("STORE 2 +FLAGS.SILENT (\\Seen)")

    def job(writing: Any) -> None:
        luc, now = writing.account(LUC).id, world.clock.now()
        writing.add_delegation(Delegation(world.zoe.id, luc, DelegateRight.SEND, now))

    world.store.write(job).result()
    world.hand_over(DelegateRight.READ)
    world.store.write(job).result()
    colleague = world.client(LUC, None)
    assert "* 3 EXISTS" in colleague.ok(f"SELECT {INBOX}"), "the holder lends the whole"
    world.store.write(lambda w: w.set_bal_state(world.zoe.id, BalState.CLOSED)).result()
    world.changed()
    assert b"BYE" in colleague.send(b"z NOOP\r\n")
    again = world.client(LUC, None)
    assert "* 2 EXISTS" in again.ok(f"SELECT {INBOX}")
    assert again.ok(f"MYRIGHTS {INBOX}")[0].endswith(" lrs"), "of the handover alone"


@pytest.mark.attack("ATT-24")
def test_att_24_a_handover_gives_no_right_over_a_whole_that_was_lent_to_be_read(
    world: World,
) -> None:
    world.fill(3)
    world.client(ZOE).ok("STORE 1,3 +FLAGS.SILENT (\\Seen)")
    world.hand_over(DelegateRight.SEND)

    def job(writing: Any) -> Any:
        luc, now = writing.account(LUC).id, world.clock.now()
        writing.add_delegation(Delegation(world.zoe.id, luc, DelegateRight.READ, now))
        return writing.principal(luc)

    lent = world.store.write(job).result().lent(world.zoe.id)
    assert lent is DelegateRight.SEND, "he answers for her as before"
    colleague = world.client(LUC, None)
    assert "* 3 EXISTS" in colleague.ok(f"SELECT {INBOX}")
    assert colleague.ok(f"MYRIGHTS {INBOX}")[0].endswith(" lrs")
    assert colleague.command("UID STORE 1 +FLAGS (\\Answered)")[0].startswith("NO [NOPERM]")


@pytest.mark.attack("ATT-19")
def test_att_19_a_handover_that_says_no_messages_shows_none(world: World) -> None:
    world.fill(2)

    def job(writing: Writing) -> int:
        account = writing.account(LUC)
        assert account is not None
        now = world.clock.now()
        new = Delegation(world.zoe.id, account.id, DelegateRight.READ, now)
        made = writing.add_delegation(new)
        mailbox = writing.mailbox(world.zoe.id, "INBOX")
        assert mailbox is not None
        part = writing.part_of(mailbox, made.id)
        assert part is not None
        return part.messages

    assert world.store.write(job).result() == 0


@pytest.mark.attack("ATT-24")
def test_att_24_a_name_of_which_nothing_was_handed_over_is_not_told(world: World) -> None:
    holder = world.client(ZOE)
    for name in ("Divorce", "Suivi", "Suivi/Lu"):
        holder.ok(f"CREATE {name}")
    world.fill(2)
    holder.ok("SELECT INBOX")
    holder.ok("MOVE 2 Suivi")
    world.hand_over(DelegateRight.READ)
    colleague = world.client(LUC, None)

    def told() -> str:
        return "".join(colleague.ok('LIST "" "*"'))

    assert "Suivi" in told()
    assert "Divorce" not in told()
    assert "Lu" not in told()
    for asked in ("SELECT", "STATUS"):
        items = " (MESSAGES)" if asked == "STATUS" else ""
        command = f'{asked} "Other Users/{ZOE}/Divorce"{items}'
        assert colleague.command(command)[0].startswith("NO [NONEXISTENT]")
    # A letter of the part has come into it since: there it is to be found.
    world.deliver(message(7))
    holder.ok("SELECT INBOX")
    holder.ok("MOVE 2 Divorce")
    assert "Divorce" in told()


@pytest.mark.requirement("DEF-23")
def test_a_mailbox_made_after_the_handover_is_another_in_its_part_than_in_the_whole(
    world: World,
) -> None:
    world.hand_over(DelegateRight.READ)
    holder, colleague = world.client(ZOE), world.client(LUC, None)
    holder.ok("CREATE Depuis")
    world.deliver(message(1))
    holder.ok("SELECT INBOX")
    holder.ok("MOVE 1 Depuis")

    def validity(client: Client, name: str) -> int:
        found = re.search(r"UIDVALIDITY (\d+)", "".join(client.ok(f"STATUS {name} (UIDVALIDITY)")))
        assert found
        return int(found[1])

    part = validity(colleague, f'"Other Users/{ZOE}/Depuis"')
    assert 0 < part < 2**32
    assert part != validity(holder, "Depuis")


@pytest.mark.attack("ATT-24")
def test_att_24_what_is_removed_at_once_is_of_the_part_alone(world: World) -> None:
    """No handover gives the right to remove; should one ever do, it would not reach beyond."""
    world.fill(3)
    holder = world.client(ZOE)
    holder.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    world.hand_over(DelegateRight.SEND)
    holder.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    colleague = world.client(LUC, None)
    colleague.ok(f"SELECT {INBOX}")
    effect = next(remove_deleted(colleague.session, b"a"))
    assert isinstance(effect, Read)
    assert world.store.read(effect.query).result() == [2]


def test_ranges_of_a_part_never_reach_over_what_is_not_in_it() -> None:
    view = View([2, 3, 5, 9, 10, 11], is_part=True)
    assert view.uid_ranges([(0, 4), (5, 6)]) == [(2, 3), (5, 5), (9, 9), (11, 11)]
    assert View([2, 3, 5]).uid_ranges([(0, 3)]) == [(2, 5)]
