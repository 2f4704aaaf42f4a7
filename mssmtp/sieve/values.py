"""What tests compare: values of header fields, addresses, the envelope, bodies, dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo

from mssmtp.mail import Address
from mssmtp.message.dates import parse_date
from mssmtp.message.headers import Field
from mssmtp.message.parameters import decode_parameters, parse_parametrised
from mssmtp.sieve import dates
from mssmtp.sieve.budget import Budget
from mssmtp.sieve.letter import Letter, mailboxes_of, parts, shown, spelled
from mssmtp.sieve.script import ADDRESS_HEADERS, Step

Texts = Callable[[str], list[str]]
"""The strings of an argument, variables expanded."""
Values = Callable[[Letter, Step, Texts, Budget], list[str]]


_PARSED = 8
"""Octets that are parsed for one step: that takes eight times as long as comparing them."""


def _read(section: Sequence[Field], name: str, budget: Budget, *, is_parsed: bool = False) -> str:
    """The name of fields that are about to be decoded, paid for: the script may ask for them again
    and again, and the author of the letter makes them long (ATT-28). Raises ScriptFailed."""
    wanted = name.lower()
    octets = sum(each.end - each.start for each in section if each.name == wanted)
    if is_parsed:
        budget.spend(octets // _PARSED)
    else:
        budget.characters(octets)
    return wanted


def sections(letter: Letter, test: Step, budget: Budget) -> Sequence[tuple[Field, ...]]:
    """The header sections a test looks at: with `:mime :anychild` those of every part."""
    if "anychild" not in test.switches:
        return [letter.fields]
    found = []
    for _, section in letter.sections():
        budget.characters(sum(each.end - each.start for each in section))
        found.append(section)
    return found


def header(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5228 5.7, RFC 5703 4.2."""
    found: list[str] = []
    for section in sections(letter, test, budget):
        for name in texts("headers"):
            if "mime" in test.switches:
                found += _mime(section, _read(section, name, budget, is_parsed=True), test, texts)
            else:
                found += shown(section, _read(section, name, budget))
    return found


def _mime(section: tuple[Field, ...], name: str, test: Step, texts: Texts) -> list[str]:
    """What `:type`, `:subtype`, `:contenttype` or `:param` take of a field (RFC 5703 4.2)."""
    switches = test.switches
    if not switches & {"type", "subtype", "contenttype", "param"}:
        return shown(section, name)
    found: list[str] = []
    for field in section:
        if field.name != name.lower():
            continue
        parsed = parse_parametrised(field.value)
        main = parsed.main.decode("utf-8", "replace")
        if "param" in switches:
            wanted = {each.lower() for each in texts("param")}
            decoded = decode_parameters(parsed.parameters)
            found += [value for name_, value in decoded if name_.lower() in wanted]
        elif "contenttype" in switches:
            found.append(main)
        else:
            type, _, subtype = main.partition("/")
            found.append(type if "type" in switches else subtype)
    return found


def address(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5228 5.1: of fields that hold addresses, and of no others."""
    found: list[str] = []
    for section in sections(letter, test, budget):
        for name in texts("headers"):
            if name.lower() not in ADDRESS_HEADERS:
                continue
            for mailbox in mailboxes_of(section, _read(section, name, budget, is_parsed=True)):
                local, host = spelled(mailbox.local), mailbox.domain.decode("utf-8", "replace")
                found += part_of(local, host, test.switches)
    return found


def envelope(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5228 5.4; the null reverse-path is an empty text, whatever part of it is asked for."""
    named: Mapping[str, Address | None] = {"from": letter.sender, "to": letter.recipient}
    found: list[str] = []
    for each in texts("parts"):
        if each.lower() not in named:
            continue
        one = named[each.lower()]
        if one is None:
            found += [""] if not test.switches & {"user", "detail"} else []
        else:
            found += part_of(spelled(one.local.encode()), str(one.domain), test.switches)
    return found


def part_of(local: str, host: str, switches: frozenset[str]) -> list[str]:
    """The part of an address that is asked for; none where it has no such part (RFC 5233 4)."""
    if "localpart" in switches:
        return [local]
    if "domain" in switches:
        return [host]
    user, plus, detail = local.partition("+")
    if "user" in switches:
        return [user]
    if "detail" in switches:
        return [detail] if plus else []
    return [f"{local}@{host}" if host else local]


def body(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5173."""
    if "raw" in test.switches:
        return [letter.raw(budget)]
    all_parts = list(parts(letter.scan.root))
    if "content" not in test.switches:
        texts_of = [part for part in all_parts if part.media_type == "text" and not part.children]
        return [letter.text(part, budget) for part in texts_of]
    wanted = [each.lower() for each in texts("content")]
    return [
        letter.around(part, budget) if part.children else letter.content(part, budget)
        for part in all_parts
        if _is_content(part.full_type, wanted)
    ]


def _is_content(full_type: str, wanted: Sequence[str]) -> bool:
    """RFC 5173 5.2: `text` is all of text, `text/html` itself, the empty text everything."""
    media_type = full_type.partition("/")[0]
    return any(each in ("", full_type, media_type) for each in wanted)


def date(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5260 4: of the first field of that name; what is no date has no parts."""
    found = shown(letter.fields, _read(letter.fields, texts("header")[0], budget))
    if not found:
        return []
    text = found[0].rpartition(";")[2] if texts("header")[0].lower() == "received" else found[0]
    at = parse_date(text.strip().encode("utf-8", "replace"))
    if at is None:
        return []
    if "originalzone" not in test.switches:
        at = at.astimezone(_zone(letter, test, texts))
    return [dates.part_of(at, texts("part")[0].lower())]


def currentdate(letter: Letter, test: Step, texts: Texts, budget: Budget) -> list[str]:
    """RFC 5260 5."""
    return [
        dates.part_of(letter.now.astimezone(_zone(letter, test, texts)), texts("part")[0].lower())
    ]


def _zone(letter: Letter, test: Step, texts: Texts) -> tzinfo | None:
    return dates.zone_of(texts("zone")[0]) if "zone" in test.strings else letter.now.tzinfo


VALUES: Mapping[str, Values] = {
    "header": header,
    "address": address,
    "envelope": envelope,
    "body": body,
    "date": date,
    "currentdate": currentdate,
}
