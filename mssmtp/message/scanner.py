"""One incremental pass over a message: its MIME tree as offsets, its attachments, its defects.

Bodies are never kept: inside one only delimiter lines are looked for, in whole blocks. What is
held is the header section being read, the tree, and less than one delimiter line. Any split of
the octets gives the same Scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mssmtp.mail import Attachment
from mssmtp.message.content import MAX_BOUNDARY_OCTETS, read_content
from mssmtp.message.entity import Entity
from mssmtp.message.headers import field_name, fields
from mssmtp.message.structure import envelope_of
from mssmtp.message.traits import Peek, traits_of
from mssmtp.message.tree import Part, Scan, ScanLimits, TooComplex

__all__ = ["Part", "Scan", "ScanLimits", "Scanner", "TooComplex"]

MAX_DELIMITER_LINE = MAX_BOUNDARY_OCTETS + 256
"""A longer line is no delimiter, whatever it begins with: what is held stays bounded."""
HEADER_TOTAL_FACTOR = 8
"""All header sections of a message together, in multiples of the limit of one."""
_MAX_DEFECTS = 20
_MANY_MISSES = 1_000
_WINDOW = 65_536
_EMPTY_LINES = (b"\r\n", b"\n")


class _Delimiter(NamedTuple):
    """A delimiter line of the multipart at `level` of the stack; `end` is after its line end."""

    level: int
    is_close: bool
    end: int
    line_end: int
    """Octets of its own line end."""


_INCOMPLETE = _Delimiter(-1, False, -1, 0)


class Scanner:
    """Feed octets in any blocks, then `close`. Raises TooComplex at a limit, nothing else."""

    def __init__(self, limits: ScanLimits | None = None) -> None:
        self._limits = limits or ScanLimits()
        self._size = 0
        self._base = 0  # offset in the message of the first octet that is not consumed yet
        self._held = bytearray()
        self._is_final = False
        self._stack: list[Entity] = []
        self._levels: dict[bytes, int] = {}
        self._needle = b"\n--"
        self._in_header = True
        self._section = bytearray()
        self._section_start = 0
        self._searched = 0
        self._header_total = 0
        self._is_fresh = False  # the next octet begins a line of a body
        self._shared = 0  # octets of the line end before it, when that may be a delimiter's
        self._misses = 0  # lines that began like a delimiter and were none
        self._likely: frozenset[bytes] | None = None
        self._lines = 0
        self._counting = 0  # entities on the stack that need lines
        self._ends_line = True
        self._parts = -1  # the root is none
        self._header = self._envelope = b""
        self._root: Part | None = None
        self._attachments: list[Attachment] = []
        self._defects: dict[str, None] = {}

    def feed(self, block: bytes) -> None:
        """The next octets. Raises TooComplex."""
        self._size += len(block)
        data: bytes | bytearray = block
        if self._held:
            self._held += block
            data = self._held
        position = self._advance(data)
        self._base += position
        if data is self._held:
            del self._held[:position]
        elif position < len(data):
            self._held = bytearray(data[position:])

    def close(self) -> Scan:
        """The message ends here. Raises TooComplex."""
        self._is_final = True
        self._advance(self._held)
        if self._in_header:
            if self._section or not self._stack:
                self._defect("header without an end")
            self._end_sections(self._size)
        if any(entity.is_open_multipart for entity in self._stack):
            self._defect("multipart without an end")
        self._finish_above(0, self._size)
        if self._root is None:  # pragma: no cover - the stack held the root
            raise AssertionError("no root")
        return Scan(
            self._size,
            self._header,
            self._envelope,
            self._root,
            tuple(self._attachments),
            tuple(self._defects),
        )

    def _advance(self, data: bytes | bytearray) -> int:
        position, is_moving = 0, True
        while is_moving:
            step = self._read_header if self._in_header else self._read_body
            position, is_moving = step(data, position)
        return position

    # ------------------------------------------------------------ header sections

    def _read_header(self, data: bytes | bytearray, position: int) -> tuple[int, bool]:
        """Consume whole lines of the section; (new position, False when octets are wanting)."""
        if not self._levels:
            position = self._skip_fields(data, position)
        while True:
            newline = data.find(b"\n", max(position, self._searched - self._base))
            if newline < 0:
                waiting = len(data) - position
                self._searched = self._base + len(data)
                is_enough = self._is_final or waiting >= MAX_DELIMITER_LINE
                if (
                    waiting
                    and is_enough
                    and self._begins_body(bytes(data[position : position + MAX_DELIMITER_LINE]))
                ):
                    return self._headless(position)
                self._check_section(waiting)  # of a header: text may wait
                if not waiting or not self._is_final:
                    return position, False
                newline = len(data) - 1
            line = bytes(data[position : newline + 1])
            if line in _EMPTY_LINES:
                self._section += line
                self._check_section(0)
                self._lines += 1
                self._end_section(self._base + newline + 1)
                return newline + 1, True
            if line.startswith(b"--") and (found := self._match(line, newline + 1)):
                return self._end_at_delimiter(position, found), True
            if self._begins_body(line[:MAX_DELIMITER_LINE]):
                return self._headless(position)
            self._section += line
            self._lines += 1
            self._check_section(0)
            position = newline + 1

    def _skip_fields(self, data: bytes | bytearray, position: int) -> int:
        """Take every line before the empty one at once, when no delimiter can stand among them."""
        if self._stack and not self._section:
            return position  # the first line of a nested header is looked at by itself
        start = max(position, self._searched - self._base - 2)
        end = data.find(b"\n\r\n", start)
        bare = data.find(b"\n\n", start) if end < 0 else data.find(b"\n\n", start, end + 1)
        end = bare if bare >= 0 else end
        if end < 0 or data.startswith(_EMPTY_LINES, position):
            return position
        chunk = data[position : end + 1]
        self._section += chunk
        if self._counting:
            self._lines += chunk.count(b"\n")
        self._check_section(0)
        return end + 1

    def _begins_body(self, line: bytes) -> bool:
        """The first line of a part's header is text: the sender forgot the empty line.

        At the top the header ends at its empty line only, so that nothing hides from From checks.
        """
        if self._section or not self._stack or line[:1] in (b" ", b"\t"):
            return False
        if line.startswith(b"--") and self._match(line, 0):
            return False
        return field_name(line) is None

    def _headless(self, position: int) -> tuple[int, bool]:
        self._defect("part without a header")
        self._end_section(self._base + position)
        return position, True

    def _end_at_delimiter(self, position: int, found: _Delimiter) -> int:
        """A delimiter inside a header: the line end before it is its own (RFC 2046 5.1.1)."""
        end = self._base + position
        if self._section:
            self._defect("header without an end")
            end -= 2 if self._section.endswith(b"\r\n") else 1
        self._end_sections(end)
        self._ends_line = True
        self._cross(found, end, 1)
        return found.end

    def _check_section(self, waiting: int) -> None:
        octets = len(self._section) + waiting
        limit = self._limits.header_octets
        if octets > limit or self._header_total + octets > HEADER_TOTAL_FACTOR * limit:
            raise TooComplex("header section over the limit")

    def _end_sections(self, end: int) -> None:
        while self._in_header:
            self._end_section(end)

    def _end_section(self, end: int) -> None:
        """The section is whole and its body begins at `end`."""
        section = bytes(self._section)
        self._section.clear()
        self._header_total += len(section)
        parent = self._stack[-1] if self._stack else None
        found = fields(section)
        if parent is None:
            self._header, self._envelope = section, envelope_of(found)
        elif parent.is_message:
            parent.envelope = envelope_of(found)
        self._parts += 1
        if len(self._stack) > self._limits.mime_depth or self._parts > self._limits.mime_parts:
            raise TooComplex("MIME depth or parts over the limit")
        content = read_content(found, in_digest=parent is not None and parent.is_digest)
        entity = Entity.under(parent, content, self._section_start, end)
        for defect in entity.content.defects:
            self._defect(defect)
        entity.lines_before = self._lines
        self._counting += entity.counts_lines
        self._ends_line = True
        self._stack.append(entity)
        if entity.is_open_multipart:
            self._set_delimiters()
        self._section_start = end
        self._in_header = entity.is_message
        self._is_fresh, self._shared = not entity.is_message, 0

    # ------------------------------------------------------------ bodies

    def _read_body(self, data: bytes | bytearray, position: int) -> tuple[int, bool]:
        """Consume body octets up to a delimiter or to what could be the beginning of one."""
        if not self._levels:
            self._take(data, position, len(data))
            return len(data), False
        if self._is_fresh:
            found = self._delimiter_at(data, position)
            if found is _INCOMPLETE:
                return position, False
            self._is_fresh = False
            if found is not None:
                self._cross(found, self._base + position - self._shared, 1)
                return found.end, True
        search = position
        while (at := self._candidate(data, search)) >= 0:
            found = self._delimiter_at(data, at + 1)
            if found is None:
                self._misses += 1
                search = at + 1
                continue
            end = _before_newline(data, position, at)
            self._take(data, position, end)
            if found is _INCOMPLETE:
                return end, False
            self._cross(found, self._base + end, 2)
            return found.end, True
        end = len(data) if self._is_final else self._safe_end(data, position)
        self._take(data, position, end)
        return end, False

    def _candidate(self, data: bytes | bytearray, search: int) -> int:
        # Base64 has no "-": one memchr over the block is cheaper than any search for the needle.
        dash = data.find(b"-", search)
        if dash < 0:
            return -1
        search = max(search, dash - 1)
        if self._misses > _MANY_MISSES:
            search = self._after_look_alikes(data, search)
        return data.find(self._needle, search)

    def _after_look_alikes(self, data: bytes | bytearray, search: int) -> int:
        """Pass over lines that are no delimiter, a window at a time.

        A body may consist of nothing but lines that begin like a delimiter: judging each of them
        alone would cost a hostile 60 MB message half a minute (ATT-27).
        """
        if self._likely is None:
            opening = {b"--" + boundary for boundary in self._levels}
            self._likely = frozenset(opening | {line + b"--" for line in opening})
        likely = self._likely
        while (last := data.rfind(b"\n", search, search + _WINDOW)) > search:
            lines = bytes(data[search:last]).split(b"\n")
            lines[0] = b""  # not known to begin where a line begins
            for index, line in enumerate(lines):
                if line.rstrip(b" \t\r") in likely and len(line) < MAX_DELIMITER_LINE:
                    first = data.find(b"\n", search)
                    return first + sum(map(len, lines[1:index])) + index - 1
            search = last
        return search

    def _safe_end(self, data: bytes | bytearray, position: int) -> int:
        """Where the beginning of a delimiter may stand at the end of the block."""
        size = len(data)
        newline = data.rfind(b"\n", max(position, size - len(self._needle)))
        if newline >= 0 and self._needle.startswith(bytes(data[newline:])):
            return _before_newline(data, position, newline)
        return size - 1 if size > position and data[size - 1] == 13 else size

    def _delimiter_at(self, data: bytes | bytearray, start: int) -> _Delimiter | None:
        """The delimiter line at `start`, None when it is none, _INCOMPLETE when not known yet."""
        head = bytes(data[start : start + 2])
        if head != b"--":
            is_cut = len(head) < 2 and not self._is_final and b"--".startswith(head)
            return _INCOMPLETE if is_cut else None
        newline = data.find(b"\n", start, start + MAX_DELIMITER_LINE)
        if newline < 0:
            if len(data) - start >= MAX_DELIMITER_LINE:
                return None
            if not self._is_final:
                return _INCOMPLETE
            newline = len(data) - 1
        return self._match(bytes(data[start : newline + 1]), newline + 1)

    def _match(self, line: bytes, end: int) -> _Delimiter | None:
        """Whole lines only: a boundary that begins another one is not taken for it."""
        if len(line) > MAX_DELIMITER_LINE:
            return None
        text = line[2:].rstrip(b" \t\r\n")
        line_end = 2 if line.endswith(b"\r\n") else int(line.endswith(b"\n"))
        level = self._levels.get(text)
        if level is not None:
            return _Delimiter(level, False, end, line_end)
        level = self._levels.get(text[:-2]) if text.endswith(b"--") else None
        return None if level is None else _Delimiter(level, True, end, line_end)

    def _take(self, data: bytes | bytearray, start: int, stop: int) -> None:
        """Body octets of the innermost entity."""
        if stop <= start:
            return
        chunk = data[start:stop]
        self._stack[-1].add(chunk)
        if self._counting:
            self._lines += chunk.count(b"\n")
            self._ends_line = chunk[-1] == 10

    def _cross(self, found: _Delimiter, end: int, newlines: int) -> None:
        """Act on a delimiter line: what is above its multipart ends at `end`.

        `newlines`: line ends that were not counted yet, of the delimiter and before it.
        """
        if any(entity.is_open_multipart for entity in self._stack[found.level + 1 :]):
            self._defect("multipart without an end")
        self._finish_above(found.level + 1, end)
        self._lines += newlines if found.line_end else newlines - 1
        self._ends_line = found.line_end > 0
        owner = self._stack[found.level]
        if found.is_close:
            owner.is_closed = True
            self._set_delimiters()
            self._is_fresh, self._shared = True, found.line_end
            return
        if owner.counts_lines:  # it has parts: its own lines will not be asked for
            owner.counts_lines = False
            self._counting -= 1
        self._section_start = self._base + found.end
        self._in_header = True

    def _finish_above(self, depth: int, end: int) -> None:
        """Every entity at `depth` of the stack and above ends at `end`."""
        has_closed = False
        while len(self._stack) > depth:
            entity = self._stack.pop()
            self._counting -= entity.counts_lines
            has_closed = has_closed or entity.is_open_multipart
            lines = self._lines - entity.lines_before
            if not self._ends_line and end > entity.body_start:
                lines += 1
            part = entity.finish(end, lines)
            if part.content is not entity.content:
                self._defect("multipart without parts")
            if not self._stack:
                self._root = part
            else:
                self._stack[-1].children.append(part)
            self._note_attachment(part, entity.peek)
        if has_closed:
            self._set_delimiters()

    def _note_attachment(self, part: Part, peek: Peek | None) -> None:
        """messages.md §2; what is inside an attached message counts with it."""
        if part.is_multipart or any(entity.is_message for entity in self._stack):
            return
        is_text = part.media_type == "text"
        if is_text and part.file_name is None and part.disposition != "attachment":
            return
        octets = part.octets if part.is_message else part.decoded_octets
        name = part.file_name or ""
        traits = traits_of(name, part.full_type, peek)
        self._attachments.append(Attachment(name, part.full_type, octets, traits))

    def _set_delimiters(self) -> None:
        self._levels = {
            entity.content.boundary or b"": level
            for level, entity in enumerate(self._stack)
            if entity.is_open_multipart
        }
        self._needle = b"\n--" + _common_prefix(self._levels)
        self._likely = None

    def _defect(self, text: str) -> None:
        if len(self._defects) < _MAX_DEFECTS:
            self._defects.setdefault(text)


def _before_newline(data: bytes | bytearray, position: int, newline: int) -> int:
    """Where the line end at `newline` begins: at its CR when that is still ours."""
    return newline - 1 if newline > position and data[newline - 1] == 13 else newline


def _common_prefix(boundaries: Iterable[bytes]) -> bytes:
    lowest, highest = min(boundaries, default=b""), max(boundaries, default=b"")
    for index, octet in enumerate(lowest):
        if octet != highest[index]:
            return lowest[:index]
    return lowest
