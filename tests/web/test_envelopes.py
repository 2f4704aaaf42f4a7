"""Envelopes with a browser: opened, their files kept, answered, and by nobody else (SEED-35)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Literal, cast

import pytest

from mssmtp.app import untrusting
from mssmtp.identity.authenticator import Authenticator
from mssmtp.mail import (
    AccountId,
    Address,
    Door,
    Envelope,
    EnvelopeId,
    Invites,
    PersonState,
    Recipient,
    Structure,
    StructureId,
)
from mssmtp.message.reading import MOST_LINE
from mssmtp.notices.inviting import Inviting
from mssmtp.own import OwnKeys
from mssmtp.policy import Engine
from mssmtp.posting import Attached, Posting, Written, rendered
from mssmtp.registering import Given, Registering
from mssmtp.smtp_lookup import Services
from mssmtp.storage import LocalDelivery, Reading, Transfer, Writing
from tests.authority import A_DOMAIN
from tests.web.browser import CSRF, Browser, Page
from tests.web.conftest import PASSWORD, Place

ZOE = "zoe-e@cabinet.example"
LUC = "luc-e@cabinet.example"
PDF = bytes(range(256)) * 40
HTML = "<p>riche</p><img src='https://pisteur.example/p.png'><script>alert(1)</script>"


def box_of(usual: str) -> Address:
    return Address.parse(f"{usual.partition('@')[0]}@{A_DOMAIN}")


@pytest.fixture(scope="module")
def staffed(place: Place) -> Iterator[Place]:
    """Zoé and Luc, who have boxes, and a way to hand letters in."""
    for usual in (ZOE, LUC):
        place.person(usual)
    trust = untrusting(place.settings)
    services = Services(
        place.settings,
        place.store,
        trust,
        Engine(place.settings.policy, place.settings.limits),
        cast(Authenticator, None),
        place.clock,
        place.entropy,
        OwnKeys(place.settings, trust, place.clock),
    )
    place.door.site.posting = posting = Posting(services)
    yield place
    posting.close()


def letter(subject: str = "Bilan", text: str = "Bonjour Luc\n") -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    made["From"] = f"Zoé Tartempion <{box_of(ZOE)}>"
    made["To"] = str(box_of(LUC))
    made["Message-ID"] = f"<premier@{A_DOMAIN}>"
    made["References"] = f"<avant@{A_DOMAIN}>"
    made["Subject"] = subject
    made.set_content(text)
    return made


def delivered(
    place: Place,
    made: EmailMessage | None = None,
    invited: str = "",
    to: str = LUC,
    came_from: str = "",
) -> EnvelopeId:
    """From Zoé, to Luc's box or to an address that nobody has registered."""
    sender = box_of(ZOE)
    octets = (made or letter()).as_bytes()
    sealed = place.store.seal(f"Return-Path: <{came_from or sender}>\r\n".encode() + octets)
    whom = Recipient(Address.parse(invited) if invited else box_of(to))
    envelope = Envelope(place.store.new_envelope_id(), sender, (whom,), place.clock.now())

    def job(writing: Writing) -> None:
        zoe, luc = writing.bal(sender), writing.bal(box_of(to))
        assert zoe is not None
        assert luc is not None
        writing.accept(
            envelope,
            sealed,
            local=() if invited else (LocalDelivery(luc.id, whom),),
            queued=(),
            invited=(whom,) if invited else (),
            skip=0,
            owner=zoe.id,
            transfer=Transfer("in", Door.SUBMISSION, "127.0.0.1", "accept", "250 ok"),
            facts=b"{}",
        )

    place.store.write(job).result()
    place.clock.advance(61)
    return envelope.id


def letters_of(place: Place, address: Address, mailbox: str = "INBOX") -> list[bytes]:
    def query(reading: Reading) -> list[bytes]:
        bal = reading.bal(address)
        assert bal is not None
        found = reading.mailbox(bal.id, mailbox)
        assert found is not None
        return [reading.body(found.id, row.uid) for row in reading.messages(found.id)]

    return place.store.read(query).result()


def logged_in(place: Place, usual: str, password: str = PASSWORD) -> Browser:
    browser = place.browser()
    place.clock.advance(61)
    assert browser.log_in(usual, password).status == 200
    return browser


@pytest.fixture(scope="module")
def luc(staffed: Place) -> Iterator[Browser]:
    browser = logged_in(staffed, LUC)
    yield browser
    browser.close()


def answer(browser: Browser, shown: Page, text: str = "Merci Zoé") -> Page:
    hidden = {name: shown.fields[name] for name in (CSRF, "draft")}
    return browser.post(f"{shown.path}/reponse", {**hidden, "text": text})


