"""The letter of the demo, and sentences that must be found nowhere in clear on disk."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path

from mssmtp.mail import Address
from mssmtp.outside import Clock, Entropy


@dataclass(frozen=True, slots=True)
class Letter:
    """A composed message. `canaries` are in its subject, body, attachment and attachment name."""

    octets: bytes
    message_id: str
    attachment: bytes
    canaries: tuple[bytes, ...]

    @property
    def attachment_sha256(self) -> str:
        """Of the decoded attachment."""
        return hashlib.sha256(self.attachment).hexdigest()


def compose(sender: Address, to: Address, clock: Clock, entropy: Entropy) -> Letter:
    """A report with one attachment of about 200 KB, as a doctor's mail client would write it."""
    mark = entropy.token_bytes(6).hex()
    subject, body, inside, name = (
        f"canari-objet-{mark}",
        f"canari-corps-{mark}",
        f"canari-piece-{mark}",
        f"canari-nom-{mark}",
    )
    attachment = b"%PDF-1.4\n" + inside.encode() + b"\n" + entropy.token_bytes(200_000)
    message = EmailMessage(policy=SMTP)
    message["From"] = HeaderAddress("Dr Zoé TARTEMPION", sender.local, sender.domain)
    message["To"] = HeaderAddress("", to.local, to.domain)
    message["Subject"] = f"CR de consultation {subject}"
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message.set_content(f"Cher confrère,\n\nVeuillez trouver ci-joint le compte rendu {body}.\n")
    message.add_attachment(attachment, "application", "pdf", filename=f"{name}.pdf")
    canaries = tuple(text.encode() for text in (subject, body, inside, name))
    return Letter(message.as_bytes(), str(message["Message-ID"]), attachment, canaries)


def found_in_clear(directory: Path, canaries: tuple[bytes, ...]) -> list[str]:
    """Files under `directory` that hold a canary as it is, in base64 (three alignments) or hex."""
    needles = [needle for canary in canaries for needle in _spellings(canary)]
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            octets = path.read_bytes()
            if any(needle in octets for needle in needles):
                found.append(path.relative_to(directory).as_posix())
    return found


def _spellings(canary: bytes) -> list[bytes]:
    # A canary inside a base64 body begins at one of three alignments; the outer characters
    # depend on its neighbours and are cut off.
    encoded = [b64encode(b"\0" * shift + canary)[4 if shift else 0 : -4] for shift in range(3)]
    return [canary, canary.hex().encode(), *encoded]
