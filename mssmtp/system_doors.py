"""The doors of systems: submission and IMAP that ask for a certificate, and take nothing else.

CL-16: they have hosts or ports of their own, because 587, 465, 143 and 993 never ask for one: some
programs of persons show a dialog, or fail.
"""

from __future__ import annotations

from mssmtp.identity import EXTERNAL, Mechanisms
from mssmtp.imap_server import ImapDoor
from mssmtp.logins import Logins
from mssmtp.mail import Principal
from mssmtp.smtp_in import SubmissionDoor
from mssmtp.smtp_lookup import Services
from mssmtp.storage import Reading


class SystemSubmissionDoor(SubmissionDoor):
    """`listen.app_submission`, and with `implicit_tls` `listen.app_submissions` (CL-15)."""

    asks_certificate = True

    def _mechanisms(self) -> Mechanisms:
        return EXTERNAL

    def _logins(self, name: str) -> Logins:
        return Logins(self.services.authenticator, name, systems=self.services.systems)


class SystemImapDoor(ImapDoor):
    """`listen.app_imap`, and with `implicit_tls` `listen.app_imaps` (CL-15)."""

    asks_certificate = True

    def __init__(self, services: Services, *, implicit_tls: bool = False) -> None:
        """Raises ConfigError when the users' certificate cannot be loaded."""
        self.services = services
        super().__init__(
            services.settings,
            services.store,
            services.authenticator,
            services.clock,
            implicit_tls=implicit_tls,
            presenter=services.keys.to_users,
        )

    def _mechanisms(self) -> Mechanisms:
        return EXTERNAL

    def _made_logins(self) -> Logins:
        return Logins(self.authenticator, "imap", systems=self.services.systems)

    def _refreshed(self, reading: Reading, principal: Principal) -> Principal:
        return self.services.refreshed(reading, principal)
