"""Names of operators: an invented population, its spellings, its alterations, a second reading.

    python -m tests.trust.names --count 1000000      (OP-32: about four minutes)

Each round takes a name, alters it so that OP-32 calls it another one whatever is folded,
and prints the altered name in one of the ways a list may. The text must be the altered
certificate's and never the first one's; and any spoilt text must be read as the second reading,
which was written from the specification alone, reads it.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mssmtp.mail import DnKey, Rdn
from mssmtp.pki import certificate_name, listed_name

Name = tuple[tuple[str, str], ...]
"""(type, value) in printed order: CN first."""
Chance = random.Random

OIDS = {
    "CN": NameOID.COMMON_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "C": NameOID.COUNTRY_NAME,
}


def subject(name: Name) -> x509.Name:
    """The certificate's name; whatever a careless authority would sign is let through."""
    return x509.Name(
        [
            x509.NameAttribute(OIDS[kind], value, _ASN1Type.UTF8String, _validate=False)
            for kind, value in reversed(name)
        ]
    )


# ---------------------------------------------------------------- a population

_TOWNS = (
    "VALMONT",
    "L'ÎLE-HAUTE",
    "SAINT-ÉLOI",
    "CŒUR-LES-PRÉS",
    "MUSE",
    "ROCHENOIRE",
    "AŸ-SUR-EAU",
)
_KINDS = ("CENTRE HOSPITALIER DE", "CLINIQUE DE", "GCS SANTÉ", "ALPHA MESSAGERIE", "HÔPITAL")
_COUNTIES = ("Rhône (69)", "Paris (75)", "Côte-d'Or (21)", "Finistère (29)", "Var (83)")
STRINGS, NAMES, MERGED, UNPARSABLE = 391, 380, 11, 13
"""The genuine list of 28/02/2025: strings, keys, names spelt in two ways, strings that are no RFC
4514."""


def _plain(number: int) -> Name:
    town, kind = _TOWNS[number % 7].replace("'", " "), _KINDS[number % 5]
    unit = f"1{990_000_000 + number}" if number % 5 else f"3{31_234_567_800_000 + number}"
    return (
        ("CN", f"smtp{number % 9}.mss{number}.operateur-{number % 60}.test"),
        ("OU", unit),
        ("O", f"{kind} {town}"[:40]),
        ("ST", _COUNTIES[number % 5]),
        ("C", "FR"),
    )


def printed(name: Name) -> str:
    """As the list prints most names: nothing is escaped."""
    return ",".join(f"{kind}={value}" for kind, value in name)


def population() -> list[tuple[str, Name]]:
    """391 texts and the names they stand for, with the statistics of the national list."""
    names = [_plain(number) for number in range(NAMES)]
    listed = [(printed(name), name) for name in names]
    oddities: list[Callable[[str], str]] = [
        lambda o: f'"{o.replace(" ", "  ")}"',  # quoted for its double space (V01)
        lambda o: f'CENTRE "{o}"',  # quotes within (V08)
        lambda o: f'"{o}, SITE NORD"',  # a comma within (V06)
    ]
    for number in range(UNPARSABLE):
        at = number * 7
        cn, ou, (_, o), *rest = names[at]
        odd = oddities[number % 3](o)
        text = odd if odd.startswith("CENTRE") else odd.replace('"', "")
        name = (cn, ou, ("O", text), *rest)
        listed[at] = (printed((cn, ou, ("O", odd), *rest)), name)
    second: list[Callable[[str], str]] = [
        lambda t: t.replace(" (", "("),
        lambda t: t.replace(" ", "\u00a0", 1),
        lambda t: t.replace(" ", "  ", 1),
        lambda t: t.replace("smtp", "SMTP"),
    ]
    for number in range(MERGED):
        text, name = listed[101 + number * 11]
        listed.append((second[number % 4](text), name))
    return listed


# ---------------------------------------------------------------- spellings: all are one name

