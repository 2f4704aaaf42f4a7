"""Somebody who finds the way to an account in a browser, and the ordinary mail that leads there.

Ida was loaded by her hospital and has not activated her account. What she is mailed at her usual
address, the link and the codes, lies in a directory of the space.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from mssmtp.bulk.activation import Inviting
from mssmtp.config import Settings
from mssmtp.mail import Address, BalType, Category, Domain, Structure, StructureId
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson

USUAL = Address("ida.portail", Domain("courriel.example"))
_STRUCTURE, _FINESS = "Centre hospitalier A", "690000013"


def invite(store: Store, settings: Settings, clock: Clock, entropy: Entropy) -> None:
    """Ida, pre-registered, with a box, and the mail with her link."""
    lasts = timedelta(days=settings.prereg.activation_days)
    inviting = Inviting(Desk.of(settings, clock), entropy, lasts)

    def job(writing: Writing) -> None:
        new = NewPerson(USUAL, "Portail", "Ida", category=Category.HEALTH_PROFESSIONAL)
        person = writing.create_person(new)
        box = writing.create_bal(Address(USUAL.local, settings.operator.domains[0]), BalType.MED)
        writing.give_box(person.account, box.id)
        structure = writing.create_structure(Structure(StructureId(0), _STRUCTURE, _FINESS))
        writing.set_bal_structure(box.id, structure.id)
        inviting.invite(writing, person, _STRUCTURE)

    store.write(job).result()


class PostOffice:
    """Takes service mail as any relay would, and keeps it in `directory`, one file each."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory, self._port = directory, port
        self._server: asyncio.AbstractServer | None = None
        self._count = 0

    async def __aenter__(self) -> PostOffice:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._count = len(list(self._directory.glob("*.eml")))
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(self, hostname="relais.courriel.example", loop=loop)

        self._server = await loop.create_server(protocol, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def handle_DATA(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """One more file, whole or not at all."""
        content = envelope.content
        octets = content if isinstance(content, bytes) else (content or "").encode()
        self._count += 1
        target = self._directory / f"{self._count:04}.eml"
        draft = target.with_suffix(".new")
        await asyncio.to_thread(draft.write_bytes, octets)
        draft.replace(target)
        return "250 2.0.0 OK"
