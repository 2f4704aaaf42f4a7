"""What is big, and what ends: many letters, a heavy one, rights and passwords taken away."""

from __future__ import annotations

import json
import os
import time

from tests.end_to_end.mail import mailbox
from tests.thunderbird.marionette import Json
from tests.thunderbird.scene import Scene, kept, soon, subjects
from tests.thunderbird.steps import Step

MANY = 200
AT_ONCE = 50


def _letter(number: int) -> bytes:
    return (
        "From: Dr Zoé <zoe@hopital-a.test>\r\n"
        f"Subject: Ancienne {number}\r\n"
        "Date: Mon, 05 Jan 2026 09:15:00 +0100\r\n"
        f"Message-ID: <ancienne-{number}@hopital-a.test>\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        f"Numéro {number}.\r\n"
    ).encode()


def letters_that_come_while_it_reads(scene: Scene) -> str:
    """THB-07: what arrives while it fetches is listed without a further question."""
    scene.lucie.do("update", "Junk")
    scene.lucie.do("display", "Junk")
    with mailbox(scene.space, scene.a, scene.secretary, "Junk") as other:
        for first in range(0, MANY, AT_ONCE):
            for number in range(first, first + AT_ONCE):
                other.append("Junk", _letter(number))
    scene.lucie.do("counts", "Junk", MANY)
    return f"{MANY} letters of another program, all listed by IDLE alone"


def a_heavy_letter(scene: Scene) -> str:
    """OLC-04, APL-02: 14 MB in two attachments, there and back, one Sent copy."""
    pieces: list[Json] = []
    for number in range(2):
        piece = scene.folder / f"examen-{number}.pdf"
        piece.write_bytes(b"%PDF" + os.urandom(7_000_000))
        pieces.append(str(piece))
    letter: dict[str, Json] = {
        "identity": scene.service.address, "to": scene.elsewhere.address,
        "subject": "Deux examens", "body": "Bonjour.\n", "files": pieces,
    }  # fmt: skip
    said = scene.lucie.do("send", letter)
    assert isinstance(said, dict)
    assert said["value"] == "sent", said
    b = scene.space.b
    soon(
        lambda: "Deux examens" in [one.subject for one in kept(scene, scene.elsewhere, "INBOX", b)],
        "the letter at B",
    )
    assert subjects(scene, scene.service, "Sent").count("Deux examens") == 1
    return "19 MB on the wire, one copy"


def a_reader_is_told_why(scene: Scene) -> str:
    """GEN-05: the sentence of a NO is shown as it is."""
    service, secretary = scene.service.address, scene.secretary.address
    inbox = f"{scene.shared}/INBOX"
    scene.deliver(scene.service, "À lire seulement")
    scene.lucie.do("appears", inbox, "À lire seulement")
    scene.command("bal", "member", "set", service, secretary, "--role", "lecteur")
    told = scene.lucie.do("alertsOfMoving", inbox, "À lire seulement", "Archive")
    sentence = "Vos droits ici ne le permettent pas ; voyez le responsable de la boite"
    assert sentence in str(told), told
    assert "À lire seulement" in subjects(scene, scene.service, "INBOX")
    return f"« {sentence} »"


def no_member_any_more(scene: Scene) -> str:
    """Her sessions leave the box; at its next listing Thunderbird shows it no more."""
    scene.command("bal", "member", "remove", scene.service.address, scene.secretary.address)
    scene.lucie.do("forgets", "Other Users")
    scene.lucie.do("appears", "INBOX", "Poussée")
    return "the service's folders are gone, her own go on"


def a_password_that_was_revoked(scene: Scene) -> str:
    """SEC-06: a second later open sessions end at their next command."""
    address = scene.secretary.address
    listed = scene.a.command("person", "app-password", "list", address, "--json")
    (number,) = [
        one["number"] for one in json.loads(listed.stdout) if one["device"] == "Thunderbird"
    ]
    assert scene.a.command("person", "app-password", "revoke", address, str(number)).code == 0
    time.sleep(1.1)  # the promise is "within a second"
    scene.deliver(scene.secretary, "Après la révocation")
    scene.lucie.do("update", "INBOX")
    assert "Après la révocation" not in scene.lucie.shows("INBOX")
    log = (scene.lucie.folder / "protocol.log.moz_log").read_text("utf-8", "replace")
    assert "BYE [EXPIRED]" in log
    return "BYE [EXPIRED]; no letter of later is shown"


LAST_STEPS: tuple[Step, ...] = (
    letters_that_come_while_it_reads,
    a_heavy_letter,
    a_reader_is_told_why,
    no_member_any_more,
    a_password_that_was_revoked,
)