def is_one(link: str) -> bool:
    return re.match(r"/enveloppes/[0-9]", link) is not None


def opened(browser: Browser, id: str) -> Page:
    return browser.submit(f"enveloppes/{id}", {})


def read_events(place: Place, account: AccountId) -> list[str]:
    """What is written down of today's readings in somebody's box."""
    place.store.write(lambda w: w.record_readings()).result()

    def query(reading: Reading) -> list[str]:
        box = reading.box_of(account)
        assert box is not None
        return sorted(each.kind for each in reading.reading_events(box.id, place.clock.now()))

    return place.store.read(query).result()


@pytest.mark.requirement("SEED-35", "SEED-37", "SEED-62", "DEF-06", "DEF-09")
def test_an_invited_person_confirms_opens_the_letter_that_waited_and_answers_its_sender(
    staffed: Place,
) -> None:
    usual = Address.parse("ines@poste.example")
    envelope = delivered(staffed, invited=str(usual))
    site = staffed.door.site
    inviting = Inviting(site.desk, staffed.clock, staffed.entropy)
    staffed.store.write(lambda w: inviting.mail_link(w, usual, box_of(ZOE))).result()
    token = staffed.mailed("invitation")[-1]["link"].partition("#")[2]
    registering = Registering.of(
        staffed.settings, staffed.store, site.desk, staffed.clock, staffed.entropy
    )
    ticked = dict.fromkeys(("takes_part", "strictly_needed", "informed"), True)
    done = registering.finish(token, Given("Blanc", "Ines", PASSWORD, PASSWORD, ticked))
    assert done.letters == 1
    browser = logged_in(staffed, str(usual))
    assert "Bilan" in browser.get("enveloppes").text
    sealed = browser.get(f"enveloppes/{envelope}")
    assert "Bonjour Luc" not in sealed.text
    assert read_events(staffed, done.person.account) == [], "looking at a cover opens nothing"
    shown = opened(browser, envelope)
    assert "Bonjour Luc" in shown.text
    assert read_events(staffed, done.person.account) == ["lu", "releve"]
    told = staffed.store.write(lambda w: w.take_events(staffed.clock.now(), 100)).result()
    assert "opening" in [each.kind for each in told], "its sender is told as by any program"
    before = letters_of(staffed, box_of(ZOE))
    assert "réponse est partie" in answer(browser, shown).text
    (octets,) = [each for each in letters_of(staffed, box_of(ZOE)) if each not in before]
    came = message_from_bytes(octets, policy=default)
    assert came["Subject"] == "Re: Bilan"
    assert came["In-Reply-To"] == f"<premier@{A_DOMAIN}>"
    assert came["References"].split() == [f"<avant@{A_DOMAIN}>", f"<premier@{A_DOMAIN}>"]
    assert came["From"] == str(done.box.address)
    assert came.get_content().strip() == "Merci Zoé"
    assert len(letters_of(staffed, done.box.address, "Sent")) == 1
    assert "avez répondu" in browser.get(f"enveloppes/{envelope}").text
    browser.close()


@pytest.mark.requirement("SEED-37", "SEED-55")
def test_files_go_along_octet_for_octet_and_forbidden_ones_are_refused_by_the_policy(
    staffed: Place, luc: Browser
) -> None:
    shown = opened(luc, delivered(staffed))
    hidden = {name: shown.fields[name] for name in (CSRF, "draft")}
    files = [("file", ("bilan été.pdf", PDF, "application/pdf"))]
    told = luc.post(f"{shown.path}/reponse", {**hidden, "text": ""}, files=files)
    assert "réponse est partie" in told.text
    came = message_from_bytes(letters_of(staffed, box_of(ZOE))[-1], policy=default)
    (attached,) = came.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("bilan été.pdf", PDF)
    again = luc.get(shown.path)
    hidden = {name: again.fields[name] for name in (CSRF, "draft")}
    evil = [("file", ("facture.exe", b"MZ", "application/pdf"))]
    refused = luc.post(f"{shown.path}/reponse", {**hidden, "text": "gardé"}, files=evil)
    assert refused.status == 422
    assert "facture.exe" in refused.text
    assert "gardé" in refused.html, "what was typed is not lost"
    assert refused.fields["draft"] != hidden["draft"]


