"""Generated mailboxes sorted and threaded by us and by Debian's Dovecot: the answers are the same.

    python -m tests.imap_server.order --mailboxes 40 [--seed 1]

Fields are drawn from small pools, so that subjects, references and dates meet often. What is known
to differ is in `EXPLAINED`; anything else ends the command with 1.
"""

from __future__ import annotations

import argparse
import imaplib
import random
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from tests.dovecot import PASSWORD, dovecot
from tests.imap.test_threads import Letter
from tests.imap.world import START, Client, World

ASKED = (
    *("SORT (ARRIVAL)", "SORT (DATE)", "SORT (REVERSE DATE)", "SORT (SUBJECT)", "SORT (SIZE)"),
    *("SORT (FROM SUBJECT)", "SORT (REVERSE TO)", "SORT (CC DATE)", "SORT (DISPLAYFROM)"),
    *("SORT (REVERSE DISPLAYTO)", "THREAD ORDEREDSUBJECT", "THREAD REFERENCES", "THREAD REFS"),
)
EXPLAINED = {
    "THREAD REFS": "threads by the last arrival (draft-ietf-morg-inthread); Dovecot: the last date",
}
SUBJECTS = (
    *("bilan", "Re: bilan", "BILAN (fwd)", "[liste] Re: bilan", "Fwd: [x] bilan", "[fwd: bilan]"),
    *(
        "radio",
        "re[2]: radio",
        "écho",
        "=?utf-8?Q?=C3=A9cho?=",
        "Re: Écho",
        "",
        "Re:",
        "suivi du 3",
    ),
)
PEOPLE = ("Zoé <zoe@a.test>", "anne@b.test", '"Luc" <LUC@a.test>', "Abel <abel@z.test>, b@c.test")


def letter(draw: random.Random, number: int) -> bytes:
    """One letter; references are to those before it, mostly."""
    ids = [f"m{draw.randrange(1, number + 3)}" for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))]
    threaded = Letter(
        number,
        f"m{number}" if draw.random() < 0.95 else None,
        ids if draw.random() < 0.7 else [],
        ids[-1] if ids else None,
        draw.choice(SUBJECTS),
        draw.randrange(24 * 27),
        number,
    )
    people = "".join(
        f"{name}: {draw.choice(PEOPLE)}\r\n" for name in ("From", "To", "Cc") if draw.random() < 0.9
    )
    return people.encode() + threaded.header() + b"x" * draw.randrange(500) + b"\r\n"


def ours(client: Client, asked: str) -> str:
    """What follows the word in our answer."""
    (line,) = client.ok(f"{asked} UTF-8 ALL")
    return line.partition(" ")[2].partition(" ")[2].strip()


def theirs(peer: imaplib.IMAP4, asked: str) -> str:
    """The same, of theirs."""
    verb, _, argument = asked.partition(" ")
    found = peer._simple_command(verb, argument, "UTF-8", "ALL")
    _, data = peer._untagged_response(*found, verb)
    return (data[0] or b"").decode().strip()


def compare(seed: int, count: int, peer: imaplib.IMAP4) -> list[str]:
    """The differences on one mailbox."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    said: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        world = World(Path(place))
        client = world.client()
        for number in range(1, count + 1):
            octets = letter(draw, number)
            at = START + timedelta(minutes=draw.choice((number, number, 3)))
            date = at.strftime('"%d-%b-%Y %H:%M:%S +0000"')
            text = f"APPEND INBOX {date} {{{len(octets)}+}}\r\n".encode() + octets
            client.ok(text)
            peer.append("INBOX", "", date, octets)
        peer.select("INBOX")
        for asked in ASKED:
            one, other = ours(client, asked), theirs(peer, asked)
            if one != other and asked not in EXPLAINED:
                said.append(f"seed {seed}: {asked}\n  we:      {one}\n  Dovecot: {other}")
        world.close()
    return said


def main() -> int:
    """Play, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mailboxes", type=int, default=40)
    parser.add_argument("--letters", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    found: list[str] = []
    with dovecot() as running:
        for seed in range(wanted.seed, wanted.seed + wanted.mailboxes):
            peer = imaplib.IMAP4("127.0.0.1", running.port)
            peer.login(f"order{seed}", PASSWORD)
            found += compare(seed, wanted.letters, peer)
            peer.logout()
    print("\n".join(found))
    print(f"{wanted.mailboxes} mailboxes, {len(ASKED)} answers each: {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
