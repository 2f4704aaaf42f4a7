"""Another reader of signed XML beside ours: `xmlsec1` of Debian (ATT-33).

What we accept it accepts with the same key, and what we index is what it verified. The other way
round we are stricter, on purpose: each such case has to be one of the reasons named here.
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mssmtp.demo.authority import Authority, render, row, sign, stamp
from mssmtp.pki import PEM, Anchors
from mssmtp.revocation import Revocation
from mssmtp.whitelist import NAMESPACE, ListRefused, ListRules, Row, Whitelist
from mssmtp.whitelist_signature import verify
from tests.authority import A_SUBJECT, B_SUBJECT, shared_keys
from tests.space import program
from tests.trust.bad_lists import ILL_SHAPED, SPOILT
from tests.trust.spoiling import NEUTRAL, TOKENS, edited

START, END = b"== PreDigest data - start buffer:\n", b"\n== PreDigest data - end buffer"
STRICTER = {
    "root": "something beside the root, which no signature covers",
    "DTD or entity": "comments, instructions and document types, whoever signed them",
    "signature count": "parts of a signature elsewhere in the tree",
    "signature profile": "any element, attribute or algorithm beside the profile's",
    "signer certificate": "another certificate beside a signature of the right key",
    "shape": "a tree that is signed and is no list",
    "not XML": "an encoding other than UTF-8",
}
"""Why we refuse what xmlsec1 accepts, which looks neither at a profile nor at a shape."""


@dataclass(frozen=True)
class Bench:
    """One authority and where its files lie."""

    authority: Authority
    rules: ListRules
    signer_file: Path
    list_file: Path

    def ours(self, octets: bytes) -> Whitelist | str:
        """The list, or the reason of the refusal."""
        try:
            return verify(octets, self.rules, self.authority.now)
        except ListRefused as error:
            return error.reason

    def theirs(self, octets: bytes) -> bytes | None:
        """The octets xmlsec1 verified with the signer's key; None: it refuses."""
        self.list_file.write_bytes(octets)
        command = [program("xmlsec1"), "--verify", "--store-references", "--print-debug"]
        # KeyInfo is for readers without a key: the key is given, as our pin gives it.
        command += ["--enabled-key-data", "rsa", "--pubkey-cert-pem", str(self.signer_file)]
        done = subprocess.run([*command, str(self.list_file)], capture_output=True, check=False)
        if done.returncode:
            return None
        verified = done.stdout
        return verified[verified.index(START) + len(START) : verified.index(END)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    now = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    authority = Authority(now, make_key=shared_keys(10))
    anchors = Anchors.from_pem(authority.anchors_pem)
    rules = ListRules(
        authority.pin, anchors, Revocation.of(authority.crls(), anchors), 20 * 1_048_576
    )
    folder = tmp_path_factory.mktemp("xmlsec")
    (folder / "signer.pem").write_bytes(authority.signer.certificate.public_bytes(PEM))
    return Bench(authority, rules, folder / "signer.pem", folder / "list.xml")


ODD_TEXTS = (
    "CH <de> Valmont & fils",
    'LA\u00a0MUSE, "site" n° 2 ]]> l\'Î',
    "retour\r\n et tabulation\t.",
    "𝔐essagerie \u2028 \ufeff é e\u0301",
    "&amp; &#13; <![CDATA[x]]>",
)


def lists(bench: Bench, chance: random.Random) -> Iterator[bytes]:
    """Signed lists of every size and every sort of text."""
    for number in range(8):
        rows = [
            row(
                f"d{index}.hopital-{chance.randrange(9)}.test",
                chance.choice((A_SUBJECT, B_SUBJECT)).text,
                updated=bench.authority.now - timedelta(days=index),
                description=chance.choice(ODD_TEXTS) + str(index),
            )
            for index in range(1 + number * number)
        ]
        # What `sax.saxutils.escape` leaves: a carriage return has to be a reference.
        unsigned = render(rows, bench.authority.now).replace(b"\r", b"&#13;")
        yield sign(unsigned, bench.authority.signer)


def agree(bench: Bench, octets: bytes, name: str) -> str:
    """What both say of the same octets; fails where they must not differ."""
    ours, theirs = bench.ours(octets), bench.theirs(octets)
    if isinstance(ours, Whitelist):
        assert theirs is not None, f"accepted by us alone: {name}"
        assert (ours.date, ours.rows) == read(theirs), f"other octets than it verified: {name}"
        return "accepted by both"
    if theirs is None:
        return "refused by both"
    assert ours in STRICTER, f"{ours}: {name}"
    return f"stricter: {ours}"


def read(canonical: bytes) -> tuple[datetime, tuple[Row, ...]]:
    """Date and rows by the standard library's reader."""
    root = ElementTree.fromstring(canonical)  # noqa: S314 - verified octets of ours
    date, table = root
    assert [date.tag, table.tag] == [
        f"{{{NAMESPACE}}}DateDeGeneration",
        f"{{{NAMESPACE}}}ListeDomaines",
    ]
    rows = tuple(Row(*(cell.text or "" for cell in entry)) for entry in table)
    return datetime.fromisoformat(date.text or ""), rows


@pytest.mark.attack
@pytest.mark.requirement("OP-23", "OP-24")
def test_att_33_what_we_index_is_what_another_reader_verified(bench: Bench) -> None:
    """Generated lists, and changes of them that canonicalisation undoes."""
    chance = random.Random(33)  # noqa: S311 - repeatable, not secret
    generated = list(lists(bench, chance))
    for number, octets in enumerate(generated):
        assert agree(bench, octets, f"list {number}") == "accepted by both"
    for name, change in NEUTRAL.items():
        for number in range(6):
            changed = change(chance, generated[number])
            assert agree(bench, changed, f"{name} {number}") == "accepted by both"


@pytest.mark.attack
@pytest.mark.requirement("OP-23", "OP-24")
def test_att_33_what_another_reader_refuses_we_refuse(bench: Bench) -> None:
    """300 edits drawn from what has a meaning in XML."""
    chance = random.Random(34)  # noqa: S311 - repeatable, not secret
    said: Counter[str] = Counter()
    for number, octets in enumerate(lists(bench, chance)):
        if number > 4:
            break
        for edit in range(60):
            edits = [
                (chance.random(), chance.randrange(12), chance.choice(TOKENS))
                for _ in range(chance.randrange(1, 3))
            ]
            changed = edited(octets, edits)
            if bench.ours(changed) == "not XML":
                said["not even XML"] += 1  # the other reader has nothing to say either
            else:
                said[agree(bench, changed, f"list {number} edit {edit} {edits}")] += 1
    assert said.total() == 300
    assert said["refused by both"] > 50
    assert said["accepted by both"] > 0


@pytest.mark.attack
@pytest.mark.parametrize(("name", "spoil", "reason"), SPOILT, ids=[s[0] for s in SPOILT])
def test_att_33_the_wrapping_shapes_before_both_readers(
    bench: Bench, name: str, spoil: object, reason: str
) -> None:
    listed = ("hopital-a.test", "cabinet-b.test")
    rows = [row(domain, A_SUBJECT.text, updated=bench.authority.now) for domain in listed]
    good = sign(render(rows, bench.authority.now), bench.authority.signer)
    said = agree(bench, spoil(good), name)  # type: ignore[operator]  # a function of octets
    assert said in ("refused by both", f"stricter: {reason}")


def test_a_signed_tree_that_is_no_list_is_ours_to_refuse(bench: Bench) -> None:
    rows = [row("hopital-a.test", A_SUBJECT.text, updated=bench.authority.now)]
    unsigned = render(rows, bench.authority.now)
    assert stamp(bench.authority.now).encode() in unsigned
    for name, spoil in ILL_SHAPED:
        said = agree(bench, sign(spoil(unsigned), bench.authority.signer), name)
        assert said == "stricter: shape", name