@pytest.mark.requirement("DEF-06")
@pytest.mark.parametrize("what", ["", "/pieces/1"])
def test_what_is_shown_of_a_letter_that_needs_no_opening_was_fetched(
    staffed: Place, what: str
) -> None:
    """A filter has marked it as seen, or a mail program: there is no button then."""
    usual = f"lea{len(what)}-e@cabinet.example"
    account = staffed.person(usual)
    made = letter()
    made.add_attachment(PDF, "application", "pdf", filename="a.pdf")
    envelope = delivered(staffed, made, to=usual)
    browser = logged_in(staffed, usual)
    browser.get(f"enveloppes/{envelope}")
    assert read_events(staffed, account) == []

    def mark(writing: Writing) -> None:
        box = writing.box_of(account)
        assert box is not None
        inbox = writing.mailbox(box.id, "INBOX")
        assert inbox is not None
        writing.store_flags(inbox.id, writing.uids(inbox.id), "+", frozenset({"\\Seen"}))

    staffed.store.write(mark).result()
    assert browser.get(f"enveloppes/{envelope}{what}").status == 200
    assert read_events(staffed, account) == ["releve"]
    browser.close()


def test_an_author_without_a_name_is_shown_without_brackets(staffed: Place, luc: Browser) -> None:
    made = letter()
    del made["From"]
    made["From"] = f"<{box_of(ZOE)}>"
    shown = luc.get(f"enveloppes/{delivered(staffed, made)}")
    assert f"<dd>{box_of(ZOE)}</dd>" in shown.html
    assert "&lt;" not in shown.html


@pytest.mark.attack("ATT-29")
def test_att_29_a_hostile_letter_is_shown_as_text_and_its_files_kept_as_files(
    staffed: Place, luc: Browser
) -> None:
    made = EmailMessage(policy=SMTP)
    made["From"] = f'"<script>x</script>" <{box_of(ZOE)}>'
    made["Subject"] = '"><img src=x onerror=alert(1)>{{7*7}}'
    made.set_content(HTML, subtype="html")
    made.add_attachment(PDF, "text", "html", filename="../../etc/passwd\u202etxt.html")
    shown = opened(luc, delivered(staffed, made))
    assert "riche" in shown.text
    for active in ("<script>", "<img", "pisteur.example", "alert(1)</", ">49<"):
        assert active not in shown.html, active
    kept = luc.get(f"{shown.path}/pieces/1")
    assert kept.octets == PDF
    assert kept.headers["Content-Type"] == "application/octet-stream"
    assert kept.headers["X-Content-Type-Options"] == "nosniff"
    disposition = kept.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="passwdtxt.html"')
    assert "sandbox" in kept.headers["Content-Security-Policy"]
    for wrong in ("0", "2", "99999", "999999", "-1", "x", "%2e%2e", "1%00"):
        assert luc.get(f"{shown.path}/pieces/{wrong}").status == 404, wrong


@pytest.mark.attack("ATT-24")
def test_att_24_an_envelope_of_somebody_else_does_not_exist(staffed: Place, luc: Browser) -> None:
    mine = delivered(staffed)
    place = next(line for line in luc.get("enveloppes").html.split('"') if is_one(line))
    assert luc.get(place).status == 200
    zoe = logged_in(staffed, ZOE)
    csrf = zoe.get("compte").fields[CSRF]
    own = [each for each in zoe.get("enveloppes").html.split('"') if is_one(each)]
    assert place not in own
    for id in (place, f"enveloppes/{mine}", "enveloppes/1-1-1", "enveloppes/x", "enveloppes/..."):
        found = zoe.get(id)
        assert (found.status, "existe pas" in found.text) == (404, True), id
        for way in ("", "/reponse"):
            given = {CSRF: csrf, "draft": "a" * 22, "text": "x"}
            assert zoe.post(f"{id}{way}", given).status == 404, (id, way)
        assert zoe.get(f"{id}/pieces/1").status == 404
    zoe.close()
    stranger = staffed.browser()
    assert stranger.get(f"enveloppes/{mine}").path.startswith("/connexion")
    stranger.close()


def test_nothing_of_an_envelope_leaves_before_it_was_opened(staffed: Place, luc: Browser) -> None:
    made = letter()
    made.add_attachment(PDF, "application", "pdf", filename="a.pdf")
    envelope = delivered(staffed, made)
    assert luc.get(f"enveloppes/{envelope}/pieces/1").status == 404
    cover = luc.get(f"enveloppes/{envelope}")
    given = {CSRF: cover.fields[CSRF], "draft": "b" * 22, "text": "x"}
    assert luc.post(f"enveloppes/{envelope}/reponse", given).status == 404
    assert luc.ask("HEAD", f"enveloppes/{envelope}").status == 200
    assert "Ouvrir" in luc.get(f"enveloppes/{envelope}").text
    assert luc.post(f"enveloppes/{envelope}", {CSRF: "faux"}).status == 403
    assert "Ouvrir" in luc.get(f"enveloppes/{envelope}").text


