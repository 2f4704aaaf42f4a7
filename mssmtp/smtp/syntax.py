"""Arguments of MAIL, RCPT and BDAT: paths, parameters, sizes (RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2).

Only BadSyntax and its kind leave this module, whatever the octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from mssmtp.errors import BadAddress, BadSyntax, MailError, NonAsciiAddress
from mssmtp.mail import Address, DeliverBy, Domain, ReversePath
from mssmtp.smtp import replies

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?\Z")
# What is encoded is printable too (RFC 3461 4): a line end would come out in a report.
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))*\Z")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;.+\Z")
_CHUNK = re.compile(r"([0-9]{1,20})(?: +(LAST))?\Z", re.IGNORECASE | re.ASCII)
_BY = re.compile(r"(-?[0-9]{1,9});([NR])(T?)\Z", re.IGNORECASE | re.ASCII)
_PRIORITY = re.compile(r"(?:0|-?[1-9])\Z", re.ASCII)
_SECONDS = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)
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


class HeldTooLong(BadSyntax):
    """HOLDFOR or HOLDUNTIL beyond what EHLO offers (RFC 4865 4)."""

    smtp = replies.HOLD_TOO_LONG


@dataclass(frozen=True, slots=True)
class Extensions:
    """What EHLO announced beyond SIZE and 8BITMIME, hence which parameters are known.

    `longest_hold` is None where FUTURERELEASE is not offered.
    """

    auth: bool = False
    dsn: bool = False
    require_tls: bool = False
    deliver_by: bool = False
    priority: bool = False
    longest_hold: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MailCommand:
    """`MAIL FROM:`. `size_octets` is 0 when not announced by the client; the other wishes are
    those of mail.Envelope."""

    sender: ReversePath
    size_octets: int = 0
    body: str = "7BIT"
    ret: str | None = None
    envid: str | None = None
    require_tls: bool = False
    priority: int = 0
    hold_until: datetime | None = None
    deliver_by: DeliverBy | None = None


@dataclass(frozen=True, slots=True)
class RcptCommand:
    """`RCPT TO:`. `notify` and `orcpt` as in mail.Recipient."""

    address: Address
    notify: frozenset[str] | None = None
    orcpt: str | None = None


def mail_command(argument: str | None, extensions: Extensions, now: datetime) -> MailCommand:
    """What stands behind `MAIL `; times in it count from `now`. Raises BadSyntax kinds."""
    path, rest = _path(argument, "FROM:")
    sender = _sender(path)
    size, body, wishes = 0, "7BIT", dict[str, str | None]()
    for name, value in _parameters(rest).items():
        if name == "SIZE":
            size = _size(value)
        elif name == "BODY":
            body = _one_of(value, ("7BIT", "8BITMIME"))
        else:
            wishes[name] = value
    command = MailCommand(sender, size, body)
    return _wishing(command, wishes, extensions, now) if wishes else command


def _wishing(
    command: MailCommand, wishes: dict[str, str | None], extensions: Extensions, now: datetime
) -> MailCommand:
    """`command` with what the sender wishes of those who carry the message."""
    if "HOLDFOR" in wishes and "HOLDUNTIL" in wishes:
        raise BadArgument  # RFC 4865 4.2
    longest = extensions.longest_hold
    for name, value in wishes.items():
        if name == "AUTH" and extensions.auth:
            _xtext(value, 500)  # RFC 4954 5: understood, and not believed
        elif name == "RET" and extensions.dsn:
            command = replace(command, ret=_one_of(value, ("FULL", "HDRS")))
        elif name == "ENVID" and extensions.dsn:
            command = replace(command, envid=_xtext(value, _MAX_ENVID))
        elif name == "REQUIRETLS" and extensions.require_tls:
            if value is not None:
                raise BadArgument
            command = replace(command, require_tls=True)
        elif name == "MT-PRIORITY" and extensions.priority:
            command = replace(command, priority=int(_matched(_PRIORITY, value)[0]))
        elif name == "BY" and extensions.deliver_by:
            command = replace(command, deliver_by=_deliver_by(value, now))
        elif name in ("HOLDFOR", "HOLDUNTIL") and longest is not None:
            command = replace(command, hold_until=_hold_until(name, value, now, longest))
        else:
            raise UnknownParameter
    by, held = command.deliver_by, command.hold_until
    if by is not None and held is not None and by.deadline <= held:
        raise BadArgument
    return command


def _deliver_by(value: str | None, now: datetime) -> DeliverBy:
    """RFC 2852 4: a message that is to be returned has some time at least."""
    match = _matched(_BY, value)
    seconds = int(match[1])
    mode: Literal["R", "N"] = "R" if match[2].upper() == "R" else "N"
    if mode == "R" and seconds <= 0:
        raise BadArgument
    return DeliverBy(now + timedelta(seconds=seconds), mode, bool(match[3]))


def _hold_until(name: str, value: str | None, now: datetime, longest: timedelta) -> datetime | None:
    """RFC 4865 4; None: the moment has passed already."""
    if name == "HOLDFOR":
        until = now + timedelta(seconds=int(_matched(_SECONDS, value)[0]))
    else:
        try:
            until = datetime.fromisoformat(_matched(_MOMENT, value)[0]).astimezone(now.tzinfo)
        except (ValueError, OverflowError) as error:
            raise BadArgument from error
    if until - now > longest:
        raise HeldTooLong
    return until if until > now else None


def _matched(pattern: re.Pattern[str], value: str | None) -> re.Match[str]:
    match = pattern.match(value or "")
    if match is None:
        raise BadArgument
    return match


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


@dataclass(frozen=True, slots=True)
class Chunk:
    """`BDAT`: so many octets follow the command line (RFC 3030 2)."""

    size_octets: int
    is_last: bool


def bdat_command(argument: str | None) -> Chunk:
    """What stands behind `BDAT `. Raises BadArgument: nobody knows where commands go on."""
    match = _CHUNK.match(argument or "")
    if match is None:
        raise BadArgument
    return Chunk(int(match[1]), match[2] is not None)


def _path(argument: str | None, keyword: str) -> tuple[str, str]:
    """The octets between `<` and the `>` that is not inside a quoted string, and what follows."""
    if argument is None or argument[: len(keyword)].upper() != keyword:
        raise BadArgument
    text = argument[len(keyword) :].lstrip(" ")  # `FROM: <a@b>` is common
    if not text.startswith("<"):
        raise BadArgument
    if '"' not in text:
        path, bracket, rest = text[1:].partition(">")
        if not bracket:
            raise BadArgument
        return path, rest
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
