"""Which commands and tests there are, with their arguments: one table, by the RFC that names each.

A name or tag that belongs to an extension is unknown until the script requires it (RFC 5228 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RECEIPT = "vnd.mssmtp.receipt"
"""`redirect :receipt`: the copy asks its reader for a receipt to this box (CL-72)."""

COMPARATORS = {
    "i;ascii-casemap": None,
    "i;octet": None,
    "i;ascii-numeric": "comparator-i;ascii-numeric",
}
"""RFC 5228 2.7.3, by the capability each needs."""

EXTENSIONS = (
    "fileinto",
    "envelope",
    "encoded-character",
    "variables",
    "relational",
    "subaddress",
    "copy",
    "body",
    "mime",
    "imap4flags",
    "mailbox",
    "special-use",
    "vacation",
    "date",
    "comparator-i;ascii-numeric",
    RECEIPT,
)
"""RFC 5228, 5229, 5231, 5233, 3894, 5173, 5703 4, 5232, 5490, 8579, 5230, 5260, and one of ours.
There is no `reject`: a letter was accepted for this box and the sender has its 250 (D1)."""
ALWAYS = frozenset(("comparator-i;octet", "comparator-i;ascii-casemap"))

Shape = Literal["string", "list", "number"]


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag: `shape` of what follows it, `needs` the extension it belongs to."""

    shape: Shape | None = None
    needs: str | None = None
    group: str = ""
    """At most one tag of a group."""


@dataclass(frozen=True, slots=True)
class Signature:
    """`optional`: a positional argument that may stand before the others."""

    positional: tuple[tuple[str, Shape], ...] = ()
    tags: Mapping[str, Tagged] = field(default_factory=dict)
    needs: str | None = None
    optional: tuple[str, Shape] | None = None
    tests: Literal["none", "one", "many"] = "none"
    has_block: bool = False
    matches: bool = False
    """It takes a match type and a comparator."""


_MATCH = {
    "is": Tagged(group="match"),
    "contains": Tagged(group="match"),
    "matches": Tagged(group="match"),
    "value": Tagged("string", "relational", "match"),
    "count": Tagged("string", "relational", "match"),
    "comparator": Tagged("string"),
}
_PART = {
    "all": Tagged(group="part"),
    "localpart": Tagged(group="part"),
    "domain": Tagged(group="part"),
    "user": Tagged(None, "subaddress", "part"),
    "detail": Tagged(None, "subaddress", "part"),
}
_MIME = {
    "mime": Tagged(None, "mime"),
    "anychild": Tagged(None, "mime"),
}
_MIME_PART = {
    "type": Tagged(None, "mime", "mime part"),
    "subtype": Tagged(None, "mime", "mime part"),
    "contenttype": Tagged(None, "mime", "mime part"),
    "param": Tagged("list", "mime", "mime part"),
}
_FLAGS = {"flags": Tagged("list", "imap4flags")}
_COPY = {"copy": Tagged(None, "copy")}
_ZONE = {"zone": Tagged("string", None, "zone")}

COMMANDS: Mapping[str, Signature] = {
    "if": Signature(tests="one", has_block=True),
    "elsif": Signature(tests="one", has_block=True),
    "else": Signature(has_block=True),
    "require": Signature((("capabilities", "list"),)),
    "stop": Signature(),
    "keep": Signature(tags=_FLAGS),
    "discard": Signature(),
    "redirect": Signature((("address", "string"),), {**_COPY, "receipt": Tagged(None, RECEIPT)}),
    "fileinto": Signature(
        (("mailbox", "string"),),
        {
            **_FLAGS,
            **_COPY,
            "create": Tagged(None, "mailbox"),
            "specialuse": Tagged("string", "special-use"),
        },
        "fileinto",
    ),
    "set": Signature(
        (("name", "string"), ("value", "string")),
        {
            "lower": Tagged(group="case"),
            "upper": Tagged(group="case"),
            "lowerfirst": Tagged(group="first"),
            "upperfirst": Tagged(group="first"),
            "quotewildcard": Tagged(group="quote"),
            "length": Tagged(group="length"),
        },
        "variables",
    ),
    **{
        name: Signature((("flags", "list"),), needs="imap4flags", optional=("variable", "string"))
        for name in ("setflag", "addflag", "removeflag")
    },
    "vacation": Signature(
        (("reason", "string"),),
        {
            "days": Tagged("number"),
            "subject": Tagged("string"),
            "from": Tagged("string"),
            "addresses": Tagged("list"),
            "mime": Tagged(),
            "handle": Tagged("string"),
        },
        "vacation",
    ),
}

_FIELDS: tuple[tuple[str, Shape], ...] = (("headers", "list"), ("keys", "list"))

TESTS: Mapping[str, Signature] = {
    "true": Signature(),
    "false": Signature(),
    "not": Signature(tests="one"),
    "allof": Signature(tests="many"),
    "anyof": Signature(tests="many"),
    "address": Signature(_FIELDS, {**_MATCH, **_PART, **_MIME}, matches=True),
    "envelope": Signature(
        (("parts", "list"), ("keys", "list")), {**_MATCH, **_PART}, "envelope", matches=True
    ),
    "exists": Signature((("headers", "list"),), _MIME),
    "header": Signature(_FIELDS, {**_MATCH, **_MIME, **_MIME_PART}, matches=True),
    "size": Signature(
        (("limit", "number"),), {"over": Tagged(group="size"), "under": Tagged(group="size")}
    ),
    "string": Signature((("sources", "list"), ("keys", "list")), _MATCH, "variables", matches=True),
    "hasflag": Signature(
        (("keys", "list"),), _MATCH, "imap4flags", ("variables", "list"), matches=True
    ),
    "mailboxexists": Signature((("mailboxes", "list"),), needs="mailbox"),
    "specialuse_exists": Signature(
        (("attributes", "list"),), needs="special-use", optional=("mailbox", "string")
    ),
    "body": Signature(
        (("keys", "list"),),
        {
            **_MATCH,
            "raw": Tagged(group="transform"),
            "text": Tagged(group="transform"),
            "content": Tagged("list", None, "transform"),
        },
        "body",
        matches=True,
    ),
    "date": Signature(
        (("header", "string"), ("part", "string"), ("keys", "list")),
        {**_MATCH, **_ZONE, "originalzone": Tagged(group="zone")},
        "date",
        matches=True,
    ),
    "currentdate": Signature(
        (("part", "string"), ("keys", "list")), {**_MATCH, **_ZONE}, "date", matches=True
    ),
}