@pytest.mark.attack("ATT-21")
def test_att_21_an_answer_that_is_sent_twice_leaves_once(staffed: Place, luc: Browser) -> None:
    shown = opened(luc, delivered(staffed))
    before = len(letters_of(staffed, box_of(ZOE)))
    given = {name: shown.fields[name] for name in (CSRF, "draft")} | {"text": "une fois"}
    data = given | {}
    twins = [staffed.browser() for _ in range(2)]
    for each in twins:
        each.cookies.update(luc.cookies)
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda b: b.post(f"{shown.path}/reponse", data), twins))
    assert sorted(each.status for each in told) == [200, 422]
    assert len(letters_of(staffed, box_of(ZOE))) == before + 1
    for each in twins:
        each.close()


def test_an_empty_answer_and_one_too_long_are_refused(staffed: Place, luc: Browser) -> None:
    shown = opened(luc, delivered(staffed))
    for text in ("", " \n", "x" * 100_001):
        now = luc.get(shown.path)
        assert answer(luc, now, text).status == 422, len(text)


@pytest.mark.attack("ATT-25")
def test_att_25_who_was_suspended_meanwhile_answers_nothing(staffed: Place) -> None:
    account = staffed.person("max-e@cabinet.example")
    browser = logged_in(staffed, "max-e@cabinet.example")
    shown = opened(browser, delivered(staffed, to="max-e@cabinet.example"))
    assert "Bonjour" in shown.text
    staffed.store.write(lambda w: w.set_account_active(account, active=False)).result()
    assert answer(browser, shown).path.startswith("/connexion")
    posting = staffed.door.site.posting
    assert posting is not None
    box = box_of("max-e@cabinet.example")
    written = Written(box, box_of(ZOE), "x", "y", b"")
    with pytest.raises(Exception, match="plus actif"):
        asyncio.run(posting.post(account, written, "=_b"))
    browser.close()


@pytest.mark.attack("ATT-09")
def test_att_09_nothing_typed_becomes_a_field() -> None:
    evil = "x\r\nBcc: tous@b.test\r\n\r\n--=_b--"
    box = box_of(LUC)
    header = b"Message-ID: <a@b.test>\r\nReferences: <c@d.test>\r\n injected: 1\r\n"
    made = Written(box, box_of(ZOE), evil, evil, header, [Attached(evil, b"--=_b--\r\nMZ")])
    came = message_from_bytes(b"".join(rendered(made, "=_imprevisible")), policy=default)
    assert set(came.keys()) == {
        "From",
        "To",
        "In-Reply-To",
        "References",
        "Subject",
        "MIME-Version",
        "Content-Type",
    }
    text, attached = came.iter_parts()
    assert text.get_content().split() == evil.split()
    assert attached.get_content() == b"--=_b--\r\nMZ"
    assert "\n" not in str(attached.get_filename())


class _NeverWhole(str):
    """Text that nobody may look at to its end."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("looked at as a whole")


@pytest.mark.attack("ATT-41")
def test_att_41_of_a_subject_of_thirty_million_characters_a_line_is_looked_at() -> None:
    """The page takes as many octets for its files; else two seconds of the processor a form."""
    made = Written(box_of(LUC), box_of(ZOE), _NeverWhole("x" * 1_000), "Bonjour")
    came = message_from_bytes(b"".join(rendered(made, "=_imprevisible")), policy=default)
    assert came["Subject"] == "x" * MOST_LINE


# ---------------------------------------------------------------- a new envelope


NEW = "enveloppes/nouvelle"


def writes(browser: Browser, shown: Page, **given: str) -> Page:
    """The form of a new envelope, filled in and sent."""
    hidden = {name: shown.fields[name] for name in (CSRF, "draft")}
    return browser.post(NEW, {**hidden, "objet": "Bilan", "text": "Bonjour", **given})


def invites(place: Place, chosen: Invites) -> None:
    """What the structure of Zoé's box lets be done."""

    def job(writing: Writing) -> None:
        box = writing.bal(box_of(ZOE))
        assert box is not None
        known = None if box.structure is None else writing.structure(box.structure)
        if known is None:
            known = writing.create_structure(Structure(StructureId(0), "Cabinet", "130000029"))
            writing.set_bal_structure(box.id, known.id)
        writing.change_structure(replace(known, invites=chosen))

    place.store.write(job).result()


def waiting_for(place: Place, usual: str) -> list[str | None]:
    """Who wrote to an address that nobody has registered."""
    found = place.store.read(lambda r: r.invited(Address.parse(usual))).result()
    return [str(each.envelope.sender) for each in found]


