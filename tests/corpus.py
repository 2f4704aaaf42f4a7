"""Ugly messages: CPython's own email test messages, and torture messages made from a seed.

Imported by the tests of every room that reads messages (attacks.md §3). People and domains are
invented.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path

PLAIN = (
    b"From: Zoe Tartempion <zoe.tartempion@hopital-a.test>\r\n"
    b"To: <max.dupontel@cabinet-b.test>\r\n"
    b"Date: Mon, 05 Jan 2026 09:15:00 +0100\r\n"
    b"Message-ID: <20260105.0001@hopital-a.test>\r\n"
    b"Subject: essai\r\n"
)

TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"--",
    b"--b1",
    b"--b1\r\n",
    b"\r\n--b1\r\n",
    b"\r\n--b1--\r\n",
    b"--b1--",
    b"\r\n--b12\r\n",
    b"\n--b2\n",
    b"\r\n--b2--",
    b'Content-Type: multipart/mixed; boundary="b1"\r\n',
    b"Content-Type: multipart/digest; boundary=b2\n",
    b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n",
    b"\r\nContent-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/html; charset=iso-8859-1\r\n",
    b"Content-Type: application/pdf; name=a.pdf\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Disposition: attachment; filename*0=a; filename*1*=%20b\r\n",
    b"From: a@b.test\r\n",
    b"Subject: =?utf-8?q?=C3=A9?=\r\n",
    b"no colon here\r\n",
    b"=\r\n",
    b"=E9",
    b"=",
    b"UEsFBg==",
    b"\xc3\xa9\xff",
    b"abc",
]
"""What the scanner gives a meaning to: properties draw from these, not from random octets."""


def cpython_messages() -> Iterator[tuple[str, bytes]]:
    """Name and octets of this interpreter's own email test messages; none when not installed."""
    try:
        spec = importlib.util.find_spec("test.test_email")
    except ModuleNotFoundError:
        return
    if spec is None or spec.origin is None:
        return
    for path in sorted((Path(spec.origin).parent / "data").iterdir()):
        if path.suffix == ".txt":
            yield path.name, path.read_bytes()


