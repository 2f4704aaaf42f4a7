"""What the secretary does, in order. Each step says in a few words what was seen."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx

from tests.end_to_end.mail import mailbox
from tests.thunderbird.client import Thunderbird
from tests.thunderbird.marionette import Json
from tests.thunderbird.scene import Scene, flags_of, kept, soon, subjects

Step = Callable[[Scene], str]

# nsMsgFolderFlags
ROLES = {
    "INBOX": 0x1000,
    "Drafts": 0x400,
    "Sent": 0x200,
    "Trash": 0x100,
    "Archive": 0x4000,
    "Junk": 0x40000000,
}
XDM = "XDM/1.0/DDM+Résultat de l'examen"


def account(scene: Scene, login: str, password: str, **more: Json) -> dict[str, Json]:
    """Settings of an account on hopital-a."""
    starttls = bool(more.get("starttls"))
    return {
        "login": login,
        "password": password,
        "imap": scene.a.imap if starttls else scene.a.imaps,
        "smtp": scene.a.submission if starttls else scene.a.submissions,
        "starttls": False,
        "condstore": False,
        "name": "Lucie Médimail",
        **more,
    }


def trust_the_demo(scene: Scene, client: Thunderbird) -> None:
    """Import its root, as a person does in the certificate manager."""
    with open(scene.space.ca_file, encoding="ascii") as file:
        first = file.read().split("-----BEGIN CERTIFICATE-----")[1]
    client.do("trust", "".join(first.split("-----END")[0].split()))


def roles(client: Thunderbird) -> dict[str, int]:
    """Path of each folder to its flags."""
    listed = client.do("folders")
    assert isinstance(listed, list)
    return {str(one["path"]): int(str(one["flags"])) for one in listed if isinstance(one, dict)}


def set_up_from_the_address(scene: Scene) -> str:
    """OP-85, THB-03: it reads all that the pages tell it: TLS before STARTTLS, by password."""
    place = f"{scene.space.manifest['portal']['url']}/mail/config-v1.1.xml"
    context = ssl.create_default_context(cafile=scene.space.ca_file)
    asked = {"emailaddress": scene.secretary.address}
    asked_of = httpx.get(place, params=asked, verify=context, timeout=60)  # a busy machine
    xml = asked_of.raise_for_status().text
    host = f"mx.{scene.a.domain}"
    assert scene.lucie.do("configured", xml) == {
        "domains": [scene.a.domain],
        "incoming": _told(host, scene.a.imaps, scene.a.imap),
        "outgoing": _told(host, scene.a.submissions, scene.a.submission),
    }
    return "both servers as they are, TLS before STARTTLS, normal password"


def _told(host: str, tls: int, starttls: int) -> list[Json]:
    """nsMsgSocketType: 3 TLS, 2 STARTTLS; nsMsgAuthMethod: 3 normal password."""
    return [[host, port, kind, 3, "%EMAILADDRESS%"] for port, kind in ((tls, 3), (starttls, 2))]


def both_boxes_appear(scene: Scene) -> str:
    """DEL-01, GEN-14, OLC-05: her folders with their roles, and those of the service."""
    service, secretary = scene.service, scene.secretary
    scene.command(
        "bal", "member", "add", service.address, secretary.address, "--role", "secretaire"
    )
    scene.command(
        "bal", "member", "add", service.address, scene.colleague.address, "--role", "responsable"
    )
    scene.command("bal", "quota", secretary.address, "--octets", "200M")
    trust_the_demo(scene, scene.lucie)
    login = scene.command(
        "person", "app-password", "create", secretary.address, "--device", "Thunderbird"
    )
    scene.lucie.do("addAccount", account(scene, secretary.address, str(login["password"])))
    scene.lucie.do("discover", f"{scene.shared}/Trash")
    found = roles(scene.lucie)
    for name, role in ROLES.items():
        assert found[name] & role, f"{name} has no role: {found[name]:x}"
        assert f"{scene.shared}/{name}" in found
    scene.lucie.do("addIdentity", service.address, "Secrétariat", f"{scene.shared}/Sent")
    assert scene.lucie.has_said("authenticate PLAIN")
    return "6 folders with their roles; the service's 6 below Other Users, without a click"


def a_letter_is_read(scene: Scene) -> str:
    """OLC-04's way of reading, APL-02's exactness: text, attachment, \\Seen."""
    scene.deliver(scene.secretary, XDM)
    scene.lucie.do("appears", "INBOX", XDM)
    read = scene.lucie.do("read", "INBOX", XDM)
    assert isinstance(read, dict)
    assert "néphrologue" in str(read["text"])
    assert read["attachments"] == ["IHE_XDM.ZIP"]
    target = scene.folder / "saved.zip"
    scene.lucie.do("save", "IHE_XDM.ZIP", str(target))
    assert target.read_bytes() == scene.bundle
    scene.lucie.picture("read")
    soon(lambda: "\\seen" in flags_of(scene, scene.secretary, "INBOX", XDM), "\\Seen")
    return "accents right, IHE_XDM.ZIP saved octet for octet, seen on the server"


def flags_and_tags_are_shared(scene: Scene) -> str:
    """The team's keywords: hers reach the server, a colleague's reach her."""
    inbox = f"{scene.shared}/INBOX"
    scene.deliver(scene.service, "Demande de rendez-vous")
    scene.lucie.do("appears", inbox, "Demande de rendez-vous")
    scene.lucie.do("flag", inbox, "Demande de rendez-vous")
    scene.lucie.do("tag", inbox, "Demande de rendez-vous", "Pris", "$msspris")
    soon(
        lambda: (
            {"\\flagged", "$msspris"}
            <= flags_of(scene, scene.service, "INBOX", "Demande de rendez-vous")
        ),
        "flag and tag",
    )
    with mailbox(scene.space, scene.a, scene.colleague, inbox) as colleague:
        colleague.add_flags(colleague.search(), ["$MSSFait"])
    scene.lucie.do("appears", inbox, "Demande de rendez-vous", {"keywords": "$mssfait"})
    return "$MSSPris set here is on the server, $MSSFait of a colleague is shown here"


def letters_are_moved_and_thrown_away(scene: Scene) -> str:
    """THB-10: UID MOVE to Archive and to Trash; the emptied Trash is empty on the server."""
    for subject in ("À classer", "À jeter"):
        scene.deliver(scene.secretary, subject)
        scene.lucie.do("appears", "INBOX", subject)
    assert scene.lucie.do("move", "INBOX", "À classer", "Archive") == 0
    assert scene.lucie.do("remove", "INBOX", "À jeter") == 0
    assert subjects(scene, scene.secretary, "Archive") == ["À classer"]
    assert subjects(scene, scene.secretary, "Trash") == ["À jeter"]
    scene.lucie.do("appears", "Trash", "À jeter")
    scene.lucie.do("emptyTrash")
    soon(lambda: not subjects(scene, scene.secretary, "Trash"), "an empty Trash")
    assert scene.lucie.has_said("uid move")
    return "UID MOVE both times; Trash emptied"


def deleting_in_the_box_of_the_service(scene: Scene) -> str:
    """Thunderbird has one Trash per account, her own: the server keeps the letter in the box."""
    inbox = f"{scene.shared}/INBOX"
    scene.deliver(scene.service, "Lettre du service")
    scene.lucie.do("appears", inbox, "Lettre du service")
    assert scene.lucie.do("remove", inbox, "Lettre du service") == 0
    assert "Lettre du service" not in subjects(scene, scene.service, "INBOX")
    assert subjects(scene, scene.secretary, "Trash") == []
    assert subjects(scene, scene.service, "Trash") == ["Lettre du service"]
    scene.lucie.do("appears", f"{scene.shared}/Trash", "Lettre du service")
    return "goes to the Trash of the SERVICE, where colleagues see it"


def sent_once_from_her_box(scene: Scene) -> str:
    """GEN-16, THB-11: server and client both file it; one copy stays."""
    letter: dict[str, Json] = {"identity": scene.secretary.address, "to": scene.doctor.address}
    said = scene.lucie.do("send", letter | {"subject": "Réponse à Zoé", "body": "Voici.\n"})
    assert said == {"value": "sent", "said": []}, said
    soon(lambda: "Réponse à Zoé" in subjects(scene, scene.doctor, "INBOX"), "the delivery")
    scene.lucie.do("appears", "Sent", "Réponse à Zoé")
    assert subjects(scene, scene.secretary, "Sent") == ["Réponse à Zoé"]
    assert scene.lucie.has_said('append "Sent" (\\Seen) UTF8 (~{')
    return "delivered; Thunderbird's APPEND made no second copy"


def sent_once_for_the_service(scene: Scene) -> str:
    """Send-as: identity of the ORG box with its Sent folder; it crosses to the other operator."""
    letter: dict[str, Json] = {"identity": scene.service.address, "to": scene.elsewhere.address}
    said = scene.lucie.do("send", letter | {"subject": "Au nom du service", "body": "Bonjour.\n"})
    assert said == {"value": "sent", "said": []}, said
    b = scene.space.b
    soon(
        lambda: (
            [one.subject for one in kept(scene, scene.elsewhere, "INBOX", b)]
            == ["Au nom du service"]
        ),
        "the delivery at B",
    )
    (arrived,) = kept(scene, scene.elsewhere, "INBOX", b)
    assert f"<{scene.service}>".encode() in arrived.octets
    scene.lucie.do("appears", f"{scene.shared}/Sent", "Au nom du service")
    assert subjects(scene, scene.service, "Sent") == ["Au nom du service"]
    assert "Au nom du service" not in subjects(scene, scene.secretary, "Sent")
    return "relayed to B from the service's address; one copy, in the service's Sent"


def _refusal(scene: Scene, letter: dict[str, Json], wanted: str) -> str:
    said = scene.lucie.do("send", letter)
    assert isinstance(said, dict)
    assert said["value"] == "refused", said
    told = said["said"]
    assert isinstance(told, list)
    text = " ".join(" ".join(map(str, told)).split())
    assert wanted in text, text
    return wanted


def refusals_are_read(scene: Scene) -> str:
    """GEN-17: the sentence of the server is in the dialog, and names the address."""
    mine: dict[str, Json] = {
        "identity": scene.secretary.address,
        "subject": "Refus",
        "body": "Bonjour.\n",
    }
    outside = _refusal(
        scene,
        mine | {"to": "dr.quidam@gmail.example"},
        "Le domaine gmail.example n'est pas dans l'espace de confiance MSSante",
    )
    _refusal(
        scene,
        mine | {"to": scene.elsewhere.address},
        "Votre boite n'ecrit qu'aux boites de cet operateur",
    )
    assert subjects(scene, scene.secretary, "Sent").count("Refus") == 0
    return f"« {outside}… »; nothing in Sent"


def a_big_attachment_is_refused(scene: Scene) -> str:
    """SEED-55: more than 10 MiB in one attachment, below the SIZE of the door."""
    big = scene.folder / "gros.pdf"
    big.write_bytes(b"%PDF" + b"x" * 11_000_000)
    letter: dict[str, Json] = {
        "identity": scene.service.address, "to": scene.elsewhere.address,
        "subject": "Gros", "body": "Bonjour.\n", "files": [str(big)],
    }  # fmt: skip
    said = _refusal(scene, letter, 'La piece jointe "gros.pdf" depasse 10 Mo')
    return f"« {said}… »"


def searched_on_the_server(scene: Scene) -> str:
    """GEN-15: subject, body, sender, in any case, with and without accents."""
    inbox = f"{scene.shared}/INBOX"
    scene.deliver(scene.service, "Numération formule")
    scene.lucie.do("appears", inbox, "Numération formule")
    for field, text in (
        ("Subject", "numeration"), ("Subject", "NUMÉRATION"), ("Body", "nephrologue"),
        ("Body", "néphrologue"), ("Sender", "zoé"),
    ):  # fmt: skip
        found = scene.lucie.do("search", inbox, field, text)
        assert isinstance(found, list)
        assert "Numération formule" in found, (field, text, found)
    assert scene.lucie.do("search", inbox, "Body", "urologue") == []
    return "subject, body and sender, with and without accents"


def pushed_while_idle(scene: Scene) -> str:
    """A new letter comes to the list without a question."""
    scene.lucie.do("display", "INBOX")
    scene.deliver(scene.secretary, "Poussée")
    scene.lucie.do("pushed", "INBOX", "Poussée")
    assert scene.lucie.has_said("IDLE")
    return "by IDLE"


def receipts_go_both_ways(scene: Scene) -> str:
    """RFC 8098: asked by the doctor and sent by her; asked by her."""
    scene.deliver(scene.secretary, "Avec accusé", Disposition_Notification_To=f"<{scene.doctor}>")
    scene.lucie.do("appears", "INBOX", "Avec accusé")
    scene.lucie.do("read", "INBOX", "Avec accusé")
    scene.lucie.do("press", "Send Receipt")

    def receipts() -> list[bytes]:
        letters = kept(scene, scene.doctor, "INBOX")
        return [one.octets for one in letters if b"disposition-notification" in one.octets]

    soon(lambda: bool(receipts()), "the receipt")
    assert b"MDN-sent-manually; displayed" in receipts()[0]
    soon(lambda: "$mdnsent" in flags_of(scene, scene.secretary, "INBOX", "Avec accusé"), "$MDNSent")
    asking: dict[str, Json] = {
        "identity": scene.secretary.address, "to": scene.doctor.address,
        "subject": "Accusé demandé", "body": "Bonjour.\n", "receipt": True,
    }  # fmt: skip
    assert scene.lucie.do("send", asking) == {"value": "sent", "said": []}
    soon(lambda: "Accusé demandé" in subjects(scene, scene.doctor, "INBOX"), "the letter")
    asked = [one for one in kept(scene, scene.doctor, "INBOX") if one.subject == "Accusé demandé"]
    assert b"Disposition-Notification-To:" in asked[0].octets
    return "sent for one, with $MDNSent; asked for the other"


def a_draft_is_kept(scene: Scene) -> str:
    """Saved on the server, and no letter."""
    letter: dict[str, Json] = {
        "identity": scene.secretary.address, "to": scene.doctor.address,
        "subject": "Ébauche", "body": "À finir.\n",
    }  # fmt: skip
    scene.lucie.do("saveDraft", letter)
    assert subjects(scene, scene.secretary, "Drafts") == ["Ébauche"]
    assert "\\draft" in flags_of(scene, scene.secretary, "Drafts", "Ébauche")
    return "one, with \\Draft"


def changes_made_offline(scene: Scene) -> str:
    """Marks, moves and deletions of a train journey, while a letter came."""
    names = ("Train 0", "Train 1", "Train 2")
    for subject in names:
        scene.deliver(scene.secretary, subject)
        scene.lucie.do("appears", "INBOX", subject)
        scene.lucie.do("bodyIsHere", "INBOX", subject)
    scene.lucie.do("goOffline")
    scene.lucie.do("markRead", "INBOX", "Train 0")
    scene.lucie.do("move", "INBOX", "Train 1", "Archive")
    scene.lucie.do("remove", "INBOX", "Train 2")
    assert set(names) <= set(subjects(scene, scene.secretary, "INBOX"))
    scene.deliver(scene.secretary, "Pendant le voyage")
    waits = scene.lucie.commands().count("IDLE")
    scene.lucie.do("goOnline")
    soon(lambda: "\\seen" in flags_of(scene, scene.secretary, "INBOX", "Train 0"), "the mark")
    # It plays back marks at once, and moves when it looks at the folder after that.
    soon(lambda: scene.lucie.commands().count("IDLE") > waits, "the end of the first playback")
    scene.lucie.do("appears", "INBOX", "Pendant le voyage")
    scene.lucie.do("update", "INBOX")
    soon(lambda: "Train 2" in subjects(scene, scene.secretary, "Trash"), "the deletion")
    assert "Train 1" in subjects(scene, scene.secretary, "Archive")
    left = subjects(scene, scene.secretary, "INBOX")
    assert "Train 1" not in left
    assert "Train 2" not in left
    return "marked, moved, deleted; the letter of meanwhile is here"


def the_gauge(scene: Scene) -> str:
    """THB-08: a quota where there is a limit."""
    told = scene.lucie.do("quota", "INBOX")
    assert isinstance(told, list)
    assert [one["limit"] for one in told if isinstance(one, dict)] == [204_800], told
    return "200 MB"


STEPS: tuple[Step, ...] = (
    set_up_from_the_address,
    both_boxes_appear,
    a_letter_is_read,
    flags_and_tags_are_shared,
    letters_are_moved_and_thrown_away,
    deleting_in_the_box_of_the_service,
    sent_once_from_her_box,
    sent_once_for_the_service,
    refusals_are_read,
    a_big_attachment_is_refused,
    searched_on_the_server,
    pushed_while_idle,
    receipts_go_both_ways,
    a_draft_is_kept,
    changes_made_offline,
    the_gauge,
)
