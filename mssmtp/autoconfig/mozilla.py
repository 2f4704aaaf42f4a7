"""The format of Thunderbird, which other programs read too (draft-ietf-mailmaint-autoconfig)."""

from __future__ import annotations

from xml.etree import ElementTree

from mssmtp.autoconfig.servers import Server, servers
from mssmtp.config import Settings
from mssmtp.mail import Domain

MEDIA_TYPE = "text/xml; charset=utf-8"
_TYPES = {"imap": "incomingServer", "smtp": "outgoingServer"}
_SOCKETS = {"tls": "SSL", "starttls": "STARTTLS"}


def client_config(settings: Settings, domain: Domain) -> bytes:
    """`config-v1.1.xml` of `domain`: the same for each of its addresses.

    Mechanisms are those that are on, a token last (CL-29): a program that knows no maker of tokens
    for us takes the password of its device (CL-30, CL-31).
    """
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=domain)
    add(provider, "domain", domain)
    add(provider, "displayName", f"MSSanté {settings.operator.name}")
    add(provider, "displayShortName", settings.operator.name)
    mechanisms = ["password-cleartext"] + (["OAuth2"] if settings.psc is not None else [])
    for each in servers(settings):
        _server(provider, each, mechanisms)
    return octets_of(root)


def _server(provider: ElementTree.Element, server: Server, mechanisms: list[str]) -> None:
    element = ElementTree.SubElement(provider, _TYPES[server.service], type=server.service)
    add(element, "hostname", server.host)
    add(element, "port", str(server.port))
    add(element, "socketType", _SOCKETS[server.security])
    add(element, "username", "%EMAILADDRESS%")
    for mechanism in mechanisms:
        add(element, "authentication", mechanism)


def add(parent: ElementTree.Element, name: str, text: str) -> None:
    """An element that holds text alone."""
    ElementTree.SubElement(parent, name).text = text


def octets_of(root: ElementTree.Element) -> bytes:
    """A document as it is sent, indented for who reads it with their eyes."""
    ElementTree.indent(root)
    found = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return bytes(found) + b"\n"
