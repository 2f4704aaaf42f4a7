"""Identity: who is speaking. Passwords, SASL exchanges, national identifiers."""

from mssmtp.identity.app_password import Verifiers, WeakPassword
from mssmtp.identity.authenticator import (
    Authenticator,
    BadCredentials,
    LoginRefused,
    TooManyGuesses,
)
from mssmtp.identity.national_id import BadNationalId
from mssmtp.identity.sasl import MECHANISMS, OLD_FORMS, Challenge, Credentials, Exchange

__all__ = [
    "MECHANISMS",
    "OLD_FORMS",
    "Authenticator",
    "BadCredentials",
    "BadNationalId",
    "Challenge",
    "Credentials",
    "Exchange",
    "LoginRefused",
    "TooManyGuesses",
    "Verifiers",
    "WeakPassword",
]
