"""Sessions drawn at random from what every IMAP server understands, the same for the same seed.

Each begins with the same letters in INBOX, so that numbers, UIDs and octets can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable

LETTERS = [
    b"Date: Mon, 2 Mar 2026 10:11:12 +0100\r\nFrom: Luc Bidule <luc@cabinet-b.test>\r\n"
    b"To: zoe@hopital-a.test\r\nSubject: Compte rendu\r\nMessage-ID: <1@cabinet-b.test>\r\n\r\n"
    b"Bonjour\r\nle scanner est normal\r\n",
    b"Date: Tue, 3 Mar 2026 08:00:00 +0100\r\nFrom: =?utf-8?q?Zo=C3=A9?= <zoe@hopital-a.test>\r\n"
    b"To: luc@cabinet-b.test, \"Anne, Dr\" <anne@cabinet-b.test>\r\n"
    b"Cc: secretariat@hopital-a.test\r\n"
    b"Subject: Re: Compte rendu\r\nIn-Reply-To: <1@cabinet-b.test>\r\n"
    b"References: <1@cabinet-b.test>\r\nMessage-ID: <2@hopital-a.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n"
    b"avant\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nVoil=C3=A0 la pi=C3=A8ce\r\n"
    b"--b1\r\nContent-Type: application/zip; name=\"IHE_XDM.ZIP\"\r\n"
    b"Content-Disposition: attachment; filename=\"IHE_XDM.ZIP\"\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBAoAAAAAAA==\r\n--b1--\r\napr=\r\n",
    b"Date: Wed, 4 Mar 2026 23:59:59 -0500\r\nFrom: labo@labo-c.test\r\nTo: zoe@hopital-a.test\r\n"
    b"Subject: Biologie\r\nMessage-ID: <3@labo-c.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=alt\r\n\r\n--alt\r\n\r\nurgent\r\n"
    b"--alt\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n<p>urgent</p>\r\n--alt--\r\n",
    b"Date: Thu, 5 Mar 2026 12:00:00 +0000\r\nFrom: Luc Bidule <luc@cabinet-b.test>\r\n"
    b"Sender: secretaire@cabinet-b.test\r\nReply-To: cabinet@cabinet-b.test\r\n"
    b"To: zoe@hopital-a.test\r\nSubject: Fwd: Biologie\r\nMessage-ID: <4@cabinet-b.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n"
    b"Content-Type: message/rfc822\r\n\r\nFrom: labo@labo-c.test\r\nTo: luc@cabinet-b.test\r\n"
    b"Subject: Biologie\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=n\r\n\r\n"
    b"--n\r\n\r\ndedans\r\n--n\r\nContent-Type: image/png\r\n"
    b"Content-ID: <i@labo-c.test>\r\n\r\nx\r\n"
    b"--n--\r\n\r\n--m--\r\n",
    b"From: sans-date@cabinet-b.test\r\nSubject: sans date ni corps\r\n\r\n",
    b"Date: Fri, 6 Mar 2026 07:00:00 +0100\r\nFrom: undisclosed-recipients:;\r\n"
    b"To: Equipe: a@hopital-a.test, b@hopital-a.test;\r\nSubject: groupe\r\n"
    b"References: <1@cabinet-b.test> <2@hopital-a.test>\r\nMessage-ID: <6@cabinet-b.test>\r\n\r\n"
    b"texte du groupe\r\n",
]  # fmt: skip
DATES = [
    b'" 2-Mar-2026 10:00:00 +0000"',
    b'"12-Mar-2026 23:30:00 +0100"',
    b'"28-Feb-2026 00:00:00 -0800"',
]
MAILBOXES = [
    b"INBOX",
    b"Archive",
    b"Drafts",
    b"Trash",
    b"Sent",
    b"Patients",
    b"Patients/2026",
    b"Nowhere",
]
FLAGS = [
    b"\\Seen",
    b"\\Answered",
    b"\\Flagged",
    b"\\Deleted",
    b"\\Draft",
    b"$MDNSent",
    b"$Forwarded",
]
HEADERS = [b"Subject", b"From", b"To", b"Date", b"Message-ID", b"X-None", b"References"]
WORDS = [
    b"rendu",
    b"RENDU",
    b"urgent",
    b"luc",
    b"scanner",
    b"nulle-part",
    b"cabinet-b.test",
    b"Re:",
]
DAYS = [b"1-Mar-2026", b"2-Mar-2026", b"4-Mar-2026", b"12-Mar-2026", b"13-Mar-2026", b"28-Feb-2026"]

Chance = random.Random


def a_set(chance: Chance) -> bytes:
    """Numbers that mostly are there."""
    one, other = (b"%d" % chance.choice([1, 1, 2, 3, 4, 5, 6, 7, 9]) for _ in range(2))
    return chance.choice([one, one, b"1:*", b"*", one + b":" + other, one + b"," + other])


def flags(chance: Chance) -> bytes:
    """A list of one to three flags."""
    return b"(" + b" ".join(chance.sample(FLAGS, chance.randint(1, 3))) + b")"


def section(chance: Chance) -> bytes:
    """What stands in BODY[]."""
    path = chance.choice([b"", b"1", b"2", b"1.1", b"2.1", b"1.2", b"1.1.1", b"3", b"1.2.1"])
    names = b" ".join(chance.sample(HEADERS, chance.randint(1, 3)))
    kind = chance.choice(
        [b"", b"", b"HEADER", b"TEXT", b"MIME", b"HEADER.FIELDS (%b)" % names,
         b"HEADER.FIELDS.NOT (%b)" % names]
    )  # fmt: skip
    return path + (b"." if path and kind else b"") + kind


def item(chance: Chance) -> bytes:
    """One thing to FETCH."""
    peek = b"BODY.PEEK[%b]" % section(chance)
    partial = b"<%d.%d>" % (chance.choice([0, 0, 5, 50, 5000]), chance.choice([1, 7, 100, 9999]))
    return chance.choice(
        [b"FLAGS", b"UID", b"RFC822.SIZE", b"INTERNALDATE", b"ENVELOPE", b"BODYSTRUCTURE", b"BODY",
         b"RFC822.HEADER", peek, peek, peek + partial, b"BODY[TEXT]", b"BODY[1]<0.5>"]
    )  # fmt: skip


def fetch(chance: Chance) -> bytes:
    """FETCH or UID FETCH."""
    items = b" ".join({item(chance) for _ in range(chance.randint(1, 3))})
    wanted = chance.choice([b"(%b)" % items, b"(%b)" % items, b"ALL", b"FAST", b"FULL"])
    return chance.choice([b"", b"UID "]) + b"FETCH %b %b" % (a_set(chance), wanted)


def key(chance: Chance, depth: int = 0) -> bytes:
    """A search key."""
    word = chance.choice(WORDS)
    simple = [
        b"ALL", b"SEEN", b"UNSEEN", b"DELETED", b"UNDELETED", b"ANSWERED", b"FLAGGED", b"UNFLAGGED",
        b"DRAFT", b"KEYWORD $MDNSent", b"UNKEYWORD $Forwarded", b"SUBJECT " + word, b"FROM " + word,
        b"TO " + word, b"CC " + word, b"BODY " + word, b"TEXT " + word,
        b"HEADER %b %b" % (chance.choice(HEADERS), word), b'HEADER References ""',
        b"LARGER %d" % chance.choice([0, 200, 500, 5000]),
        b"SMALLER %d" % chance.choice([100, 300, 5000]), b"SINCE " + chance.choice(DAYS),
        b"BEFORE " + chance.choice(DAYS), b"ON " + chance.choice(DAYS),
        b"SENTSINCE " + chance.choice(DAYS), b"SENTON " + chance.choice(DAYS),
        b"SENTBEFORE " + chance.choice(DAYS), a_set(chance), b"UID " + a_set(chance),
    ]  # fmt: skip
    if depth < 2 and chance.random() < 0.35:
        inner = [key(chance, depth + 1) for _ in range(2)]
        return chance.choice(
            [
                b"NOT " + inner[0],
                b"OR %b %b" % (inner[0], inner[1]),
                b"(%b %b)" % (inner[0], inner[1]),
            ]
        )
    return chance.choice(simple)


def search(chance: Chance) -> bytes:
    """SEARCH, SORT and THREAD, with RETURN at times."""
    keys = b" ".join(key(chance) for _ in range(chance.randint(1, 2)))
    returning = chance.choice(
        [b"", b"", b"RETURN (MIN MAX COUNT) ", b"RETURN (ALL) ", b"RETURN () "]
    )
    criteria = b" ".join(
        chance.sample([b"ARRIVAL", b"REVERSE DATE", b"SUBJECT", b"FROM", b"SIZE", b"TO", b"CC"], 2)
    )
    algorithm = chance.choice([b"REFERENCES", b"ORDEREDSUBJECT", b"REFS"])
    verb = chance.choice(
        [b"SEARCH %b%b" % (returning, keys), b"SEARCH %b%b" % (returning, keys),
         b"SEARCH CHARSET UTF-8 %b" % keys, b"SORT (%b) UTF-8 %b" % (criteria, keys),
         b"THREAD %b UTF-8 %b" % (algorithm, keys)]
    )  # fmt: skip
    return chance.choice([b"", b"UID "]) + verb


def store(chance: Chance) -> bytes:
    """STORE in its forms."""
    how = chance.choice([b"+FLAGS", b"-FLAGS", b"FLAGS"]) + chance.choice([b"", b"", b".SILENT"])
    return chance.choice([b"", b"UID "]) + b"STORE %b %b %b" % (a_set(chance), how, flags(chance))


def append(chance: Chance) -> bytes:
    """APPEND without waiting."""
    letter = chance.choice(LETTERS)
    marked = chance.choice([b"", flags(chance) + b" "])
    head = b"APPEND %b %b%b" % (chance.choice(MAILBOXES), marked, chance.choice(DATES))
    return head + b" {%d+}\r\n%b" % (len(letter), letter)


def mailbox(chance: Chance) -> bytes:
    """What is done with mailboxes as a whole."""
    one, other = chance.choice(MAILBOXES), chance.choice(MAILBOXES)
    return chance.choice(
        [b"SELECT " + one, b"EXAMINE " + one, b"SELECT INBOX", b"CREATE " + one,
         b"CREATE Patients/2026",
         b"DELETE Patients", b"DELETE " + one, b"RENAME Patients Malades", b"SUBSCRIBE " + one,
         b"UNSUBSCRIBE " + one, b'LIST "" *', b'LIST "" %', b'LIST "" "Patients*"', b'LSUB "" *',
         b"STATUS %b (MESSAGES UIDNEXT UNSEEN)" % one, b"STATUS %b (MESSAGES)" % other,
         b'LIST "" ""', b'LIST (SUBSCRIBED) "" *', b'LIST "" * RETURN (SPECIAL-USE CHILDREN)']
    )  # fmt: skip


def other(chance: Chance) -> bytes:
    """The rest, and lines that are not understood."""
    return chance.choice(
        [b"NOOP", b"CHECK", b"EXPUNGE", b"EXPUNGE", b"UID EXPUNGE " + a_set(chance), b"CLOSE",
         b"UNSELECT", b"COPY %b %b" % (a_set(chance), chance.choice(MAILBOXES)),
         b"UID COPY %b %b" % (a_set(chance), chance.choice(MAILBOXES)),
         b"MOVE %b %b" % (a_set(chance), chance.choice(MAILBOXES)),
         b"UID MOVE %b Archive" % a_set(chance), b"NAMESPACE", b"NONSENSE", b"FETCH", b"FETCH 1",
         b"STORE 1 FLAGS", b"SEARCH", b"SEARCH NONSENSE", b"FETCH 0 FLAGS", b"FETCH 1 (NONSENSE)",
         b"UID NONSENSE 1", b"LOGIN a b", b"SEARCH SUBJECT", b"COPY 1", b"APPEND INBOX"]
    )  # fmt: skip


_KINDS: list[tuple[int, Callable[[Chance], bytes]]] = [
    (30, fetch), (25, search), (15, store), (6, append), (14, mailbox), (10, other),
]  # fmt: skip


def session(seed: int, length: int = 14) -> list[bytes]:
    """The commands of one session, without tags, INBOX selected first."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    kinds = [kind for _, kind in _KINDS]
    weights = [weight for weight, _ in _KINDS]
    drawn = chance.choices(kinds, weights, k=length)
    return [b"SELECT INBOX", *(kind(chance) for kind in drawn)]
