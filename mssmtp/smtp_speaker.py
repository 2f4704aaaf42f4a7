"""Our TLS side towards other servers: which certificate of ours speaks for which sender."""

from __future__ import annotations

from mssmtp.config import Settings
from mssmtp.mail import Domain
from mssmtp.own import OwnKeys
from mssmtp.smtp_client import ClientSettings
from mssmtp.tls_settings import ClientContext, OwnCertificate
from mssmtp.tls_stdlib import client_context


class OwnSpeaker:
    """Our TLS side for each certificate of ours that is in use."""

    def __init__(self, settings: Settings, keys: OwnKeys) -> None:
        """Raises ConfigError when a certificate of ours cannot be used."""
        self._settings, self._keys = settings, keys
        self._clients: dict[OwnCertificate, ClientSettings] = {}
        self.may_speak, self.met = keys.may_speak, keys.met
        for slot in keys.slots:
            self._client(slot.own)  # what cannot be used is said at the start

    def for_sender(self, domain: Domain | None) -> ClientSettings:
        """For mail from this domain; None: a report."""
        return self._client(self._keys.for_sender(domain))

    def _client(self, own: OwnCertificate) -> ClientSettings:
        known = self._clients.get(own)
        if known is None:
            held, settings = {slot.own for slot in self._keys.slots}, self._settings
            self._clients = {each: made for each, made in self._clients.items() if each in held}
            known = self._clients[own] = ClientSettings(
                host_name=settings.operator.host_name,
                context=(
                    client_context(settings.tls, own)
                    if settings.pki.ocsp == "off"
                    else ClientContext(settings.tls, own)
                ),
                connect_timeout_s=settings.smtp_out.connect_timeout_s,
                command_timeout_s=settings.smtp_out.command_timeout_s,
                handshake_timeout_s=settings.tls.handshake_timeout_s,
                own=own,
            )
        return known
