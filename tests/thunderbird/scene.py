"""The demo's hopital-a and cabinet-b with the people of the story, and what the servers keep."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from email.utils import make_msgid
from functools import cached_property
from pathlib import Path

from mssmtp.demo import manifest
from mssmtp.demo.running import running
from mssmtp.demo.space import Space, lay
from mssmtp.outside import SystemClock, SystemEntropy
from tests.end_to_end.mail import mailbox, submit
from tests.space import Account, Operator, RunningSpace, attach, free_base_port
from tests.thunderbird.client import Thunderbird

SEEN_WITHIN_S = 20.0


@asynccontextmanager
async def space_of_two(folder: Path) -> AsyncIterator[RunningSpace]:
    """hopital-a with the settings as shipped, cabinet-b with COMPRESS=DEFLATE on."""
    outside = SystemClock(), SystemEntropy()
    laid = await asyncio.to_thread(lay, folder, free_base_port(), 2, outside)
    two = dataclasses.replace(laid, operators=laid.operators[:2])
    _switch_compress_on(two)
    async with running(two, 1):
        manifest.write(two, "ready")
        yield attach(folder)


def _switch_compress_on(space: Space) -> None:
    file = space.operator("cabinet-b").config_file
    text = file.read_text("utf-8")
    changed = text.replace("# imap_compress = false", "imap_compress = true")
    assert changed != text
    file.write_text(changed, "utf-8")


@dataclass(frozen=True)
class Scene:
    """Lucie, secretary, with a MED box and the ORG box of her service; doctors here and there."""

    space: RunningSpace
    folder: Path
    lucie: Thunderbird
    second: Thunderbird

    @property
    def a(self) -> Operator:
        return self.space.a

    @cached_property
    def secretary(self) -> Account:
        return self.a.of_type("MED")

    @cached_property
    def service(self) -> Account:
        return self.a.of_type("ORG")

    @property
    def shared(self) -> str:
        """Where the box of the service stands in her Thunderbird."""
        return f"Other Users/{self.service}"

    @cached_property
    def doctor(self) -> Account:
        return self.a.doctor(0)

    @cached_property
    def colleague(self) -> Account:
        """A doctor of the service, by another program than Thunderbird."""
        return self.a.doctor(1)

    @cached_property
    def elsewhere(self) -> Account:
        """A doctor of the other operator."""
        return self.space.b.doctor(0)

    @cached_property
    def bundle(self) -> bytes:
        """An IHE_XDM.ZIP."""
        octets = io.BytesIO()
        with zipfile.ZipFile(octets, "w") as archive:
            archive.writestr("IHE_XDM/SUBSET01/DOC0001.XML", "<ClinicalDocument/>" * 50)
        return octets.getvalue()

    def deliver(self, to: Account, subject: str, **fields: str) -> None:
        """A letter of the doctor with text that has accents, and the bundle."""
        letter = EmailMessage()
        letter["From"] = f"Dr Zoé Tartempion <{self.doctor}>"
        letter["To"] = str(to)
        letter["Subject"] = subject
        letter["Message-ID"] = make_msgid(domain=self.a.domain)
        letter["Date"] = "Mon, 05 Jan 2026 09:15:00 +0100"
        for name, value in fields.items():
            letter[name.replace("_", "-")] = value
        letter.set_content("Voici le compte rendu du néphrologue.\n", cte="quoted-printable")
        letter.add_attachment(
            self.bundle, maintype="application", subtype="zip", filename="IHE_XDM.ZIP"
        )
        octets = letter.as_bytes(policy=letter.policy.clone(linesep="\r\n"))
        said = submit(self.space, self.a, self.doctor, [to], octets)
        assert said.data.startswith("250"), said

    def command(self, *words: str) -> dict[str, object]:
        """`mssmtp WORDS --json` at hopital-a."""
        ended = self.a.command(*words, "--json")
        assert ended.code == 0, ended.stderr
        answer: dict[str, object] = json.loads(ended.stdout)
        return answer


@dataclass(frozen=True)
class Kept:
    """A letter as the server has it; flags in lower case."""

    subject: str
    flags: frozenset[str]
    octets: bytes


def kept(scene: Scene, account: Account, name: str, operator: Operator | None = None) -> list[Kept]:
    """What a mailbox holds, asked for by another program."""
    login, path = account, name
    if account == scene.service:  # which has no password: a colleague looks
        login, path = scene.colleague, f"{scene.shared}/{name}"
    with mailbox(scene.space, operator or scene.a, login, path) as client:
        found = client.fetch(client.search(), ["FLAGS", "BODY.PEEK[]"])
    return [
        Kept(
            _subject(parts[b"BODY[]"]),
            frozenset(flag.decode().lower() for flag in parts[b"FLAGS"]),
            parts[b"BODY[]"],
        )
        for _, parts in sorted(found.items())
    ]


def _subject(octets: bytes) -> str:
    return str(message_from_bytes(octets, policy=default)["Subject"])


def subjects(scene: Scene, account: Account, name: str) -> list[str]:
    """The subjects of a mailbox, in the order of arrival."""
    return [one.subject for one in kept(scene, account, name)]


def soon(look: Callable[[], bool], what: str) -> None:
    """Thunderbird sends some commands in its own time: look until it has."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    while not look():
        assert time.monotonic() < deadline, f"not seen on the server: {what}"
        time.sleep(0.1)


def flags_of(scene: Scene, account: Account, name: str, subject: str) -> frozenset[str]:
    """Flags of the one letter with that subject."""
    (found,) = [one for one in kept(scene, account, name) if one.subject == subject]
    return found.flags
