"""Why a login is refused; one answer for all that a stranger must not tell apart (ATT-21)."""

from __future__ import annotations

from typing import ClassVar

from mssmtp.errors import BadSyntax, MailError, Reply


class LoginRefused(MailError):
    """Base: the door waits `delay_s` before it answers; other sessions are not affected.

    `is_guess`: a password may have been tried, and a door makes its client wait. `imap_text` is
    what IMAP says, in ASCII, where it is not what it always says with that code.
    """

    is_guess: ClassVar[bool] = True
    imap_text: ClassVar[str] = ""

    def __init__(self, message: str = "", *, delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class BadCredentials(LoginRefused):
    """Unknown login, wrong, revoked or expired password, suspended account: one answer for all."""

    smtp = Reply(
        535,
        "5.7.8",
        "Identifiant ou mot de passe d'application incorrect ; "
        "créez un nouveau mot de passe pour cet appareil.",
    )
    imap = "AUTHENTICATIONFAILED"


class TooManyGuesses(LoginRefused):
    """This login from this address has to wait; the password was not looked at."""

    smtp = Reply(454, "4.7.0", "Trop d'essais de connexion ; attendez une minute puis réessayez.")
    imap = "UNAVAILABLE"


class BadExchange(BadSyntax):
    """A line that is not base64, is too long, or holds what the mechanism does not allow."""

    smtp = Reply(501, "5.5.2", "Échange d'authentification mal formé ; vérifiez le logiciel.")
    imap = "CLIENTBUG"
