"""What the header of one MIME entity says about its body (RFC 2045, 2046, 2183, 3282, 2557)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mssmtp.message import transfer
from mssmtp.message.headers import Field
from mssmtp.message.parameters import RawParameters, decode_parameters, parse_parametrised

MAX_BOUNDARY_OCTETS = 1_000
MAX_TEXT_OCTETS = 4_096
_TOKEN = bytes(c for c in range(33, 127) if c not in b'()<>@,;:\\"/[]?=')
_USUAL_ENCODINGS = frozenset((b"7bit", b"8bit", b"base64", b"quoted-printable"))
_WANTED = frozenset(
    (
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "content-id",
        "content-description",
        "content-md5",
        "content-language",
        "content-location",
    )
)


@dataclass(frozen=True, slots=True)
class Content:
    """The content header of an entity, checked and bounded.

    `media_type`, `subtype`, `encoding`, `disposition` are lower case ("" : no disposition);
    raw octets are as in the message, for BODYSTRUCTURE. `boundary` is set for a multipart that
    has a usable one.
    """

    media_type: str = "text"
    subtype: str = "plain"
    raw_parameters: RawParameters = ()
    parameters: tuple[tuple[str, str], ...] = ()
    encoding: str = "7bit"
    raw_encoding: bytes = b"7BIT"
    disposition: str = ""
    raw_disposition: RawParameters = ()
    file_name: str | None = None
    boundary: bytes | None = None
    identifier: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    language: bytes | None = None
    location: bytes | None = None
    is_declared: bool = False
    defects: tuple[str, ...] = ()

    @property
    def charset(self) -> str:
        """Lower case, "" when not declared."""
        return next((value.lower() for name, value in self.parameters if name == "charset"), "")


_PLAIN = Content()
_NESTED = Content(media_type="message", subtype="rfc822")


def read_content(section: Iterable[Field], *, in_digest: bool = False) -> Content:
    """The content header among the fields of a section; the default type differs `in_digest`.

    Of a repeated field the first one counts, as for the clients that were looked at; the
    repetition is a defect.
    """
    defects: list[str] = []
    found: dict[str, bytes] = {}
    for field in section:
        if field.name in _WANTED:
            if field.name in found:
                defects.append("repeated content field")
            else:
                found[field.name] = field.value
    default = _NESTED if in_digest else _PLAIN
    if not found:
        return default
    return _assembled(found, default, defects)


def _assembled(found: dict[str, bytes], default: Content, defects: list[str]) -> Content:
    media_type, subtype, raw, boundary = _media(found.get("content-type"), default, defects)
    parameters = decode_parameters(raw)
    disposition, raw_disposition = _disposition(found.get("content-disposition"), defects)
    raw_encoding = _encoding(found.get("content-transfer-encoding"), defects)
    return Content(
        media_type=media_type,
        subtype=subtype,
        raw_parameters=raw,
        parameters=parameters,
        encoding=raw_encoding.decode("ascii").lower(),
        raw_encoding=raw_encoding,
        disposition=disposition,
        raw_disposition=raw_disposition,
        file_name=_file_name(decode_parameters(raw_disposition), parameters),
        boundary=boundary,
        identifier=_text(found.get("content-id")),
        description=_text(found.get("content-description")),
        md5=_text(found.get("content-md5")),
        language=_text(found.get("content-language")),
        location=_text(found.get("content-location")),
        is_declared="content-type" in found,
        defects=tuple(defects),
    )


def _media(
    value: bytes | None, default: Content, defects: list[str]
) -> tuple[str, str, RawParameters, bytes | None]:
    if value is None:
        return default.media_type, default.subtype, (), None
    parsed = parse_parametrised(value)
    if parsed.is_cut:
        defects.append("too many or too long parameters")
    media_type, slash, subtype = (part.strip(b" \t") for part in parsed.main.partition(b"/"))
    if not slash or not _is_token(media_type) or not _is_token(subtype):
        defects.append("unreadable media type")
        return "text", "plain", parsed.parameters, None
    boundary = None
    if media_type == b"multipart":
        boundary = _boundary(parsed.raw(b"boundary"))
        if boundary is None:
            defects.append("multipart without a boundary")
    return media_type.decode("ascii"), subtype.decode("ascii"), parsed.parameters, boundary


def _is_token(text: bytes) -> bool:
    return 0 < len(text) <= 127 and not text.translate(None, _TOKEN)


def _boundary(value: bytes | None) -> bytes | None:
    """A boundary that can stand on a line; RFC 2046 5.1.1 allows 70 characters, we take more."""
    if value is None:
        return None
    trimmed = value.rstrip(b" \t")
    if not 0 < len(trimmed) <= MAX_BOUNDARY_OCTETS or b"\r" in trimmed or b"\0" in trimmed:
        return None
    return trimmed


def _disposition(value: bytes | None, defects: list[str]) -> tuple[str, RawParameters]:
    if value is None:
        return "", ()
    parsed = parse_parametrised(value)
    if parsed.is_cut:
        defects.append("too many or too long parameters")
    if _is_token(parsed.main):
        return parsed.main.decode("ascii"), parsed.parameters
    # RFC 2183 2.8: an unknown disposition is an attachment; so is an unreadable one.
    defects.append("unreadable disposition")
    return "attachment", parsed.parameters


def _encoding(value: bytes | None, defects: list[str]) -> bytes:
    if value is None:
        return b"7BIT"
    if value in _USUAL_ENCODINGS:
        return value.upper()
    word = value.split(b";")[0].split(b"(")[0].strip(b" \t")
    if not _is_token(word):
        defects.append("unreadable transfer encoding")
        return b"7BIT"
    if word.decode("ascii").lower() not in transfer.KNOWN:
        defects.append("unknown transfer encoding")
    return word.upper()


def _file_name(
    disposition: tuple[tuple[str, str], ...], content_type: tuple[tuple[str, str], ...]
) -> str | None:
    """`filename` of the disposition before `name` of the type, as clients do (ATT-34)."""
    for parameters, wanted in ((disposition, "filename"), (content_type, "name")):
        for name, value in parameters:
            if name == wanted and value.strip():
                return value
    return None


def _text(value: bytes | None) -> bytes | None:
    return None if value is None else value[:MAX_TEXT_OCTETS]