_ALIASES = {"ST": ("ST", "S", "2.5.4.8"), "CN": ("CN", "2.5.4.3"), "O": ("O", "oid.2.5.4.10")}
_WHITE = ("  ", "\u00a0", " \u00a0 ", "\u2003", "\t", "\u3000 ")
_MUST_ESCAPE = ',"\\'


def _spelt_value(chance: Chance, value: str) -> str:
    value = unicodedata.normalize(chance.choice(("NFC", "NFD")), value)
    for other in (value.upper(), value.lower(), value):
        if other.casefold() == value.casefold() and not chance.randrange(3):
            value = other
    if chance.randrange(2):
        value = value.replace(" ", chance.choice(_WHITE))
    if chance.randrange(2):
        value = value.replace("(", " (") if chance.randrange(2) else value.replace(" (", "(")
    if chance.randrange(2):
        value = value.replace('"', "")  # V09: the list forgets quotes
    if chance.randrange(2):  # whole value quoted, what quotes do not protect escaped
        return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return "".join(_spelt_character(chance, character) for character in value)


def _spelt_character(chance: Chance, character: str) -> str:
    if not chance.randrange(12):
        return "".join(f"\\{octet:02x}" for octet in character.encode("utf-8", "surrogatepass"))
    if character in _MUST_ESCAPE:
        return "\\" + character
    may = character not in "0123456789abcdefABCDEF" and not chance.randrange(12)
    return "\\" + character if may else character


def spelt(chance: Chance, name: Name) -> str:
    """One of the ways a list may print `name`, every freedom of OP-32 taken by chance."""
    pieces = []
    for kind, value in name:
        alias = chance.choice(_ALIASES.get(kind, (kind,)))
        alias = alias.lower() if chance.randrange(2) else alias
        gap = " " if not chance.randrange(3) else ""
        pieces.append(f"{gap}{alias}{gap}={gap}{_spelt_value(chance, value)}{gap}")
    return ",".join(pieces)


# ---------------------------------------------------------------- alterations: never the same name