@pytest.fixture(scope="module")
def zoe(staffed: Place) -> Iterator[Browser]:
    browser = logged_in(staffed, ZOE)
    yield browser
    browser.close()


@pytest.mark.requirement("DEF-09", "OP-13")
@pytest.mark.parametrize("chosen", ["portal", "all"])
def test_who_writes_to_an_unknown_address_says_first_that_this_person_is_to_be_invited(
    staffed: Place, zoe: Browser, chosen: Literal["portal", "all"]
) -> None:
    invites(staffed, chosen)
    stranger, before = f"inconnu-{chosen}@poste.example", len(staffed.mailed("invitation"))
    assert "Écrire une enveloppe" in zoe.get("enveloppes").text
    asked = writes(zoe, zoe.get(NEW), to=stranger)
    assert (asked.status, "cochez l'invitation" in asked.text) == (422, True)
    assert "Bonjour" in asked.html, "what was typed is not lost"
    assert (waiting_for(staffed, stranger), len(staffed.mailed("invitation"))) == ([], before)
    done = writes(zoe, asked, to=stranger, inviter="on")
    assert "message est parti" in done.text
    assert waiting_for(staffed, stranger) == [str(box_of(ZOE))]
    (told,) = staffed.mailed("invitation")[before:]
    assert (told["sender"], "Bonjour" in str(told)) == (str(box_of(ZOE)), False)
    assert len(letters_of(staffed, box_of(ZOE), "Sent")) >= 1


@pytest.mark.requirement("DEF-09", "OP-13")
def test_where_the_structure_invites_nobody_a_tick_does_not_either(
    staffed: Place, zoe: Browser
) -> None:
    invites(staffed, "off")
    stranger, before = "personne@poste.example", len(staffed.mailed("invitation"))
    refused = writes(zoe, zoe.get(NEW), to=stranger, inviter="on")
    assert (refused.status, "espace de confiance" in refused.text) == (422, True)
    assert (waiting_for(staffed, stranger), len(staffed.mailed("invitation"))) == ([], before)


@pytest.mark.requirement("DEF-09", "OP-13")
@pytest.mark.parametrize("chosen", ["portal", "all"])
def test_an_answer_to_an_operator_that_has_left_asks_for_no_invitation(
    staffed: Place, zoe: Browser, chosen: Literal["portal", "all"]
) -> None:
    """It has no box to tick, and who wrote is no stranger: the domain is not listed any more."""
    invites(staffed, chosen)
    gone, before = f"bob-{chosen}@parti.example", len(staffed.mailed("invitation"))
    shown = opened(zoe, delivered(staffed, to=ZOE, came_from=gone))
    refused = answer(zoe, shown)
    assert (refused.status, "espace de confiance" in refused.text) == (422, True)
    assert "cochez" not in refused.text
    assert (waiting_for(staffed, gone), len(staffed.mailed("invitation"))) == ([], before)


@pytest.mark.requirement("SEED-37")
def test_a_new_envelope_reaches_its_box_once(staffed: Place, zoe: Browser) -> None:
    shown, before = zoe.get(NEW), letters_of(staffed, box_of(LUC))
    assert "message est parti" in writes(zoe, shown, to=f" {box_of(LUC)} ", inviter="on").text
    (octets,) = [each for each in letters_of(staffed, box_of(LUC)) if each not in before]
    came = message_from_bytes(octets, policy=default)
    assert (came["Subject"], came["From"]) == ("Bilan", str(box_of(ZOE)))
    assert (came["In-Reply-To"], came.get_content().strip()) == (None, "Bonjour")
    again = writes(zoe, shown, to=str(box_of(LUC)))
    assert (again.status, "déjà parti" in again.text) == (422, True)
    for wrong, why in (("pas une adresse", "mal formée"), ("", "mal formée")):
        refused = writes(zoe, zoe.get(NEW), to=wrong)
        assert (refused.status, why in refused.text) == (422, True)
    assert len(letters_of(staffed, box_of(LUC))) == len(before) + 1


@pytest.mark.requirement("SEED-37")
def test_who_is_not_certified_writes_to_nobody_who_has_not_written(staffed: Place) -> None:
    usual = "ada-e@cabinet.example"
    staffed.person(usual, state=PersonState.NOT_CERTIFIED)
    browser = logged_in(staffed, usual)
    refused = writes(browser, browser.get(NEW), to=str(box_of(LUC)))
    assert (refused.status, "pas encore certifié" in refused.text) == (422, True)
    browser.close()
