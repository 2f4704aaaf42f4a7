"""A list of the size and the habits of the national one, with invented names.

The figures are those measured on the genuine list: 8,655 rows, 391 printed names of 380
certificates, several operators for one domain, sub-domains served by somebody else, contacts that
are no address, dates one second late. The same call gives the same list.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from mssmtp.demo.authority import Subject, stamp
from mssmtp.whitelist import Row

ROWS = 8_655
DOMAINS = 6_589
"""4,944 domains to 6,494 rows, as they were in 2025."""
CERTIFICATES = 380
TWO_OPERATORS, THREE_OPERATORS = 410, 5
LATE = 26
CHILDREN, FOREIGN_CHILDREN = 520, 7
REPEATED = 40
NO_RESPONSIBLE_ADDRESS, NO_SUPPORT_ADDRESS = 20, 14

DATE = datetime(2026, 6, 2, 14, 5, 31, tzinfo=UTC)

_SIRET = 70
_DEPARTMENTS = (
    "Ain (01)",
    "Bouches-du-Rhône (13)",
    "Côte-d'Or (21)",
    "Hauts-de-Seine (92)",
    "Paris (75)",
    "Rhône (69)",
    "Val-d'Oise (95)",
)
_KINDS = ("CENTRE HOSPITALIER DE", "CLINIQUE", "LABORATOIRE", "EHPAD", "HÔPITAL D'")
_PLACES = ("VALMONT", "SAINT-ÉLOI", "LA MUSE", "BEAULIEU", "ROCHEFORT", "L'ÎLE", "MONTCLAIR")


def subject(number: int) -> Subject:
    """The name of certificate `number`; a few organisations have two."""
    place = f"{_KINDS[number % 5]} {_PLACES[number % 7]} {number // 2}"
    department = _DEPARTMENTS[number % 7]
    if number < _SIRET:
        identifier, host = f"3{31_234_567_800_000 + number}", f"smtp{number}.operateur.example"
    else:
        identifier, host = f"1{990_000_000 + number}", f"mx{number}.etablissement.example"
    if 200 <= number < 219:
        host = f"mta{number}.mssante.example"
    if number == 219:
        host = "relais"
    if number in _QUOTED_COMMA:
        place = place.replace(" ", ", ", 1)
    return Subject(host, identifier, place[:40], department)


def _quoted(name: Subject) -> str:
    return name.text.replace(f"O={name.o}", f'O="{name.o}"')


def _double_space(name: Subject) -> str:
    first, _, rest = name.o.partition(" ")
    return name.text.replace(f"O={name.o}", f"O={first}  {rest}")


def _no_break_space(name: Subject) -> str:
    first, _, rest = name.o.rpartition(" ")
    return name.text.replace(f"O={name.o}", f"O={first}\u00a0{rest}")


def _tight_department(name: Subject) -> str:
    return name.text.replace(" (", "(")


def _escaped_comma(name: Subject) -> str:
    return name.text.replace(f"O={name.o}", "O=" + name.o.replace(",", "\\,"))


_VARIANTS: dict[int, Callable[[Subject], str]] = {
    0: _quoted,
    1: _double_space,
    100: _no_break_space,
    101: _tight_department,
    102: lambda name: name.text.replace(",", ", "),
    103: lambda name: name.text.replace("ST=", "S="),
    104: lambda name: name.text.replace(name.cn, name.cn.upper()),
    109: lambda name: unicodedata.normalize("NFD", name.text),
    106: _escaped_comma,
    107: lambda name: name.text.replace("O=", 'O="', 1).replace(",ST=", ' ",ST='),
    108: lambda name: name.text.replace("CN=", "cn = "),
}
"""The second spelling of eleven certificates, all of which mean the same."""

_QUOTED_COMMA = frozenset({106})


def text(number: int) -> str:
    """The usual printed name of certificate `number`."""
    name = subject(number)
    return _quoted(name) if number in _QUOTED_COMMA else name.text


def variant(number: int) -> str:
    """Its other spelling."""
    return _VARIANTS[number](subject(number))


def domain_name(number: int) -> str:
    """Sub-domains first come after the domains they are below."""
    if number >= DOMAINS - CHILDREN:
        return f"service{number}.{domain_name(number - CHILDREN)}"
    if number == 17:
        return "mssante.un-nom-de-domaine-assez-long-pour.exemple.test"[-52:]
    suffix = "mssante.example" if number % 8 else "sante.test"
    return f"etablissement-{number}.{suffix}"


def _certificates(number: int) -> tuple[int, ...]:
    """Who may speak for domain `number`, the first of its operators first."""
    if number < CERTIFICATES:
        return (number,)
    if number >= DOMAINS - CHILDREN:
        parent = _certificates(number - CHILDREN)
        return (parent[0] ^ 8,) if number >= DOMAINS - FOREIGN_CHILDREN else parent[:1]
    place = number - CERTIFICATES
    big = 2 * (number % 20)
    if place < TWO_OPERATORS:
        return (big, 40 + 2 * (number % 15))
    if place < TWO_OPERATORS + THREE_OPERATORS:
        return (big, 40 + 2 * (number % 15), 150 + 2 * (number % 9))
    return (big, big + 1) if place < TWO_OPERATORS + THREE_OPERATORS + _doubled() else (big,)


def _doubled() -> int:
    """Domains of one operator with two certificates: as many as fill the list to its size."""
    extra = TWO_OPERATORS + 2 * THREE_OPERATORS + REPEATED + len(_VARIANTS)
    return ROWS - DOMAINS - extra


def _bindings() -> Iterator[tuple[int, str]]:
    for number in range(DOMAINS):
        for certificate in _certificates(number):
            yield number, text(certificate)
    for number in range(500, 500 + REPEATED):
        yield number, text(_certificates(number)[0])
    for certificate in _VARIANTS:
        yield certificate, variant(certificate)


def rows(date: datetime = DATE) -> tuple[Row, ...]:
    """The whole list, as it would be published at `date`."""
    return tuple(
        Row(
            domain=_printed(name),
            description=_description(number),
            dn=dn,
            responsible=_responsible(index),
            support=_support(index),
            updated=stamp(date + timedelta(seconds=1) if index < LATE else _updated(date, index)),
        )
        for index, (name, dn) in enumerate(_bindings())
        for number in (name,)
    )


def _printed(number: int) -> str:
    name = domain_name(number)
    return name.upper() if number == 23 else name


def _description(number: int) -> str:
    space = "\u00a0" if number % 50 == 0 else " "
    written = f"Domaine de messagerie MSSanté de l'établissement{space}n° {number}"
    return (written + " et de ses services" * 8)[:156] if number == 31 else written


def _responsible(index: int) -> str:
    if index < NO_RESPONSIBLE_ADDRESS:
        return f"DSI de l'établissement {index}"
    return f"DSI {index % 700}, responsable{index % 700}@etablissement.example"


def _support(index: int) -> str:
    if index < NO_SUPPORT_ADDRESS:
        return "01 00 00 00 00"
    return f"01 00 00 {index % 90 + 10} {index % 89 + 10}, support{index % 700}@operateur.example"


def _updated(date: datetime, index: int) -> datetime:
    return date - timedelta(hours=index % 20_000, seconds=index % 3_600)