def torture_messages(seed: int = 2026) -> Iterator[tuple[str, bytes]]:
    """Every family of attacks.md §3 at least once; the same octets for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    yield from _headers(chance)
    yield from _addresses()
    yield from _boundaries()
    yield from _encodings(chance)
    yield from _parameters(chance)
    yield from _nesting()
    yield from _truncated()
    for number in range(200):
        tokens = chance.choices(TOKENS, k=chance.randrange(1, 40))
        yield f"tokens-{number}", b"".join(tokens)


def _headers(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "only-line-end", b"\r\n"
    yield "no-blank-line", PLAIN
    yield "no-header", b"Bonjour,\r\nrien avant le texte.\r\n"
    yield "bare-lf", PLAIN.replace(b"\r\n", b"\n") + b"\nBonjour\n"
    for name, mark in (("cr", b"\r"), ("lf", b"\n"), ("nul", b"\0")):
        yield f"{name}-in-header", PLAIN.replace(b"essai", b"es" + mark + b"sai") + b"\r\nx\r\n"
        yield f"{name}-in-body", PLAIN + b"\r\nun" + mark + b"deux\r\n"
    for octets in (998, 999, 10_000, 100_000):
        yield f"long-line-{octets}", PLAIN + b"X-Long: " + b"a" * octets + b"\r\n\r\nx\r\n"
        yield f"long-body-line-{octets}", PLAIN + b"\r\n" + b"a" * octets + b"\r\n"
    yield "no-colon", PLAIN + b"this line has none\r\nX-After: 1\r\n\r\nx\r\n"
    yield "folded-garbage", b" starts folded\r\n" + PLAIN + b"\r\nx\r\n"
    yield "space-before-colon", b"Subject : x\r\nFrom\t: a@b.test\r\n\r\nx\r\n"
    yield "many-fields", b"X-A: 1\r\n" * 20_000 + b"\r\nx\r\n"
    yield "8bit-header", PLAIN + "X-Nom: Zoé\r\n\r\nx\r\n".encode("latin-1")
    noise = bytes(chance.choices(range(256), k=2_000))
    yield "noise-header", noise
    yield "noise-body", PLAIN + b"\r\n" + noise
    for date in (
        b"01 Jan 1970 00:00:00 +0000",
        b"Mon, 32 Foo 99999 99:99",
        b"31 Dec 2199 23:59:60 Z",
    ):
        yield "date", b"Date: " + date + b"\r\n\r\nx\r\n"


def _addresses() -> Iterator[tuple[str, bytes]]:
    for number, value in enumerate(
        (
            b"",
            b" \r\n\t",
            b"undisclosed-recipients:;",
            b'Groupe: a@b.test, "c d" <e@f.test>;, g@h.test',
            b"a@b.test (comment (nested (deep))) , (only a comment)",
            b'"quoted \\" pair" <"lo cal"@b.test>',
            b'"trailing backslash\\',
            b"(trailing backslash\\",
            b"a\\",
            b'<""@b.test>, <"\\"@b.test>',
            b"<>, <@>, <a@>, <@b>, @, <",
            b"<@route.test:a@b.test>",
            b"a@b.test <c@d.test> <e@f.test>",
            b"Zo\xe9 \xff <a@b.test>",
            b"a@[192.0.2.1], a@b@c.test, a b@c.test",
            b"((((((((((((((((((((",
            b"::::;;;;,,,,<<<<>>>>@@@@",
            b"a: b: c: d@e.test;;;",
        )
    ):
        for name in (b"From", b"To"):
            yield f"address-{number}-{name.decode()}", name + b": " + value + b"\r\n\r\nx\r\n"
    yield "two-from", b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nx\r\n"
    yield "many-addresses", b"To: " + b"a@b.test,\r\n " * 10_000 + b"c@d.test\r\n\r\nx\r\n"


def multipart(body: bytes, boundary: bytes = b'boundary="b1"') -> bytes:
    """A multipart/mixed message with `body` after the empty line."""
    return PLAIN + b"Content-Type: multipart/mixed; " + boundary + b"\r\n\r\n" + body


def _boundaries() -> Iterator[tuple[str, bytes]]:
    part = b"Content-Type: text/plain\r\n\r\nBonjour\r\n"
    yield "no-boundary-parameter", multipart(b"--b1\r\n" + part + b"--b1--\r\n", b"x=y")
    yield "empty-boundary", multipart(b"--\r\n" + part + b"----\r\n", b'boundary=""')
    yield "absent-boundary", multipart(b"nothing\r\nhere\r\n")
    yield "never-closed", multipart(b"--b1\r\n" + part)
    yield "only-closed", multipart(b"--b1--\r\n" + part)
    yield "closed-twice", multipart(b"--b1\r\n" + part + b"--b1--\r\n--b1--\r\n--b1\r\n" + part)
    yield "prefix-boundary", multipart(b"--b1\r\n" + part + b"--b12\r\n" + part + b"--b1--\r\n")
    yield "suffix-boundary", multipart(b"--b1--\r\n" + part + b"--b1----\r\n", b'boundary="b1--"')
    yield "spaces-after", multipart(b"--b1 \t\r\n" + part + b"--b1--  \r\n")
    yield "empty-parts", multipart(b"--b1\r\n--b1\r\n\r\n--b1\r\n\r\n\r\n--b1--\r\n")
    yield "no-line-end", multipart(b"--b1\r\n" + part + b"--b1--")
    yield "headless-part", multipart(b"--b1\r\nBonjour docteur\r\n--b1--\r\n")
    yield "long-boundary", multipart(b"--" + b"b" * 5_000, b"boundary=" + b"b" * 5_000)
    same = b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n"
    yield "same-boundary-nested", multipart(b"--b1\r\n" + same + part + b"--b1--\r\n--b1--\r\n")
    outer = b"Content-Type: multipart/mixed; boundary=b2\r\n\r\n--b2\r\n"
    yield "inner-not-closed", multipart(b"--b1\r\n" + outer + part + b"--b1\r\n" + part + b"--b1--")
    yield "report-2", _report(2)
    yield "report-3", _report(3)
    yield "report-5", _report(5)


def _report(parts: int) -> bytes:
    kinds = [b"text/plain", b"message/disposition-notification", b"message/rfc822"]
    bodies = [b"Lu.\r\n", b"Disposition: x; processed\r\n", PLAIN + b"\r\nOriginal\r\n"]
    octets = b""
    for number in range(parts):
        kind = kinds[number] if number < 3 else b"application/pdf"
        body = bodies[number] if number < 3 else b"JVBERi0xLjQK\r\n"
        octets += b"--b1\r\nContent-Type: " + kind + b"\r\n\r\n" + body
    head = (
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=b1\r\n\r\n"
    )
    return PLAIN + head + octets + b"--b1--\r\n"


def _encodings(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    noise = bytes(chance.choices(range(256), k=500))
    for encoding in (
        b"base64",
        b"quoted-printable",
        b"8bit",
        b"x-unknown",
        b"",
        b"\xff",
        b"bi nary",
    ):
        for charset in (b"utf-8", b"x-none", b"zlib", b"punycode", b"utf-16", b"\xff", b""):
            yield (
                f"encoding-{encoding!r}-{charset!r}",
                PLAIN
                + b"Content-Type: text/plain; charset="
                + charset
                + b"\r\n"
                + b"Content-Transfer-Encoding: "
                + encoding
                + b"\r\n\r\n"
                + b"=E9=C3=A9=\r\n=Z=\r=4 UEsFBg=="
                + noise,
            )
    for word in (
        b"=?utf-8?q?=C3?=",
        b"=?x?b?!!!?=",
        b"=?utf-8?q?a",
        b"=?=?=?=?=?",
        b"=?utf-8?z?a?=",
        b"=?utf-8*fr?q?=C3=A9?=",
        b"=?utf-8?b?w6k?= =?utf-8?b?=?=",
        b"=?zlib?b?eJw=?=",
    ):
        yield (
            f"word-{word!r}",
            b"Subject: " + word + b"\r\nFrom: " + word + b" <a@b.test>\r\n\r\nx\r\n",
        )


def _parameters(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    head = PLAIN + b"Content-Type: application/pdf\r\nContent-Disposition: attachment"
    segments = [b"; filename*%d*=%%C3%%A9" % n for n in range(30)]
    chance.shuffle(segments)
    yield "segments-shuffled", head + b"".join(segments) + b"\r\n\r\nx\r\n"
    for number, value in enumerate(
        (
            b"; filename*1=b; filename*0=a; filename*3=d",
            b"; filename*=utf-8''%C3%A9.pdf; filename=e.pdf",
            b"; filename=e.pdf; filename=f.pdf",
            b"; filename*=broken; filename*=x'y",
            b"; filename*0*=x-none'fr'%E9; filename*1=%",
            b'; filename="a;b\\"c\\',
            b"; filename=Compte rendu (1).pdf; x",
            b"; filename==?utf-8?q?=C3=A9?=",
            b'; filename="=?utf-8?b?w6k=?=.pdf"',
            b'; filename="caf\xc3\xa9.pdf"; filename*99999999999999=z',
            b';;;;=;==;"',
        )
    ):
        yield f"parameter-{number}", head + value + b"\r\n\r\nx\r\n"
    yield "many-parameters", head + b"; a=b" * 40_000 + b"\r\n\r\nx\r\n"
    yield (
        "many-segments",
        head + b"".join(b"; f*%d=b" % n for n in range(20_000)) + b"\r\n\r\nx\r\n",
    )


def _nesting() -> Iterator[tuple[str, bytes]]:
    yield "rfc822-chain", PLAIN + b"Content-Type: message/rfc822\r\n\r\n" * 40 + b"x\r\n"
    yield "rfc822-end", PLAIN + b"Content-Type: message/rfc822\r\n\r\n"
    yield (
        "rfc822-encoded",
        (
            PLAIN
            + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + b"RnJvbQ==\r\n"
        ),
    )
    yield (
        "digest",
        PLAIN
        + (
            b"Content-Type: multipart/digest; boundary=b1\r\n\r\n--b1\r\n\r\n"
            b"Subject: un\r\n\r\nx\r\n"
            b"--b1\r\nContent-Type: text/plain\r\n\r\ny\r\n--b1--\r\n"
        ),
    )
    yield "nested", nested(40)


def nested(depth: int) -> bytes:
    """A letter `depth` multiparts deep."""
    octets = PLAIN
    for level in range(depth):
        octets += b"Content-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d\r\n" % (level, level)
    return octets + b"\r\nau fond\r\n"


def _truncated() -> Iterator[tuple[str, bytes]]:
    whole = multipart(
        b"avant\r\n--b1\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n--b1\r\n"
        b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        b"JVBERi0xLjQK\r\n--b1--\r\napres\r\n"
    )
    for length in range(len(whole)):
        yield f"cut-{length}", whole[:length]
