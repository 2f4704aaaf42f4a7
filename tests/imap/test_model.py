"""Several sessions, random commands: what each client believes is what the store holds.

Each client keeps a model as RFC 3501 tells it to (EXISTS, EXPUNGE, FETCH) and nothing else. A
wrong sequence number, a lost or doubled EXPUNGE, or an EXPUNGE at a forbidden moment breaks it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import pytest

from mssmtp.imap import flag_lines
from tests.imap.world import Client, World, message

_EXISTS = re.compile(r"\* (\d+) EXISTS\Z")
_EXPUNGE = re.compile(r"\* (\d+) EXPUNGE\Z")
_FETCH = re.compile(r"\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)\)\Z")


@dataclass
class Model:
    """What one client believes: UID (None: not asked yet) and flags by sequence number."""

    client: Client
    uids: list[int | None] = field(default_factory=list)
    flags: list[frozenset[str]] = field(default_factory=list)

    def command(self, text: str, *, may_expunge: bool = True) -> None:
        """One command; its untagged responses are believed."""
        tagged, lines = self.client.command(text)
        assert not tagged.startswith("BAD"), f"{text}: {tagged}"
        for line in lines:
            self._believe(line, may_expunge=may_expunge)

    def _believe(self, line: str, *, may_expunge: bool) -> None:
        if found := _EXISTS.match(line):
            count = int(found[1])
            assert count >= len(self.uids), "EXISTS went down"
            self.flags += [frozenset()] * (count - len(self.uids))
            self.uids += [None] * (count - len(self.uids))
        elif found := _EXPUNGE.match(line):
            assert may_expunge, "EXPUNGE where numbers must not move"
            del self.uids[int(found[1]) - 1], self.flags[int(found[1]) - 1]
        elif found := _FETCH.match(line):
            at = int(found[1]) - 1
            if found[2] is not None:
                assert self.uids[at] in (None, int(found[2])), "the number means another message"
                self.uids[at] = int(found[2])
            self.flags[at] = frozenset(found[3].split()) - {"\\Recent"}

    def learn(self) -> None:
        """Ask for UIDs that are not known; believed flags must prove true."""
        self.command("NOOP")
        known = {at: self.flags[at] for at, uid in enumerate(self.uids) if uid is not None}
        if self.uids:
            self.command("FETCH 1:* (UID FLAGS)", may_expunge=False)
        assert {at: self.flags[at] for at in known} == known, "flags changed without a word"


def _step(random_: random.Random, model: Model) -> None:
    count = len(model.uids)
    number = random_.randint(1, count) if count else None
    flag = random_.choice(["\\Deleted", "\\Seen", "\\Flagged", "$Junk"])
    sign = random_.choice(["+", "-", ""])
    uid = random_.randint(1, 40)
    match random_.randrange(10):
        case 0 | 1 if number:
            model.command(f"STORE {number}:* {sign}FLAGS ({flag})", may_expunge=False)
        case 2:
            model.command(f"UID STORE {uid}:* {sign}FLAGS.SILENT ({flag})")
            model.command("UID FETCH 1:* (FLAGS)")
        case 3:
            model.command("EXPUNGE")
        case 4:
            model.command(f"UID EXPUNGE {uid}:*")
        case 5 if number:
            model.command(f"COPY {number} INBOX")
        case 6 if number:
            model.command(f"MOVE {number} Trash")
        case 7:
            model.client.world.deliver(message(uid))
        case 8 if number:
            model.command(f"FETCH {number} (UID FLAGS)", may_expunge=False)
            model.command("SEARCH UNSEEN", may_expunge=False)
        case _:
            model.command("UID SEARCH ALL")


@pytest.mark.parametrize("seed", range(12))
def test_every_client_believes_what_is_true(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small mailboxes take the way of big ones, by images, in half of the runs.
    monkeypatch.setattr(flag_lines, "LEAST", 1 if seed % 2 else 64)
    random_ = random.Random(seed)  # noqa: S311 - a seed makes the run repeatable
    world.fill(6)
    models = [Model(world.client(select=None)) for _ in range(3)]
    for model in models:
        model.command("SELECT INBOX")
        model.learn()
    for _ in range(40):
        _step(random_, random_.choice(models))
        if random_.random() < 0.2:
            random_.choice(models).learn()
    for model in models:
        model.learn()
    rows = world.store.read(
        lambda r: r.messages(next(m.id for m in r.mailboxes(world.zoe.id) if m.name == "INBOX"))
    ).result()
    for model in models:
        assert model.uids == [row.uid for row in rows]
        assert model.flags == [row.flags for row in rows]
