"""The configuration profile of iPhone, iPad and Mac (Apple, Device Management, Mail)."""

from __future__ import annotations

import plistlib
from uuid import NAMESPACE_URL, uuid5

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7Options,
    PKCS7SignatureBuilder,
)

from mssmtp.autoconfig.servers import best, servers
from mssmtp.config import Settings
from mssmtp.tls_settings import OwnCertificate

MEDIA_TYPE = "application/x-apple-aspen-config"


def profile(settings: Settings, address: str) -> bytes | None:
    """A profile that opens the box `address`; None where IMAP or submission is closed.

    It holds no password: it would lie in downloads and backups in clear. The device asks for it
    once and uses it both ways. Its identifiers are those of the address, so that a profile that is
    installed again takes the place of the one before.
    """
    found = servers(settings)
    incoming, outgoing = best(found, "imap"), best(found, "smtp")
    if incoming is None or outgoing is None:
        return None
    host, name = settings.operator.host_name, f"MSSanté {settings.operator.name}"
    unique = uuid5(NAMESPACE_URL, f"imap://{host}/{address}")
    identifier = f"{'.'.join(reversed(host.split('.')))}.{unique}"
    mail = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.mail",
        "PayloadUUID": str(uuid5(unique, "mail")).upper(),
        "PayloadDisplayName": address,
        "EmailAccountDescription": name,
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAddress": address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": incoming.host,
        "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": True,  # by STARTTLS where that is what the port speaks
        "IncomingMailServerUsername": address,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": outgoing.host,
        "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": address,
        "OutgoingPasswordSameAsIncomingPassword": True,
        "PreventMove": True,  # no letter of the trust space into an account that is not of it
        "SMIMEEnabled": False,
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(unique).upper(),
        "PayloadDisplayName": f"{name} – {address}",
        "PayloadOrganization": settings.operator.name,
        "PayloadContent": [mail],
    }
    return plistlib.dumps(whole)


def signed(octets: bytes, own: OwnCertificate) -> bytes:
    """CMS, DER, the profile inside: the device shows whose it is in place of « not signed »."""
    builder = PKCS7SignatureBuilder().set_data(octets).add_signer(own.leaf, own.key, SHA256())
    for issuer in own.chain[1:]:
        builder = builder.add_certificate(issuer)
    return builder.sign(Encoding.DER, [PKCS7Options.Binary])
