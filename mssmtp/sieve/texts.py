"""What a string of a script stands for: encoded characters and variables (RFC 5228, RFC 5229)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mssmtp.sieve.faults import BadScript

MAX_VARIABLE = 4_096
"""Characters of a variable; what is longer is cut (RFC 5229 6 asks for 4,000 octets)."""
MAX_VARIABLES = 128
MAX_EXPANDED = 32_768

_ENCODED = re.compile(r"\$\{(hex|unicode):([ \t\r\n0-9A-Fa-f]*+)\}", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_]++(?:\.[A-Za-z0-9_]++)*+)\}")


def decoded_characters(text: str, line: int) -> str:
    """`text` with `${hex: …}` and `${unicode: …}` replaced (RFC 5228 2.4.2.4). Raises BadScript."""

    def replaced(found: re.Match[str]) -> str:
        words = found.group(2).split()
        if not words:
            return found.group()
        if found.group(1).lower() == "hex":
            if any(len(word) > 2 for word in words):
                return found.group()
            return bytes(int(word, 16) for word in words).decode("utf-8", "replace")
        return "".join(_character(word, line) for word in words)

    return _ENCODED.sub(replaced, text)


def _character(word: str, line: int) -> str:
    code = int(word, 16) if len(word) <= 8 else 0x110000
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise BadScript(line, f"pas un caractère Unicode : {word}")
    return chr(code)


def references(text: str) -> Iterator[str]:
    """Names of the variables in `text`, in lower case."""
    return (found.lower() for found in _REFERENCE.findall(text))


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`text` with the values of variables; who has none is empty (RFC 5229 3)."""
    if "${" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        name = found.group(1).lower()
        # `${01}` is `${1}` (RFC 5229 3.2).
        return variables.get(name.lstrip("0") or "0" if name.isdigit() else name, "")

    return _REFERENCE.sub(value, text)[:MAX_EXPANDED]


def modified(value: str, switches: frozenset[str]) -> str:
    """`set` with its modifiers, by their precedence (RFC 5229 4.1)."""
    if "lower" in switches:
        value = value.lower()
    if "upper" in switches:
        value = value.upper()
    if "lowerfirst" in switches:
        value = value[:1].lower() + value[1:]
    if "upperfirst" in switches:
        value = value[:1].upper() + value[1:]
    if "quotewildcard" in switches:
        value = re.sub(r"([*?\\])", r"\\\1", value)
    if "length" in switches:
        value = str(len(value))
    return value[:MAX_VARIABLE]