Alteration = Callable[[Chance, Name], Name]
_LOOK_ALIKES = {"a": "а", "e": "е", "o": "о", "s": "ѕ", "p": "р", "m": "ｍ", "A": "Α", "t": "τ"}
_INVISIBLE = ("\u200b", "\u00ad", "\u200d", "\ufeff", "\u2060", "\x00", "\x1f", "\u202e")
_ACCENTS = {"é": "e", "É": "E", "ô": "o", "Ô": "O", "Î": "I", "è": "e", "Ÿ": "Y"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def _places(value: str) -> list[int]:
    """Where an ASCII letter or digit stands: folding leaves each of them where and what it is."""
    return [at for at, c in enumerate(value) if c.isascii() and c.isalnum()]


def _in_one_value(change: Callable[[Chance, str], str]) -> Alteration:
    def alter(chance: Chance, name: Name) -> Name:
        at = chance.randrange(len(name))
        kind, value = name[at]
        return (*name[:at], (kind, change(chance, value)), *name[at + 1 :])

    return alter


def _another_letter(chance: Chance, value: str) -> str:
    at = chance.choice(_places(value))
    other = chance.choice([c for c in _LETTERS if c != value[at].lower()])
    return value[:at] + other + value[at + 1 :]


def _a_letter_less(chance: Chance, value: str) -> str:
    at = chance.choice(_places(value))
    return value[:at] + value[at + 1 :]


def _a_letter_twice(chance: Chance, value: str) -> str:
    at = chance.choice(_places(value))
    return value[:at] + value[at] + value[at:]


def _two_letters_exchanged(chance: Chance, value: str) -> str:
    places = _places(value)
    one, two = chance.choice(places), chance.choice(places)
    if value[one].lower() == value[two].lower():
        return _another_letter(chance, value)
    letters = list(value)
    letters[one], letters[two] = letters[two], letters[one]
    return "".join(letters)


def _a_look_alike(chance: Chance, value: str) -> str:
    places = [at for at, c in enumerate(value) if c in _LOOK_ALIKES]
    if not places:
        return _another_letter(chance, value)
    at = chance.choice(places)
    return value[:at] + _LOOK_ALIKES[value[at]] + value[at + 1 :]


def _something_invisible(chance: Chance, value: str) -> str:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice(_INVISIBLE) + value[at:]


def _an_accent_less(chance: Chance, value: str) -> str:
    places = [at for at, c in enumerate(value) if c in _ACCENTS]
    if not places:
        return value + "\u0301"
    at = chance.choice(places)
    return value[:at] + _ACCENTS[value[at]] + value[at + 1 :]


def _more_around(chance: Chance, value: str) -> str:
    return chance.choice(
        ("evil-{}", "{}.evil.test", "x.{}", "{}\x00.evil.test", "{}.", "*.{}")
    ).format(value)


def _an_rdn_less(chance: Chance, name: Name) -> Name:
    at = chance.randrange(len(name))
    return (*name[:at], *name[at + 1 :])


def _an_rdn_more(chance: Chance, name: Name) -> Name:
    at = chance.randrange(len(name) + 1)
    kind = chance.choice(sorted(OIDS))
    return (*name[:at], (kind, chance.choice(("evil.test", name[0][1]))), *name[at:])


def _two_rdns_exchanged(chance: Chance, name: Name) -> Name:
    one, two = sorted(chance.sample(range(len(name)), 2))
    rdns = list(name)
    rdns[one], rdns[two] = rdns[two], rdns[one]  # types differ, so the order does
    return tuple(rdns)


def _another_type(chance: Chance, name: Name) -> Name:
    at = chance.randrange(len(name))
    kind, value = name[at]
    other = chance.choice([known for known in sorted(OIDS) if known != kind])
    return (*name[:at], (other, value), *name[at + 1 :])


def _an_rdn_within_a_value(chance: Chance, name: Name) -> Name:
    """`CN=a,OU=1` as one value: a printed form of it looks like two RDNs."""
    at = chance.randrange(len(name) - 1)
    (kind, value), (next_kind, next_value) = name[at], name[at + 1]
    return (*name[:at], (kind, f"{value},{next_kind}={next_value}"), *name[at + 2 :])


ALTERATIONS: dict[str, Alteration] = {
    "another letter": _in_one_value(_another_letter),
    "a letter less": _in_one_value(_a_letter_less),
    "a letter twice": _in_one_value(_a_letter_twice),
    "two letters exchanged": _in_one_value(_two_letters_exchanged),
    "a look-alike": _in_one_value(_a_look_alike),
    "something invisible": _in_one_value(_something_invisible),
    "an accent less": _in_one_value(_an_accent_less),
    "more around": _in_one_value(_more_around),
    "an RDN less": _an_rdn_less,
    "an RDN more": _an_rdn_more,
    "two RDNs exchanged": _two_rdns_exchanged,
    "another type": _another_type,
    "an RDN within a value": _an_rdn_within_a_value,
}


# ---------------------------------------------------------------- a second reading of §5

_TOKEN = re.compile(r'((?:\\[0-9A-Fa-f]{2})+)|\\(.)|(["\\,])|([^"\\,]+)', re.DOTALL)
_WHITE_SPACE = "\t\n\v\f\r \x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""The property White_Space of Unicode."""


_X520 = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "TITLE",
    "2.5.4.17": "POSTALCODE",
    "2.5.4.42": "GIVENNAME",
    "2.5.4.97": "ORGANIZATIONIDENTIFIER",
}
_SHORT = {"S": "ST", "T": "TITLE", "E": "EMAILADDRESS", "GN": "GIVENNAME"}


