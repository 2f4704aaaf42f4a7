"""Beside the first: another Thunderbird on the same boxes, with other settings."""

from __future__ import annotations

from tests.thunderbird.marionette import Json
from tests.thunderbird.scene import Scene, flags_of, kept, soon, subjects
from tests.thunderbird.steps import ROLES, Step, account, roles, trust_the_demo


def the_box_of_the_service_as_an_account(scene: Scene) -> str:
    """Its address, a password of hers for it, STARTTLS: roles, Sent and Trash are its own."""
    service = scene.service.address
    given = scene.command(
        "bal", "member", "password", service, scene.secretary.address, "--device", "Accueil"
    )
    trust_the_demo(scene, scene.second)
    settings = account(
        scene, service, str(given["password"]), starttls=True, condstore=True, name="Secrétariat"
    )
    scene.second.do("addAccount", settings)
    scene.second.do("discover", "Trash")
    found = roles(scene.second)
    assert set(found) == set(ROLES), found
    assert all(found[name] & role for name, role in ROLES.items())
    letter: dict[str, Json] = {"identity": service, "to": scene.elsewhere.address}
    said = scene.second.do("send", letter | {"subject": "De l'accueil", "body": "Bonjour.\n"})
    assert said == {"value": "sent", "said": []}, said
    scene.second.do("appears", "Sent", "De l'accueil")
    assert subjects(scene, scene.service, "Sent").count("De l'accueil") == 1
    scene.deliver(scene.service, "À jeter ici")
    scene.second.do("appears", "INBOX", "À jeter ici")
    assert scene.second.do("remove", "INBOX", "À jeter ici") == 0
    assert "À jeter ici" in subjects(scene, scene.service, "Trash")
    return "all six roles, one Sent copy, and what is thrown away stays in the service's Trash"


def two_see_the_same(scene: Scene) -> str:
    """Marks of one are shown by the other; what one moves is gone for both."""
    inbox, subject = f"{scene.shared}/INBOX", "Vu par deux"
    scene.deliver(scene.service, subject)
    scene.lucie.do("appears", inbox, subject)
    scene.second.do("appears", "INBOX", subject)
    scene.second.do("tag", "INBOX", subject, "Pris", "$msspris")
    scene.lucie.do("appears", inbox, subject, {"keywords": "$msspris"})
    scene.lucie.do("markRead", inbox, subject)
    scene.second.do("appears", "INBOX", subject, {"read": True})
    assert scene.lucie.do("move", inbox, subject, f"{scene.shared}/Archive") == 0
    scene.second.do("vanishes", "INBOX", subject)
    scene.second.do("appears", "Archive", subject, {"keywords": "$msspris", "read": True})
    assert {"$msspris", "\\seen"} <= flags_of(scene, scene.service, "Archive", subject)
    return "tag, mark and move of either reach the other"


def condstore_asks_for_what_changed(scene: Scene) -> str:
    """With use_condstore, a later look asks CHANGEDSINCE and misses nothing."""
    subject = "Changée entre temps"
    scene.deliver(scene.service, subject)
    scene.second.do("appears", "INBOX", subject)
    scene.second.do("closeConnections")
    inbox = f"{scene.shared}/INBOX"
    scene.lucie.do("appears", inbox, subject)
    scene.lucie.do("flag", inbox, subject)
    soon(lambda: "\\flagged" in flags_of(scene, scene.service, "INBOX", subject), "the flag")
    scene.second.do("appears", "INBOX", subject, {"flagged": True})
    asked = [line for line in scene.second.commands() if "CHANGEDSINCE" in line.upper()]
    assert asked
    return asked[-1]


def compressed(scene: Scene) -> str:
    """COMPRESS=DEFLATE, where the settings offer it: Thunderbird takes it unasked."""
    b, doctor = scene.space.b, scene.elsewhere
    settings = account(scene, doctor.address, doctor.password, name="Dr Zoé") | {
        "imap": b.imaps, "smtp": b.submissions,
    }  # fmt: skip
    scene.second.do("addAccount", settings)
    scene.second.do("discover", "Trash")
    scene.second.do("appears", "INBOX", "Au nom du service")
    read = scene.second.do("read", "INBOX", "Au nom du service")
    assert isinstance(read, dict)
    assert "Bonjour." in str(read["text"])
    assert scene.second.has_said("COMPRESS DEFLATE")
    assert len(kept(scene, doctor, "INBOX", b)) == len(scene.second.shows("INBOX"))
    return "COMPRESS DEFLATE, the letters are the same"


SECOND_STEPS: tuple[Step, ...] = (
    the_box_of_the_service_as_an_account,
    two_see_the_same,
    condstore_asks_for_what_changed,
    compressed,
)
