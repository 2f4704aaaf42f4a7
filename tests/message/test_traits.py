"""What an attachment is beyond its name: XDM, TNEF, an archive with a password."""

from __future__ import annotations

import base64
import io
import quopri
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Attachment, Trait
from mssmtp.message.scanner import Scanner
from mssmtp.message.traits import TAIL_OCTETS


def letter(content: bytes, name: str = "a.zip", kind: str = "application/zip") -> bytes:
    """With one attachment in base64."""
    return (
        f'Content-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    ).encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")


def only_attachment(octets: bytes, step: int = 1 << 20) -> Attachment:
    scanner = Scanner()
    for start in range(0, len(octets), step):
        scanner.feed(octets[start : start + step])
    (found,) = scanner.close().attachments
    return found


def archive(*names: str, filling: int = 0) -> bytes:
    """A zip of files that cannot be packed much."""
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w") as made:
        for number, name in enumerate(names):
            made.writestr(name, bytes((n * n + number) % 251 for n in range(filling)))
    return octets.getvalue()


def locked(octets: bytes, name: str) -> bytes:
    """The same with the member `name` under a password, as far as a reader of flags can tell."""
    changed = bytearray(octets)
    for mark, flags, path in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = -1
        while (at := octets.find(mark, at + 1)) >= 0:
            if octets[at + path :].startswith(name.encode()):
                changed[at + flags] |= 1
    assert changed != octets
    return bytes(changed)


RAR_4 = b"Rar!\x1a\x07\x00" + bytes(2) + b"\x73%b" + struct.pack("<H", 13) + bytes(6)
RAR_4_FILE = bytes(2) + b"\x74%b" + bytes(40)

ARCHIVES: dict[str, tuple[bytes, bool]] = {
    "zip": (archive("a.pdf", "b.pdf", filling=9_000), False),
    "zip, all locked": (locked(archive("a.pdf", filling=9_000), "a.pdf"), True),
    "zip, the last locked": (locked(archive("dossier/", "a", "b.pdf", filling=9), "b.pdf"), True),
    "zip, far beyond the tail": (locked(archive("a", "b.pdf", filling=90_000), "b.pdf"), True),
    "zip, a long directory": (
        locked(archive(*(f"image-{n:04}.dcm" for n in range(900))), "image-0899"),
        True,
    ),
    "zip, cut": (archive("a.pdf", filling=9_000)[:5_000], False),
    "zip, nothing but the mark": (b"PK\x03\x04", False),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(4_000), False),
    "7z, locked": (
        b"7z\xbc\xaf\x27\x1c" + bytes(4_000) + b"\x24\x06\xf1\x07\x01" + bytes(40),
        True,
    ),
    "rar 4": (RAR_4 % bytes(2) + RAR_4_FILE % bytes(2), False),
    "rar 4, headers locked": (RAR_4 % b"\x80\x00" + bytes(90), True),
    "rar 4, file locked": (RAR_4 % bytes(2) + RAR_4_FILE % b"\x04\x80", True),
    "rar 5": (b"Rar!\x1a\x07\x01\x00" + bytes(4) + b"\x0b\x01" + bytes(90), False),
    "rar 5, locked": (b"Rar!\x1a\x07\x01\x00" + bytes(4) + b"\x21\x04" + bytes(90), True),
    "no archive": (b"%PDF-1.7 " + locked(archive("a"), "a"), False),
    "empty": (b"", False),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_with_a_password_is_told(name: str) -> None:
    content, is_locked = ARCHIVES[name]
    traits = (Trait.ENCRYPTED,) if is_locked else ()
    assert only_attachment(letter(content)).traits == traits
    as_it_is = b"Content-Type: application/zip\r\nContent-Transfer-Encoding: %b\r\n\r\n"
    assert only_attachment(as_it_is % b"binary" + content).traits == traits
    quoted = quopri.encodestring(content, quotetabs=True)
    if len(quoted) < TAIL_OCTETS:
        assert only_attachment(as_it_is % b"quoted-printable" + quoted).traits == traits


@given(st.sampled_from(sorted(ARCHIVES)), st.integers(1, 5_000))
def test_any_split_tells_the_same(name: str, step: int) -> None:
    content, is_locked = ARCHIVES[name]
    found = only_attachment(letter(content), max(step, len(content) // 200))
    assert (Trait.ENCRYPTED in found.traits) == is_locked


@given(
    st.lists(
        st.sampled_from(
            [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"Rar!\x1a\x07\x00", b"\xff"]
        ),
        max_size=30,
    ),
    st.binary(max_size=60),
)
def test_any_octets_are_an_archive_or_none_and_nothing_is_raised(
    tokens: list[bytes], more: bytes
) -> None:
    only_attachment(letter(more.join(tokens) + more))


def named(name: str, kind: str = "application/octet-stream") -> Callable[[], Attachment]:
    return lambda: only_attachment(letter(b"x", name, kind))


@pytest.mark.requirement("CL-51")
@pytest.mark.parametrize(
    ("made", "traits"),
    [
        (named("IHE_XDM.ZIP"), (Trait.XDM,)),
        (named("ihe_xdm.zip", "application/zip"), (Trait.XDM,)),
        (named("Ihe_Xdm.Zip", "application/x-zip-compressed"), (Trait.XDM,)),
        (named("ihe_xdm.zip.exe"), ()),
        (named("autre.zip", "application/zip"), ()),
        (named("winmail.dat"), (Trait.TNEF,)),
        (named("x.dat", "application/ms-tnef"), (Trait.TNEF,)),
        (lambda: only_attachment(letter(b"\x78\x9f\x3e\x22rest", "x.bin")), (Trait.TNEF,)),
        (named("bilan.pdf", "application/pdf"), ()),
    ],
)
def test_xdm_and_tnef_are_recognised_in_any_case(
    made: Callable[[], Attachment], traits: tuple[Trait, ...]
) -> None:
    assert made().traits == traits


def test_an_xdm_archive_with_a_password_is_both() -> None:
    content = locked(archive("IHE_XDM/SUBSET01/METADATA.XML", filling=99), "IHE_XDM")
    assert only_attachment(letter(content, "IHE_XDM.zip")).traits == (Trait.XDM, Trait.ENCRYPTED)
