"""Arguments of MAIL and RCPT: paths and parameters (RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2).

Only BadSyntax and its kind leave this module, whatever the octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mssmtp.errors import BadAddress, BadSyntax, MailError, NonAsciiAddress
from mssmtp.mail import Address, Domain, ReversePath
from mssmtp.smtp import replies

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?\Z")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*\Z")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;.+\Z")
_MAX_PARAMETERS = 16
_MAX_SIZE_DIGITS = 20  # RFC 1870 4
_MAX_ENVID = 100  # RFC 3461 5.4
_MAX_ORCPT = 500
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class BadArgument(BadSyntax):
    """Arguments that are not in the grammar of their command."""

    smtp = replies.BAD_ARGUMENT


class UnknownParameter(BadSyntax):
    """A parameter of an extension that was not announced (RFC 5321 4.1.1.11)."""

    smtp = replies.UNKNOWN_PARAMETER


class TooBig(MailError):
    """The announced or counted size is above the limit (RFC 1870 6.1)."""

    smtp = replies.TOO_BIG


@dataclass(frozen=True, slots=True)
class Extensions:
    """What EHLO announced beyond SIZE and 8BITMIME, hence which parameters are known."""

    auth: bool = False
    dsn: bool = False


@dataclass(frozen=True, slots=True)
class MailCommand:
    """`MAIL FROM:`. `size_octets` is 0 when not announced by the client."""

    sender: ReversePath
    size_octets: int = 0
    body: str = "7BIT"
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RcptCommand:
    """`RCPT TO:`. `notify` and `orcpt` as in mail.Recipient."""

    address: Address
    notify: frozenset[str] | None = None
    orcpt: str | None = None


def mail_command(argument: str | None, extensions: Extensions) -> MailCommand:
    """What stands behind `MAIL `. Raises BadSyntax kinds."""
    path, rest = _path(argument, "FROM:")
    sender = _sender(path)
    size, body, ret, envid = 0, "7BIT", None, None
    for name, value in _parameters(rest).items():
        if name == "SIZE":
            size = _size(value)
        elif name == "BODY":
            body = _one_of(value, ("7BIT", "8BITMIME"))
        elif name == "AUTH" and extensions.auth:
            _xtext(value, 500)  # RFC 4954 5: understood, and not believed
        elif name == "RET" and extensions.dsn:
            ret = _one_of(value, ("FULL", "HDRS"))
        elif name == "ENVID" and extensions.dsn:
            envid = _xtext(value, _MAX_ENVID)
        else:
            raise UnknownParameter
    return MailCommand(sender, size, body, ret, envid)


def rcpt_command(argument: str | None, extensions: Extensions, own: Domain) -> RcptCommand:
    """What stands behind `RCPT `; `<Postmaster>` is the one of `own` (RFC 5321 4.5.1)."""
    path, rest = _path(argument, "TO:")
    if path.lower() == "postmaster":
        path = f"{path}@{own}"
    address = _address(path)
    notify, orcpt = None, None
    for name, value in _parameters(rest).items():
        if name == "NOTIFY" and extensions.dsn:
            notify = _notify(value)
        elif name == "ORCPT" and extensions.dsn:
            orcpt = _xtext(value, _MAX_ORCPT)
            if not _ORCPT.match(orcpt):
                raise BadArgument
        else:
            raise UnknownParameter
    return RcptCommand(address, notify, orcpt)


def _path(argument: str | None, keyword: str) -> tuple[str, str]:
    """The octets between `<` and the `>` that is not inside a quoted string, and what follows."""
    if argument is None or argument[: len(keyword)].upper() != keyword:
        raise BadArgument
    text = argument[len(keyword) :].lstrip(" ")  # `FROM: <a@b>` is common
    if not text.startswith("<"):
        raise BadArgument
    quoted = escaped = False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and quoted:
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return text[1:index], text[index + 1 :]
    raise BadArgument


def _sender(path: str) -> ReversePath:
    if not path:
        return None
    try:
        return _address(path)
    except NonAsciiAddress:
        raise
    except BadAddress as error:
        if error.reply == replies.SOURCE_ROUTE:
            raise
        raise BadAddress(reply=replies.BAD_SENDER) from error


def _address(path: str) -> Address:
    if not path.isascii():
        raise NonAsciiAddress
    if path.startswith("@"):
        raise BadAddress(reply=replies.SOURCE_ROUTE)
    if path.endswith("."):
        raise BadAddress(reply=replies.TRAILING_DOT)
    if path != path.strip():
        raise BadAddress
    return Address.parse(path)


def _parameters(rest: str) -> dict[str, str | None]:
    if rest and not rest.startswith(" "):
        raise BadArgument
    words = rest.split()
    if len(words) > _MAX_PARAMETERS:
        raise BadArgument
    found: dict[str, str | None] = {}
    for word in words:
        match = _PARAMETER.match(word)
        if match is None or match[1].upper() in found:
            raise BadArgument
        found[match[1].upper()] = match[2]
    return found


def _size(value: str | None) -> int:
    if value is None or len(value) > _MAX_SIZE_DIGITS or not (value.isascii() and value.isdigit()):
        raise BadArgument
    return int(value)


def _one_of(value: str | None, known: tuple[str, ...]) -> str:
    if value is None or value.upper() not in known:
        raise BadArgument
    return value.upper()


def _xtext(value: str | None, longest: int) -> str:
    if value is None or len(value) > longest or not _XTEXT.match(value):
        raise BadArgument
    return value


def _notify(value: str | None) -> frozenset[str]:
    """NEVER is the empty set (RFC 3461 4.1)."""
    if value is None:
        raise BadArgument
    wishes = value.upper().split(",")
    if wishes == ["NEVER"]:
        return frozenset()
    if len(set(wishes)) != len(wishes) or not set(wishes) <= _NOTIFY:
        raise BadArgument
    return frozenset(wishes)
