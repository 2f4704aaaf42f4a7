"""Which software wrote a message, as far as its X-MSS fields say so (OP-62, CL-40 to CL-42).

They are read and counted, and never added, corrected nor taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NONE = "none"
"""The message has no X-MSS-NIL."""
ILLEGIBLE = "illegible"
"""It has several, or one that is no reference of a product."""
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}\Z")
_KNOWN = ("codecda", "ins", "mes", "nil")


def product(traced: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The product's reference (X-MSS-NIL), and which of the four fields there are, as one label.

    `traced`: fields of the header, names in lower case. Nothing else of the message is in a label:
    a value that does not look like a reference could be anything (T21).
    """
    fields = [(name, value.strip()) for name, value in traced]
    present = [each for each in _KNOWN if any(name == f"x-mss-{each}" for name, _ in fields)]
    references = {value for name, value in fields if name == "x-mss-nil"}
    reference = next(iter(references), NONE)
    if references and (len(references) > 1 or not _REFERENCE.match(reference)):
        reference = ILLEGIBLE
    return reference, " ".join(present) or NONE
