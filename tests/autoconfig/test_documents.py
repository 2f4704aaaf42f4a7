"""The documents, whole: what a program reads is what the settings say."""

from __future__ import annotations

import plistlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.autoconfig import apple, autodiscover, mozilla, records, servers
from mssmtp.config import CertificateSettings, Endpoint, Settings
from mssmtp.config_tokens import PscSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import Address, domain
from mssmtp.tls_settings import load_certificate
from tests.authority import A_DOMAIN
from tests.home import make_home

ZOE = Address.parse("zoe.tartempion@hopital-a.test")
A = domain(A_DOMAIN)


@pytest.fixture(scope="module")
def settings(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    more = {
        "operator.name": "Hôpital <A> & Cie",
        "listen.imap": "0.0.0.0:143",
        "listen.imaps": "10.0.0.2:1993",
        "listen.submission": "0.0.0.0:587",
        "listen.submissions": "10.0.0.2:1465",
        "listen.app_imaps": "0.0.0.0:1994",
        "listen.web": "0.0.0.0:8443",
        "web.certificate_file": "certs/operator.pem",
        "web.key_file": "certs/operator.key",
        "notices.portal_url": "https://portail.hopital-a.test/compte",
    }
    directory = tmp_path_factory.mktemp("autoconfig") / "home"
    made = make_home(directory, authority, healthy[A_DOMAIN], more).settings
    return listening(
        made,
        imaps=Endpoint(host="10.0.0.2", port=1993, published_port=993),
        submissions=Endpoint(host="10.0.0.2", port=1465, published_port=465),
    )


def listening(settings: Settings, **doors: Endpoint | None) -> Settings:
    return settings.model_copy(update={"listen": settings.listen.model_copy(update=doors)})


MOZILLA = """<?xml version='1.0' encoding='utf-8'?>
<clientConfig version="1.1">
  <emailProvider id="hopital-a.test">
    <domain>hopital-a.test</domain>
    <displayName>MSSanté Hôpital &lt;A&gt; &amp; Cie</displayName>
    <displayShortName>Hôpital &lt;A&gt; &amp; Cie</displayShortName>
    <incomingServer type="imap">
      <hostname>mx.hopital-a.test</hostname>
      <port>993</port>
      <socketType>SSL</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </incomingServer>
    <incomingServer type="imap">
      <hostname>mx.hopital-a.test</hostname>
      <port>143</port>
      <socketType>STARTTLS</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>mx.hopital-a.test</hostname>
      <port>465</port>
      <socketType>SSL</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </outgoingServer>
    <outgoingServer type="smtp">
      <hostname>mx.hopital-a.test</hostname>
      <port>587</port>
      <socketType>STARTTLS</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </outgoingServer>
  </emailProvider>
</clientConfig>
"""

OUTLOOK = """<?xml version='1.0' encoding='utf-8'?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
  <Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>
      <Protocol>
        <Type>IMAP</Type>
        <Server>mx.hopital-a.test</Server>
        <Port>993</Port>
        <LoginName>zoe.tartempion@hopital-a.test</LoginName>
        <DomainRequired>off</DomainRequired>
        <SPA>off</SPA>
        <SSL>on</SSL>
        <AuthRequired>on</AuthRequired>
      </Protocol>
      <Protocol>
        <Type>SMTP</Type>
        <Server>mx.hopital-a.test</Server>
        <Port>465</Port>
        <LoginName>zoe.tartempion@hopital-a.test</LoginName>
        <DomainRequired>off</DomainRequired>
        <SPA>off</SPA>
        <SSL>on</SSL>
        <AuthRequired>on</AuthRequired>
        <UsePOPAuth>on</UsePOPAuth>
        <SMTPLast>off</SMTPLast>
      </Protocol>
    </Account>
  </Response>
</Autodiscover>
"""

ZONE = """_imaps._tcp.hopital-a.test. 3600 IN SRV 10 1 993 mx.hopital-a.test.
_imap._tcp.hopital-a.test. 3600 IN SRV 20 1 143 mx.hopital-a.test.
_submissions._tcp.hopital-a.test. 3600 IN SRV 10 1 465 mx.hopital-a.test.
_submission._tcp.hopital-a.test. 3600 IN SRV 20 1 587 mx.hopital-a.test.
_pop3s._tcp.hopital-a.test. 3600 IN SRV 0 0 0 .
_pop3._tcp.hopital-a.test. 3600 IN SRV 0 0 0 .
autoconfig.hopital-a.test. 3600 IN CNAME portail.hopital-a.test.
autodiscover.hopital-a.test. 3600 IN CNAME portail.hopital-a.test.
_autodiscover._tcp.hopital-a.test. 3600 IN SRV 0 1 443 portail.hopital-a.test."""


@pytest.mark.requirement("OP-85", "CL-29", "CL-30")
def test_thunderbird_is_told_the_doors_as_they_are_reached(settings: Settings) -> None:
    """Ports as published; no door of systems, no certificate, no mechanism that is off."""
    assert mozilla.client_config(settings, A).decode() == MOZILLA


@pytest.mark.requirement("CL-29")
def test_tokens_are_named_last_and_only_where_they_are_taken(settings: Settings) -> None:
    psc = PscSettings(
        issuer="https://psc.test",
        introspection_url="https://psc.test/introspect",
        client_id="mssmtp",
        client_secret_file=settings.pki.anchors_file,
        anchors_file=settings.pki.anchors_file,
    )
    with_tokens = settings.model_copy(update={"psc": psc})
    root = fromstring(mozilla.client_config(with_tokens, A))
    for server in (*root.iter("incomingServer"), *root.iter("outgoingServer")):
        mechanisms = [each.text for each in server.iter("authentication")]
        assert mechanisms == ["password-cleartext", "OAuth2"]


@pytest.mark.requirement("CL-29")
def test_a_closed_door_is_not_told(settings: Settings) -> None:
    bare = listening(settings, imap=None, submissions=None)
    assert [(each.service, each.security) for each in servers(bare)] == [
        ("imap", "tls"),
        ("smtp", "starttls"),
    ]
    assert b"143" not in mozilla.client_config(bare, A)
    told = autodiscover.account(bare, ZOE).decode()
    assert "<Port>587</Port>" in told
    assert "<SSL>off</SSL>" in told
    assert "<Encryption>TLS</Encryption>" in told
    srv = {each.name: each.value for each in records.records(bare, A)}
    assert (
        srv["_imap._tcp.hopital-a.test."] == srv["_submissions._tcp.hopital-a.test."] == "0 0 0 ."
    )


@pytest.mark.requirement("CL-28")
def test_outlook_is_told_imap_and_smtp(settings: Settings) -> None:
    assert autodiscover.account(settings, ZOE).decode() == OUTLOOK


@pytest.mark.requirement("CL-26", "OP-85")
def test_the_records_of_a_domain(settings: Settings) -> None:
    assert "\n".join(map(str, records.records(settings, A))) == ZONE
    no_pages = listening(settings, web=None)
    assert {each.type for each in records.records(no_pages, A)} == {"SRV"}
    assert "autodiscover" not in "".join(map(str, records.records(no_pages, A)))


def test_a_profile_opens_the_box_and_holds_no_password(settings: Settings) -> None:
    octets = apple.profile(settings, str(ZOE))
    assert octets is not None
    whole = plistlib.loads(octets)
    (mail,) = whole["PayloadContent"]
    assert mail["PayloadType"] == "com.apple.mail.managed"
    assert mail["EmailAddress"] == mail["IncomingMailServerUsername"] == str(ZOE)
    assert mail["OutgoingMailServerUsername"] == str(ZOE)
    assert (mail["IncomingMailServerHostName"], mail["IncomingMailServerPortNumber"]) == (
        "mx.hopital-a.test",
        993,
    )
    assert mail["OutgoingMailServerPortNumber"] == 465
    assert mail["OutgoingPasswordSameAsIncomingPassword"] is True
    assert not {"IncomingPassword", "OutgoingPassword"} & set(mail)
    assert octets == apple.profile(settings, str(ZOE))  # installed again it replaces itself
    other = apple.profile(settings, "noe@hopital-a.test")
    assert other is not None
    assert plistlib.loads(other)["PayloadUUID"] != whole["PayloadUUID"]
    assert apple.profile(listening(settings, submission=None, submissions=None), str(ZOE)) is None


def test_the_signature_of_a_profile_is_verified_by_openssl(
    settings: Settings, tmp_path: Path
) -> None:
    octets = apple.profile(settings, str(ZOE))
    files = settings.web_certificate
    assert octets is not None
    assert isinstance(files, CertificateSettings)
    place = tmp_path / "zoe.mobileconfig"
    place.write_bytes(apple.signed(octets, load_certificate(files)))
    verify = ("openssl", "cms", "-verify", "-inform", "DER", "-purpose", "any", "-in", str(place))
    command = (*verify, "-CAfile", str(settings.pki.anchors_file))
    told = subprocess.run(command, capture_output=True, check=True)
    assert told.stdout == octets
    place.write_bytes(place.read_bytes().replace(b"zoe.tartempion", b"eve.tartempion"))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


# ---------------------------------------------------------------- what is posted

ASKED = """<?xml version="1.0" encoding="{encoding}"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
  <Request>
    <EMailAddress>zoe.tartempion@hopital-a.test</EMailAddress>
    <AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
  </Request>
</Autodiscover>"""
BOMB = b"""<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]>
<Autodiscover><Request><EMailAddress>&y;@hopital-a.test</EMailAddress></Request></Autodiscover>"""
OUTSIDE = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<Autodiscover><Request><EMailAddress>&x;@hopital-a.test</EMailAddress></Request></Autodiscover>"""


@pytest.mark.requirement("CL-28")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_the_address_is_found_in_a_question(encoding: str) -> None:
    octets = ASKED.format(encoding=encoding).encode(encoding)
    assert autodiscover.address_in(octets) == ZOE


@pytest.mark.attack("ATT-32")
@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<",
        b"\x00" * 64,
        BOMB,
        OUTSIDE,
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x"><EMailAddress>a@hopital-a.test</EMailAddress>',
        b'<?xml version="1.0" encoding="nobody-knows"?><a/>',
        b'<?xml version="1.0" encoding="rot13"?><a/>',
        b"<Autodiscover/>",
        b"<EMailAddress>zoe</EMailAddress>",
        b"<EMailAddress>a@hopital-a.test\nb@hopital-a.test</EMailAddress>",
        b"<EMailAddress>" + b"a" * 9_000 + b"@hopital-a.test</EMailAddress>",
        b"<a>" * 5_000,
        b"<a>" * 2_000 + b"</a>" * 2_000,
        b"<EMailAddress>&#0;@hopital-a.test</EMailAddress>",
        "<EMailAddress>zoé@hopital-a.test</EMailAddress>".encode("latin-1"),
    ],
    ids=range(16),
)
def test_what_is_no_question_is_said_to_be_none(octets: bytes) -> None:
    """ATT-32: no entity is opened, no file, no address; nothing but BadQuestion comes of it."""
    with pytest.raises(autodiscover.BadQuestion) as refused:
        autodiscover.address_in(octets)
    told = autodiscover.refusal(refused.value, datetime(2026, 3, 1, 8, tzinfo=UTC)).decode()
    assert "<ErrorCode>600</ErrorCode>" in told
    assert 'Time="08:00:00.000000"' in told


def test_activesync_is_told_that_there_is_none() -> None:
    asked = ASKED.format(encoding="utf-8").replace("outlook/responseschema", "mobilesync/response")
    with pytest.raises(autodiscover.BadQuestion) as refused:
        autodiscover.address_in(asked.encode())
    assert refused.value.code == "601"


PIECES = [
    b"<", b">", b"</", b"EMailAddress", b"<EMailAddress>", b"</EMailAddress>", b"a@b.test",
    b"<!DOCTYPE a [", b"<!ENTITY x 'y'>", b"]>", b"&x;", b"<![CDATA[", b"]]>", b"<?xml ?>",
    b"\xff\xfe", b"\x00", b" ", b"=", b'"',
]  # fmt: skip


@pytest.mark.attack("ATT-32")
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_octets_are_an_address_or_a_bad_question(pieces: list[bytes]) -> None:
    try:
        found = autodiscover.address_in(b"".join(pieces))
    except autodiscover.BadQuestion:
        return
    assert Address.parse(str(found)) == found