def second_reading(text: str) -> DnKey | None:
    """OP-32 for a list's text, read once more: one expression for all tokens."""
    values, quotes = [b""], 0
    for octets, escaped, mark, plain in _TOKEN.findall(text):
        if octets:
            values[-1] += bytes.fromhex(octets.replace("\\", ""))
        elif mark == '"':
            quotes += 1  # dropped: octets on both sides of it stand beside each other
        elif mark == "\\":
            return None  # at the very end: it escapes nothing
        elif mark == "," and quotes % 2 == 0:
            values.append(b"")
        else:
            values[-1] += (escaped or mark or plain).encode("utf-8", "surrogatepass")
    if quotes % 2 or "\ufffd" in text:
        return None
    try:
        rdns = [_second_rdn(value.decode()) for value in values]
    except UnicodeDecodeError:
        return None
    return None if None in rdns else tuple(rdn for rdn in rdns if rdn is not None)


def _second_rdn(text: str) -> Rdn | None:
    at = text.find("=")
    if at < 0:
        return None
    kind, value = text[:at].strip(_WHITE_SPACE).upper(), folded(text[at + 1 :])
    kind = kind[4:] if kind.startswith("OID.") else kind
    kind = _X520.get(kind, _SHORT.get(kind, kind))
    return Rdn(kind, value) if kind and value else None


def folded(value: str) -> str:
    """Step 4: everything it makes equal."""
    composed = unicodedata.normalize("NFC", value.replace('"', ""))
    spaced = "".join(" " if c in _WHITE_SPACE else c for c in composed)
    while "  " in spaced:
        spaced = spaced.replace("  ", " ")
    return spaced.strip(" ").replace(" (", "(").casefold()


# ---------------------------------------------------------------- the walk

_SPOIL = (
    '"',
    ",",
    "\\",
    "=",
    "\\2",
    "\\2C",
    "\\c3\\b4",
    "\\ff",
    " ",
    "\u00a0",
    "CN=",
    "+",
    "",
    "#",
)


def spoilt(chance: Chance, text: str) -> str:
    """`text` with up to four places replaced by what has a meaning there."""
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(_SPOIL) + text[at + chance.randrange(4) :]
    return text


@dataclass
class Tally:
    """What a walk found; `wrong` is for the reader: at most ten of each kind."""

    rounds: int = 0
    unusable: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, what: str, *texts: str) -> None:
        if sum(line.startswith(what) for line in self.wrong) < 10:
            self.wrong.append(f"{what}: " + " | ".join(map(ascii, texts)))


def walk(count: int, seed: int, tally: Tally) -> None:
    """`count` altered names and as many spoilt texts; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    names = [(name, certificate_name(subject(name))) for _, name in population()]
    kinds: Sequence[str] = tuple(ALTERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of countries longer than two letters
        for _ in range(count):
            name, key = names[chance.randrange(len(names))]
            kind = kinds[tally.rounds % len(kinds)]
            altered = ALTERATIONS[kind](chance, name)
            text = spelt(chance, altered)
            read = listed_name(text)
            if read == key:
                tally.note(f"false match ({kind})", text, printed(name))
            if read != certificate_name(subject(altered)):
                tally.note(f"a spelling that does not match ({kind})", text, printed(altered))
            damaged = spoilt(chance, text)
            read = listed_name(damaged)
            if read != second_reading(damaged):
                tally.note("read in two ways", damaged)
            tally.unusable += read is None
            tally.rounds += 1


def main() -> int:
    """0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust.names", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=32)
    asked = parser.parse_args()
    tally, begun = Tally(), time.process_time()
    block = 20_000
    for number, at in enumerate(range(0, asked.count, block)):
        walk(min(block, asked.count - at), asked.seed + number, tally)
        if sys.stderr.isatty():
            print(f"\r{tally.rounds:,} of {asked.count:,}", end="", file=sys.stderr, flush=True)
    spent = time.process_time() - begun
    print(f"{tally.rounds:,} altered names, as many spoilt texts ({tally.unusable:,} unusable)")
    print(f"false matches or wrong readings: {len(tally.wrong)}; processor time {spent:.0f} s")
    print("\n".join(tally.wrong))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
