"""Tests and scripts for the differential: every test with every match type, by tokens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

MATCHES = (":is", ":contains", ":matches")
_HEADERS = (
    ("subject", "Résultat de   biologie [urgent] du 05/01/2026"),
    ("subject", "*biologie*"),
    ("subject", "R?sultat*"),
    ("SUBJECT", "BIOLOGIE"),
    ("x-empty", ""),
    ("x-missing", ""),
    ("x-many", "B"),
    ("x-many", "?"),
    ("x-stars", r"a\\*b\\?c*"),
    ("x-stars", r"a*c\\\\d"),
    ("x-stars", "*?*d"),
    ("x-odd", "two  spaces"),
    ("x-odd", "two spaces"),
    ("subject", "*"),
    ("subject", ""),
    ("from", "Zoé Tartempion <zoe.tartempion@hopital-a.test>"),
    ("to", "*, *"),
    ("x-number", "12?b*"),
    ("subject", "**biologie**"),
)
_ADDRESSES = (
    *("zoe.tartempion@hopital-a.test", "ZOE*", "*cardio*", "marie+x+y@hopital-b.test", "jean"),
    *("hopital-b.test", "suivi", "x+y", "secretariat.cardio", "", "*"),
)
_NUMBERS = ("12", "2", "0", "abc", "-1", "")
_BODIES = (
    *((":contains", key) for key in ("normal", "résultat", "<b>", "=C3", "PK", "Content-Type")),
    *((":matches", key) for key in ("*est*", "?")),
)
_DATES = (
    *("2026", "01", "05", "06", "2026-01-05", "23", "22", "21", "16", "30", "00", "0", "1", "2"),
    *("61045", "61046", "+0200", "+0100", "-0530", "+0000", "2026-01-05T23:30:00+02:00"),
    *("Mon, 05 Jan 2026 23:30:00 +0200", "23:30:00", "22:30:00"),
)
_PARTS = (
    "year month day date julian hour minute second time iso8601 std11 zone weekday"  # RFC 5260 4.2
)


def tests() -> tuple[str, ...]:
    """Some thousand, each true or false of `letters.PLAIN`."""
    return (*_header(), *_address(), *_relational(), *_bodies(), *_mime(), *_dates(), *_others())


def _header() -> Iterator[str]:
    comparators = ("", ':comparator "i;octet" ', ':comparator "i;ascii-casemap" ')
    for match, comparator, (name, key) in product(MATCHES, comparators, _HEADERS):
        yield f'header {match} {comparator}"{name}" "{key}"'


def _address() -> Iterator[str]:
    places = (":all", ":localpart", ":domain", ":user", ":detail")
    for match, key, part in product(MATCHES, _ADDRESSES, places):
        yield f'address {match} {part} ["from","to","cc"] "{key}"'
        yield f'envelope {match} {part} ["from","to"] "{key}"'


def _relational() -> Iterator[str]:
    numeric = ':comparator "i;ascii-numeric"'
    for relation, key in product(("gt", "ge", "lt", "le", "eq", "ne"), _NUMBERS):
        yield f'header :value "{relation}" {numeric} "x-number" "{key}"'
        yield f'header :value "{relation}" "x-number" "{key}"'
        yield f'header :value "{relation}" :comparator "i;octet" "x-many" "{key}"'
        yield f'header :count "{relation}" {numeric} ["x-many","x-missing","x-empty"] "{key}"'
        yield f'address :count "{relation}" {numeric} ["to","cc"] "{key}"'
        yield f'envelope :count "{relation}" {numeric} ["to","from"] "{key}"'
        yield f'string :count "{relation}" {numeric} ["a","","${{x}}"] "{key}"'
    for key in ("12", "012", "abc", "zz", "", "12xx"):
        yield f'header :is {numeric} "x-number" "{key}"'
        yield f'header :is {numeric} "subject" "{key}"'


def _bodies() -> Iterator[str]:
    contents = ('"text"', '"text/html"', '"application/zip"', '["text/plain","text/html"]', '""')
    transforms = ("", ":raw", ":text", *(f":content {each}" for each in contents))
    for transform, (match, key) in product(transforms, _BODIES):
        yield f'body {transform} {match} "{key}"'
    yield 'body :content "multipart" :contains "preamble"'


def _mime() -> Iterator[str]:
    wanted = ("", ":type", ":subtype", ":contenttype", ':param "name"', ':param ["FileName"]')
    keys = ("application", "zip", "application/zip", "ihe_xdm.zip", "multipart/mixed", "*zip*")
    names = ("content-type", "content-disposition")
    for children, part, key, name in product(("", ":anychild"), wanted, keys, names):
        yield f'header :mime {children} {part} :matches "{name}" "{key}"'
    yield 'exists :mime :anychild "content-disposition"'
    yield 'exists :mime "content-disposition"'
    yield 'exists :mime :anychild ["content-disposition","subject"]'


def _dates() -> Iterator[str]:
    zones = (":originalzone", ':zone "+0100"', ':zone "-0530"')
    for part, zone, key in product(_PARTS.split(), zones, _DATES):
        yield f'date {zone} "date" "{part}" "{key}"'
    yield 'date :originalzone "x-missing" "year" "2026"'
    yield 'date :originalzone "subject" "year" "2026"'


def _others() -> Iterator[str]:
    yield from ('exists "subject"', 'exists ["subject","x-missing"]', 'exists ["x-empty","TO"]')
    yield from ("size :over 100", "size :under 100", "size :over 1M", "size :under 1K")
    yield from ('not exists "x"', "allof(true,false)", "anyof(false,true)", "anyof(false)")
    yield from ("allof(true,not false)", "not allof(true,not anyof(false,false))")
    yield from ('string :matches "abc" "a*"', 'string "${unset}" ""', 'string ["a","b"] "b"')


SCRIPTS = (
    "",
    "keep;",
    "discard;",
    "keep; keep; discard;",
    "stop; discard;",
    'fileinto "Archive";',
    'fileinto :copy "Archive";',
    'fileinto "A"; fileinto "A"; fileinto "B";',
    'fileinto "INBOX";',
    'fileinto :create "Neuf/Dossier";',
    'fileinto "été & hiver";',
    'redirect "jean@hopital-b.test";',
    'redirect :copy "jean@hopital-b.test";',
    'redirect "jean@hopital-b.test"; redirect "jean@hopital-b.test"; redirect "m@hopital-b.test";',
    'redirect "jean@hopital-b.test"; keep;',
    'setflag "\\\\Seen"; keep;',
    'setflag ["\\\\Seen \\\\Flagged","x"]; removeflag "\\\\SEEN";',
    'addflag "a b"; addflag "A c"; fileinto "Archive"; setflag ""; keep;',
    'setflag "v" "x y"; keep :flags "${v}";',
    'setflag "v" "x y"; addflag "v" "z"; removeflag "v" "y"; keep :flags "${v} w";',
    'keep :flags "\\\\Recent \\\\Deleted \\\\Nothing ok";',
    'setflag "a b"; if hasflag "b" { addflag "found"; }',
    'setflag "a b"; if hasflag :contains ["B","z"] { addflag "found"; }',
    'setflag "a b"; if hasflag :count "ge" :comparator "i;ascii-numeric" "2" { addflag "f"; }',
    'setflag "v" "a b"; if hasflag :matches "v" "?" { keep :flags "${0}"; }',
    'if hasflag "x" { discard; }',
    'if false { discard; } elsif true { fileinto "B"; } else { fileinto "C"; }',
    'if false { discard; } else { fileinto "C"; }',
    'if true { if false { discard; } else { fileinto "D"; stop; } } discard;',
    'set "a" "B"; fileinto "${a}${A}${none}${1}x$${a}$ {a}${}";',
    'set :lower :upperfirst "a" "jEAN"; fileinto "${a}";',
    'set :upper :lowerfirst "a" "jean"; fileinto "${a}";',
    'set :length "a" "éternel"; fileinto "${a}";',
    'set :quotewildcard "a" "a*b?c\\\\d"; fileinto "${a}";',
    'set :quotewildcard :length "a" "a*b"; fileinto "${a}";',
    'if header :matches "subject" "*de*[*]*" { fileinto "${1}-${2}-${3}-${4}"; }',
    'if header :matches "subject" "?*e*?" { fileinto "${1}/${2}/${3}/${4}"; }',
    'if address :matches :all "to" "*@*.*" { fileinto "${3}.${2}.${1}.${01}.${9}"; }',
    'if header :matches "subject" "*" { if header :matches "x-many" "x" {} } fileinto "x${1}";',
    'if header :matches "x-many" ["z*","*"] { fileinto "${0}${1}"; }',
    'set "x" "*"; if header :matches "subject" "${x}biologie${x}" { fileinto "${2}"; }',
    'vacation "absent";',
    'vacation :days 9 :subject "Absente" :addresses ["zoe@hopital-b.test"] "absente";',
    'vacation "absent"; fileinto "A";',
    "vacation text:\r\nBonjour\r\n..point\r\n.\r\n;",
    "# comment\r\n/* more\n */ keep; # end",
    'if not anyof (header :is "x-many" ["c","d"], size :over 100M) { addflag "ok"; }',
    'if date :value "ge" :originalzone "date" "hour" "20" { addflag "tard"; }',
    'require "fileinto"; keep;',
    "keep",
    "keep; }",
    "if true { keep;",
    "if keep { keep; }",
    "true;",
    "elsif true { keep; }",
    "else { keep; }",
    'header "a" "b";',
    'fileinto ["a","b"];',
    "fileinto;",
    "fileinto 3;",
    'fileinto "a" "b";',
    'fileinto :unknown "a";',
    "keep :flags;",
    'if header :is :contains "a" "b" { keep; }',
    'if header :comparator "i;unknown" "a" "b" { keep; }',
    'if header :contains :comparator "i;ascii-numeric" "a" "1" { keep; }',
    'if address "subject" "c" { keep; }',
    'if header :value "xx" "a" "b" { keep; }',
    "if size 100 { keep; }",
    "if size :over :under 100 { keep; }",
    'if size :over "100" { keep; }',
    "if not true, false { keep; }",
    "if allof { keep; }",
    'set "1" "x";',
    'set "a b" "x";',
    'set :upper :lower "a" "x";',
    'redirect "nobody";',
    'redirect "a@b@c";',
    'vacation :days "x" "y";',
    'keep; require "fileinto";',
    'reject "no";',
    'fileinto "a";;',
    "keep : flags;",
    'if header "subject" "a" keep;',
    '"a";',
    "stop { keep; }",
    "if anyof (true,) { keep; }",
    'fileinto ["a",];',
    "fileinto [];",
    'fileinto "a',
    "/* keep;",
    "keep; 5",
    "keep;\x00",
    'if envelope "subject" "20" { keep; }',
)
"""What each does, or that it is none."""

STRICTER = (
    'if header "a b" "c" { keep; }',
    'set "a" "${b.c}";',
    'if date :zone "x" "date" "hour" "20" { keep; }',
    'if date "date" "unknown" "20" { keep; }',
)
"""Refused here when they are stored; Pigeonhole takes them (RFC 5229 3 asks for the second)."""
