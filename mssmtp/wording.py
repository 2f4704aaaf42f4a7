"""What a box says by itself or offers to say: automatic replies, signatures, templates.

A signature and a footer are text that is offered to who writes; the server never adds them to a
letter (SEED-45): an addition would break a signed message, and nobody would have written it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mssmtp.mail import Bal, BalType, StructureId
from mssmtp.sieve.auto_reply import AutoReply
from mssmtp.sieve.templates import XDM, xdm
from mssmtp.storage import Reading, Writing
from mssmtp.storage.scripts import AUTO_REPLY

SIGNATURE = "signature"
FOOTER = "footer"
KINDS = (SIGNATURE, FOOTER)
"""Of templates of a structure: of letters, of reports."""
MAX_TEXT = 4_000
"""Characters."""
PLACEHOLDERS = ("prénom", "nom", "profession", "structure", "adresse")
_PLACEHOLDER = re.compile(r"\{([^{}\s]{1,40})\}")


class NotPossible(ValueError):
    """What was asked for cannot be, in words."""


# ---------------------------------------------------------------- automatic replies


def auto_reply(reading: Reading, bal: Bal) -> AutoReply | None:
    """What the box answers by itself (SEED-44); None: nothing."""
    octets = reading.preference("bal", bal.id, AUTO_REPLY)
    return None if octets is None else AutoReply.from_bytes(octets)


def set_auto_reply(writing: Writing, bal: Bal, chosen: AutoReply | None) -> None:
    """Answer from now on, or no more. Raises NotPossible for a box of software (DEF-13)."""
    if chosen is not None and bal.type is BalType.APP:
        raise NotPossible("une boîte applicative ne répond pas automatiquement")
    octets = None if chosen is None else chosen.to_bytes()
    writing.prefer("bal", bal.id, AUTO_REPLY, octets)
    writing.note_reactions(bal.id)


# ---------------------------------------------------------------- letters of software


def forward_xdm(writing: Writing, bal: Bal, application: Bal | None) -> None:
    """CL-72: the shipped script, active, or no more. Raises NotPossible.

    A script that is active already is its holder's: it is not put aside.
    """
    active = writing.active_script(bal.id)
    if application is None:
        if active is not None and active.name == XDM:
            writing.activate_script(bal.id, "")
        return
    if bal.type is not BalType.ORG or application.type is not BalType.APP:
        raise NotPossible("cette règle va d'une boîte ORG à une boîte APP")
    if active is not None and active.name != XDM:
        raise NotPossible(f"le script « {active.name} » est actif dans cette boîte")
    writing.put_script(bal.id, XDM, xdm(application.address).encode())
    writing.activate_script(bal.id, XDM)


# ---------------------------------------------------------------- signatures


@dataclass(frozen=True, slots=True)
class Offered:
    """Texts offered to who writes from a box; "" where there is none."""

    signature: str
    footer: str
    is_own: bool
    """The signature is the box's own, not made from its structure's template."""


def checked(text: str, *, is_template: bool) -> str:
    """Plain text, bounded; of a template only placeholders that are known. Raises NotPossible."""
    text = text.replace("\r\n", "\n").strip("\n")
    if len(text) > MAX_TEXT:
        raise NotPossible(f"plus de {MAX_TEXT} caractères")
    if any(not (character.isprintable() or character == "\n") for character in text):
        raise NotPossible("un caractère de contrôle est dans le texte")
    unknown = set(_PLACEHOLDER.findall(text)) - set(PLACEHOLDERS)
    if is_template and unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise NotPossible(f"« {{{min(unknown)}}} » n'est pas connu ; il y a {known}")
    return text


def set_signature(writing: Writing, bal: Bal, text: str) -> None:
    """The box's own; "": that of its structure again. Raises NotPossible."""
    octets = checked(text, is_template=False).encode()
    writing.prefer("bal", bal.id, SIGNATURE, octets or None)


def template(reading: Reading, structure: StructureId, kind: str) -> str:
    """A structure's template of KINDS; "" without one."""
    octets = reading.preference("structure", structure, kind)
    return "" if octets is None else octets.decode()


def set_template(writing: Writing, structure: StructureId, kind: str, text: str) -> None:
    """Raises NotPossible."""
    octets = checked(text, is_template=True).encode()
    writing.prefer("structure", structure, kind, octets or None)


def offered(reading: Reading, bal: Bal) -> Offered:
    """What who writes from the box is offered: its own signature before the template's."""
    own = reading.preference("bal", bal.id, SIGNATURE)
    if bal.structure is None:
        return Offered("" if own is None else own.decode(), "", own is not None)
    values = _values(reading, bal)
    made = {kind: _filled(template(reading, bal.structure, kind), values) for kind in KINDS}
    signature = made[SIGNATURE] if own is None else own.decode()
    return Offered(signature, made[FOOTER], own is not None)


def _values(reading: Reading, bal: Bal) -> Mapping[str, str]:
    structure = None if bal.structure is None else reading.structure(bal.structure)
    account = reading.account_of(bal.id)
    person = None if account is None else reading.person_by_account(account.id)
    return {
        "prénom": person.first_name if person else "",
        "nom": person.last_name if person else "",
        "profession": person.profession if person else "",
        "structure": structure.name if structure else "",
        "adresse": str(bal.address),
    }


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Each placeholder once: what comes out is not looked at again."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
