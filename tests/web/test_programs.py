"""What mail programs ask at the pages' door before anybody has logged in (OP-85, CL-28)."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest
from defusedxml.ElementTree import fromstring

from mssmtp.config import Settings
from tests.autoconfig.test_documents import ASKED, BOMB, OUTSIDE
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, Place

CONFIG = "/mail/config-v1.1.xml"
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
POX = "/autodiscover/autodiscover.xml"
JSON = "/autodiscover/autodiscover.json"
HOSTS = ("hopital-a.test", "autoconfig.hopital-a.test", "autodiscover.hopital-a.test")
ADA = "ada.profil@cabinet.example"


@pytest.fixture(scope="module")
def program(place: Place) -> Iterator[httpx.Client]:
    """No browser: no cookie, no header of one. Under its own name it is sent nowhere else."""
    context = ssl.create_default_context(cafile=str(place.anchors))
    with httpx.Client(base_url=place.url, verify=context, timeout=20.0) as client:
        yield client


def posted(program: httpx.Client, octets: bytes, path: str = POX, host: str = "") -> httpx.Response:
    headers = {"Content-Type": "text/xml"} | ({"Host": host} if host else {})
    return program.post(path, content=octets, headers=headers)


def question(address: str) -> bytes:
    return ASKED.format(encoding="utf-8").replace("zoe.tartempion@hopital-a.test", address).encode()


def protocols(answer: httpx.Response) -> dict[str, dict[str, str]]:
    assert answer.status_code == 200, answer.text
    found = {}
    for each in fromstring(answer.content).iter():
        if each.tag.endswith("}Protocol"):
            told = {one.tag.rpartition("}")[2]: one.text or "" for one in each}
            found[told["Type"]] = told
    return found


@pytest.mark.requirement("OP-85", "CL-29")
@pytest.mark.parametrize("path", [CONFIG, WELL_KNOWN])
@pytest.mark.parametrize("host", ["portail.hopital-a.test", *HOSTS])
def test_a_domain_is_set_up_from_an_address(program: httpx.Client, path: str, host: str) -> None:
    asked = {"emailaddress": "zoe.tartempion@hopital-a.test"}
    answer = program.get(path, params=asked, headers={"Host": host})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/xml")
    root = fromstring(answer.content)
    assert root.findtext("emailProvider/incomingServer/hostname") == "mx.hopital-a.test"
    assert root.findtext("emailProvider/incomingServer/port") == "993"
    assert root.findtext("emailProvider/incomingServer/socketType") == "SSL"
    assert root.findtext("emailProvider/outgoingServer/port") == "587"
    assert root.findtext("emailProvider/outgoingServer/socketType") == "STARTTLS"
    assert "set-cookie" not in answer.headers


def test_the_host_names_the_domain_where_no_address_does(program: httpx.Client) -> None:
    for host in HOSTS:
        assert program.get(WELL_KNOWN, headers={"Host": host}).status_code == 200
    assert program.get(WELL_KNOWN).status_code == 404


@pytest.mark.attack("ATT-21")
@pytest.mark.requirement("OP-85", "CL-28")
def test_nothing_is_learnt_of_which_address_exists(place: Place, program: httpx.Client) -> None:
    """ATT-21: known and unknown alike, octet for octet but for the name that was asked with."""
    place.person("existe@cabinet.example")
    known, unknown = "existe@hopital-a.test", "absent@hopital-a.test"
    both = [program.get(CONFIG, params={"emailaddress": each}) for each in (known, unknown)]
    assert both[0].content == both[1].content
    assert both[0].headers.items() == both[1].headers.items()
    answers = [posted(program, question(each)) for each in (known, unknown)]
    assert answers[0].text.replace(known, unknown) == answers[1].text
    found = [
        program.get(JSON, params={"Email": each, "Protocol": "AutodiscoverV1"})
        for each in (known, unknown)
    ]
    assert found[0].content == found[1].content


@pytest.mark.requirement("OP-85")
def test_of_a_domain_that_is_not_served_there_is_nothing(program: httpx.Client) -> None:
    for address in ("a@ailleurs.test", "a@sous.hopital-a.test", "hopital-a.test", "@", "a@"):
        headers = {"Host": "autoconfig.hopital-a.test"}
        answer = program.get(CONFIG, params={"emailaddress": address}, headers=headers)
        assert answer.status_code == 404, address
        asked = {"Email": address, "Protocol": "AutodiscoverV1"}
        assert program.get(JSON, params=asked).status_code == 404, address
    assert posted(program, question("a@ailleurs.test")).status_code == 404


@pytest.mark.requirement("CL-28")
@pytest.mark.parametrize("path", [POX, "/Autodiscover/Autodiscover.xml", POX.upper()])
def test_outlook_is_answered_in_any_case_of_the_path(program: httpx.Client, path: str) -> None:
    """OLC-10."""
    found = protocols(posted(program, question("Zoe@Hopital-A.test"), path, HOSTS[2]))
    assert (found["IMAP"]["Port"], found["IMAP"]["SSL"]) == ("993", "on")
    assert (found["SMTP"]["Port"], found["SMTP"]["Encryption"]) == ("587", "TLS")
    assert found["IMAP"]["LoginName"] == "Zoe@hopital-a.test"


@pytest.mark.requirement("CL-28")
def test_the_json_form_leads_to_the_plain_one_and_promises_no_exchange(
    program: httpx.Client,
) -> None:
    """OLC-10: a recorded dialog of Outlook; each step as it asks."""
    host = {"Host": HOSTS[2]}
    for asked in (
        f"{JSON}?Email=zoe%40hopital-a.test&Protocol=Autodiscoverv1&RedirectCount=1",
        "/Autodiscover/Autodiscover.json/v1.0/zoe%40hopital-a.test?Protocol=AutodiscoverV1",
        f"{JSON}?Protocol=AutodiscoverV1",
    ):
        answer = program.get(asked, headers=host)
        assert answer.status_code == 200, asked
        assert json.loads(answer.content) == {
            "Protocol": "AutodiscoverV1",
            "Url": f"https://{HOSTS[2]}{POX}",
        }
    for protocol in ("Ews", "ActiveSync", "Rest", ""):
        asked = f"{JSON}?Email=zoe%40hopital-a.test&Protocol={protocol}"
        answer = program.get(asked, headers=host)
        assert (answer.status_code, answer.json()["ErrorCode"]) == (400, "InvalidProtocol")


def test_a_get_of_autodiscover_says_that_it_wants_a_question(program: httpx.Client) -> None:
    answer = program.get(POX)
    assert answer.status_code == 200  # never 401 (OLC-10)
    assert b"<ErrorCode>600</ErrorCode>" in answer.content


@pytest.mark.attack("ATT-38")
def test_under_the_names_for_programs_there_is_no_page(program: httpx.Client) -> None:
    """A login page under a second name would take passwords where its links do not lead."""
    for host in HOSTS:
        for path in ("/", "/connexion", "/compte", "/mail/", "/autodiscover/autodiscover.svc"):
            assert program.get(path, headers={"Host": host}).status_code == 421, (host, path)
    for host in ("autoconfig.ailleurs.test", "x.autoconfig.hopital-a.test", "hopital-a.test:99"):
        assert program.get(CONFIG, headers={"Host": host}).status_code == 421, host


@pytest.mark.attack("ATT-32")
def test_hostile_questions_are_refused_in_bounded_time(program: httpx.Client) -> None:
    for octets in (BOMB, OUTSIDE, b"<a>" * 4_000, b""):
        answer = posted(program, octets)
        assert answer.status_code == 200
        assert b"<ErrorCode>600</ErrorCode>" in answer.content
        assert b"haha" not in answer.content
    assert posted(program, b" " * 16_385).status_code == 413
    headers = {"Content-Encoding": "gzip"}
    assert program.post(POX, content=b"x", headers=headers).status_code == 400
    for method, path in (("POST", CONFIG), ("POST", JSON), ("PUT", POX), ("DELETE", CONFIG)):
        assert program.request(method, path).status_code == 405, (method, path)
    assert program.get(CONFIG, params={"emailaddress": "a" * 6_000}).status_code == 404


def test_questions_of_one_address_have_a_pace(
    make_place: Callable[..., Place], web_settings: Settings
) -> None:
    web = web_settings.web.model_copy(update={"posts_per_minute": 3})
    place = make_place(web_settings.model_copy(update={"web": web}))
    context = ssl.create_default_context(cafile=str(place.anchors))
    with httpx.Client(base_url=place.url, verify=context) as client:
        told = [posted(client, question("a@hopital-a.test")).status_code for _ in range(5)]
    assert told == [200, 200, 200, 429, 429]


def test_the_log_names_no_address(program: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        program.get(CONFIG, params={"emailaddress": "secrete@hopital-a.test"})
        posted(program, question("secrete@hopital-a.test"))
        program.get(f"{JSON}/v1.0/secrete@hopital-a.test?Protocol=AutodiscoverV1")
    pages = [each for each in caplog.records if each.getMessage() == "page"]
    assert {vars(each)["page"] for each in pages} == {
        "autoconfig",
        "autodiscover",
        "autodiscover-json",
    }
    ours = [each for each in caplog.records if each.name.startswith("mssmtp")]
    assert not any("secrete" in str(each.__dict__) for each in ours)


# ---------------------------------------------------------------- Apple


@pytest.fixture(scope="module")
def ada(place: Place) -> Browser:
    place.person(ADA)
    browser = place.browser()
    assert browser.log_in(ADA, PASSWORD).path == "/compte"
    return browser


def test_a_holder_takes_the_profile_of_her_box_and_of_no_other(place: Place, ada: Browser) -> None:
    box = "ada.profil@hopital-a.test"
    shown = ada.get("compte/appareils")
    assert f"Profil Apple de {box}" in shown.text
    assert "/compte/appareils/profil?boite=ada.profil%40hopital-a.test" in shown.html
    made = ada.get(f"compte/appareils/profil?boite={box}")
    assert made.status == 200
    assert made.headers["Content-Type"] == "application/x-apple-aspen-config"
    assert f'filename="{box}.mobileconfig"' in made.headers["Content-Disposition"]
    assert b"com.apple.mail.managed" in made.octets
    assert b"Password</key>" in made.octets  # that both ways have one
    assert b"IncomingPassword</key>" not in made.octets.replace(b"SameAsIncomingPassword", b"")
    place.person("luc.profil@cabinet.example")
    for other in ("luc.profil@hopital-a.test", "personne@hopital-a.test", ""):
        assert ada.get(f"compte/appareils/profil?boite={other}").status == 404
    assert place.browser().ask("GET", "compte/appareils/profil").status == 303


def test_the_profile_is_offered_beside_a_new_password(ada: Browser) -> None:
    made = ada.submit("compte/appareils", {"faire": "creer", "nom": "iPhone", "service": "both"})
    assert "Pour un iPhone, un iPad ou un Mac" in made.text
    reads = ada.submit("compte/appareils", {"faire": "creer", "nom": "iPad", "service": "imap"})
    assert "Mot de passe de « iPad »" in reads.text
    assert "Pour un iPhone, un iPad ou un Mac" not in reads.text
