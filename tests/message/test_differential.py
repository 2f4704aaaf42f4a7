"""Well-formed letters made by CPython's `email` are read as it reads them."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address as StdAddress
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.message.decode import header_text, text_of
from mssmtp.message.headers import from_addresses
from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Node, Summary
from mssmtp.message.tree import Part, Scan

PEOPLE = st.sampled_from(["Zoé Tartempion", "Max", "D'Hôtel, Anne", "", 'a "b" c', "Dr. X (Y)"])
TEXTS = st.text("abé œ\n.=-–", max_size=200).map(lambda text: text + "\n")
FILE_NAMES = st.text("abé .-_()", min_size=1, max_size=30).map(lambda name: f"x{name.strip()}.pdf")
ATTACHMENTS = st.lists(st.tuples(FILE_NAMES, st.binary(max_size=300)), max_size=3)


@st.composite
def letters(draw: st.DrawFn, depth: int = 0) -> EmailMessage:
    letter = EmailMessage(email.policy.SMTP)
    letter["From"] = StdAddress(draw(PEOPLE), "zoe", "hopital-a.test")
    letter["To"] = [StdAddress(draw(PEOPLE), f"m{n}", "cabinet-b.test") for n in range(2)]
    letter["Subject"] = draw(st.text("abcé XDM/1.0+", max_size=80)).strip() or "essai"
    text = draw(TEXTS)
    cte = draw(st.sampled_from(["base64", "quoted-printable", "8bit"]))
    letter.set_content(text, cte=cte)
    if draw(st.booleans()):
        letter.add_alternative("<p>" + text.replace("<", "") + "</p>", subtype="html", cte=cte)
    for name, octets in draw(ATTACHMENTS):
        letter.add_attachment(octets, maintype="application", subtype="pdf", filename=name)
    if depth < 2 and draw(st.integers(0, 3)) == 0:
        letter.add_attachment(draw(letters(depth + 1)))
    return letter


def scan(octets: bytes) -> Scan:
    scanner = Scanner()
    scanner.feed(octets)
    return scanner.close()


def shape(part: Part) -> list[object]:
    return [part.full_type, *map(shape, part.children)]


def std_shape(message: EmailMessage) -> list[object]:
    inner = message.get_payload()
    children = inner if isinstance(inner, list) else []
    return [
        message.get_content_type(),
        *(std_shape(child) for child in children if isinstance(child, EmailMessage)),
    ]


def std_leaves(message: EmailMessage) -> list[EmailMessage]:
    return [
        part
        for part in message.walk()
        if isinstance(part, EmailMessage) and not isinstance(part.get_payload(), list)
    ]


@settings(max_examples=120, deadline=None)
@given(letters())
def test_letters_of_the_standard_library_are_read_alike(letter: EmailMessage) -> None:
    octets = letter.as_bytes()
    found = scan(octets)
    read = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(read, EmailMessage)
    assert found.defects == ()
    assert shape(found.root) == std_shape(read)
    assert [str(a) for a in from_addresses(found.header)] == ["zoe@hopital-a.test"]
    assert header_text(found.header, "subject").strip() == str(read["subject"]).strip()
    assert _names(found) == _std_names(read)
    _compare_leaves(octets, Summary.of(found), read)


def _names(found: Scan) -> list[tuple[str, int]]:
    return [(a.name, a.size_octets) for a in found.attachments if a.media_type != "message/rfc822"]


def _std_names(read: EmailMessage) -> list[tuple[str, int]]:
    found = []
    for part in read.iter_attachments():
        if part.get_content_type() == "message/rfc822":
            continue
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((part.get_filename() or "", len(payload)))
    return found


def _compare_leaves(octets: bytes, summary: Summary, read: EmailMessage) -> None:
    leaves: list[Node] = [node for node in summary.entities() if not node.children]
    others = std_leaves(read)
    assert len(leaves) == len(others)
    for node, part in zip(leaves, others, strict=True):
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert node.decoded_octets == len(payload)
        if node.full_type == "text/plain":
            assert text_of(node, octets[node.body_start : node.body_end]) == payload.decode("utf-8")
