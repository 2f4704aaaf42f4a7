"""The body of a request: limits first, then fields and files."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from mssmtp.errors import MailError, Reply
from mssmtp.web.page import Form, Page, Uploaded

WITHIN_S = 20.0
FILES_WITHIN_S = 120.0
MOST_FIELDS = 200
MOST_FILES = 50
for _each in (BadContentDispositionHeader, BadContentDispositionParam):
    warnings.simplefilter("ignore", _each)  # they quote names of files, which belong in no journal
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class BadBody(MailError):
    """Not a form, or not in time."""

    smtp = Reply(501, "5.5.4", "Formulaire illisible ; rechargez la page puis recommencez.")


class TooLong(MailError):
    """More than the page takes."""

    smtp = Reply(
        552, "5.3.4", "Envoi trop volumineux pour cette page ; retirez des pièces jointes."
    )


@dataclass(slots=True)
class Body:
    """What a form holds."""

    form: Form = field(default_factory=Form)
    files: tuple[Uploaded, ...] = ()


def query_of(text: str) -> Form:
    """What stands behind `?`; nothing of what is too much."""
    try:
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return Form()


async def body_of(request: web.BaseRequest, page: Page) -> Body:
    """The body of a POST to `page`. Raises TooLong, BadBody."""
    _refuse_early(request, page.most_octets)
    try:
        async with asyncio.timeout(FILES_WITHIN_S if page.takes_files else WITHIN_S):
            if request.content_type == _MULTIPART and page.takes_files:
                return await _parts(request, page.most_octets)
            octets = await _octets(request, page.most_octets)
    except TimeoutError as error:
        raise BadBody("not in time") from error
    if request.content_type != _FORM:
        raise BadBody("of another type")
    try:
        text = octets.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise BadBody("not a form") from error
    return Body(Form(pairs))


async def octets_of(request: web.BaseRequest, most: int) -> bytes:
    """The body as it came. Raises TooLong, BadBody."""
    _refuse_early(request, most)
    try:
        async with asyncio.timeout(WITHIN_S):
            return await _octets(request, most)
    except TimeoutError as error:
        raise BadBody("not in time") from error


def _refuse_early(request: web.BaseRequest, most: int) -> None:
    if (request.content_length or 0) > most:
        raise TooLong
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise BadBody("compressed")  # no browser does; a bomb would


async def _octets(request: web.BaseRequest, most: int) -> bytes:
    body = bytearray()
    async for block in request.content.iter_any():
        body += block
        if len(body) > most:
            raise TooLong
    return bytes(body)


async def _parts(request: web.BaseRequest, most: int) -> Body:
    pairs: list[tuple[str, str]] = []
    files: list[Uploaded] = []
    left = most
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                raise BadBody("a part without a name")
            if len(pairs) >= MOST_FIELDS or len(files) >= MOST_FILES:
                raise TooLong
            octets = await _part(part, left)
            left -= len(octets)
            if part.filename is None:
                pairs.append((part.name, octets.decode("utf-8")))
            elif part.filename or octets:
                media_type = part.headers.get("Content-Type", "application/octet-stream")
                files.append(Uploaded(part.filename, media_type, octets))
    except (ValueError, HttpProcessingError, RuntimeError) as error:
        # UnicodeDecodeError, and what aiohttp raises on heads, fields and charsets of parts.
        raise BadBody("not a form") from error
    return Body(Form(pairs), tuple(files))


async def _part(part: BodyPartReader, most: int) -> bytes:
    octets = bytearray()
    while block := await part.read_chunk(65_536):
        octets += block
        if len(octets) > most:
            raise TooLong
    return bytes(octets)
