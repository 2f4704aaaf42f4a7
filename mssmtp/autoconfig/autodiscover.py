"""Outlook's Autodiscover in its plain form (POX, MS-OXDSCLI), and where its JSON form leads.

Only IMAP and SMTP are told: there is no Exchange here, and nothing says so (OLC-10).
"""

from __future__ import annotations

from datetime import datetime
from xml.etree import ElementTree

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mssmtp.autoconfig.mozilla import add, octets_of
from mssmtp.autoconfig.servers import Server, best, servers
from mssmtp.config import Settings
from mssmtp.errors import BadAddress
from mssmtp.mail import Address

MOST_OCTETS = 16_384
"""Of a question; Outlook's has less than one KiB."""
PATH = "/autodiscover/autodiscover.xml"
_OF_ALL = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_OF_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_INVALID, _NO_PROVIDER = ("600", "Invalid Request"), ("601", "Provider is not available")


class BadQuestion(Exception):
    """What was posted is no question; `code` and `message` are told (MS-OXDSCLI 2.2.4.1.1.2.2)."""

    def __init__(self, told: tuple[str, str] = _INVALID) -> None:
        super().__init__(told[1])
        self.code, self.message = told


def address_in(octets: bytes) -> Address:
    """Whom the question is about. Raises BadQuestion.

    ATT-32: a document type is refused whole, and entities with it. Namespaces are not looked at:
    programs write several.
    """
    try:
        root: ElementTree.Element = fromstring(octets, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        # The last two: an encoding that it names and nobody knows, or that is none for text.
        raise BadQuestion from error
    told: dict[str, str] = {}
    for each in root.iter():
        told.setdefault(each.tag.rpartition("}")[2].lower(), (each.text or "").strip())
    if told.get("acceptableresponseschema", _OF_OUTLOOK) != _OF_OUTLOOK:
        raise BadQuestion(_NO_PROVIDER)  # ActiveSync
    try:
        return Address.parse(told.get("emailaddress", ""))
    except BadAddress as error:
        raise BadQuestion from error


def account(settings: Settings, address: Address) -> bytes:
    """The settings of `address`, whether it exists or not."""
    root, response = _begun(_OF_OUTLOOK)
    element = ElementTree.SubElement(response, "Account")
    add(element, "AccountType", "email")
    add(element, "Action", "settings")
    found = servers(settings)
    for each in (best(found, "imap"), best(found, "smtp")):
        if each is not None:
            _protocol(element, each, address)
    return octets_of(root)


def _protocol(parent: ElementTree.Element, server: Server, address: Address) -> None:
    """`Encryption` is for STARTTLS, of which `SSL` alone would make TLS from the first octet."""
    element = ElementTree.SubElement(parent, "Protocol")
    is_tls = server.security == "tls"
    add(element, "Type", server.service.upper())
    add(element, "Server", server.host)
    add(element, "Port", str(server.port))
    add(element, "LoginName", str(address))
    add(element, "DomainRequired", "off")
    add(element, "SPA", "off")
    add(element, "SSL", "on" if is_tls else "off")
    if not is_tls:
        add(element, "Encryption", "TLS")
    add(element, "AuthRequired", "on")
    if server.service == "smtp":
        add(element, "UsePOPAuth", "on")
        add(element, "SMTPLast", "off")


def refusal(why: BadQuestion, now: datetime) -> bytes:
    """What a question that is none is answered."""
    root, response = _begun(_OF_ALL)
    error = ElementTree.SubElement(response, "Error", Time=f"{now:%H:%M:%S.%f}", Id="0")
    add(error, "ErrorCode", why.code)
    add(error, "Message", why.message)
    ElementTree.SubElement(error, "DebugData")
    return octets_of(root)


def _begun(namespace: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element("Autodiscover", xmlns=_OF_ALL)
    return root, ElementTree.SubElement(root, "Response", xmlns=namespace)


def onward(protocol: str, host: str) -> dict[str, str] | None:
    """The JSON form: where the plain one is. None: another protocol, of which there is none."""
    if protocol.casefold() != "autodiscoverv1":
        return None
    return {"Protocol": "AutodiscoverV1", "Url": f"https://{host}{PATH}"}


NO_PROTOCOL = {
    "ErrorCode": "InvalidProtocol",
    "ErrorMessage": "The given protocol value is invalid. Supported values are 'AutodiscoverV1'",
}
