"""Identity: who is speaking. Passwords, SASL exchanges, national identifiers."""

from mssmtp.identity.app_password import Verifiers, WeakPassword
from mssmtp.identity.authenticator import (
    Authenticator,
    BadCredentials,
    LoginRefused,
    TooManyGuesses,
)
from mssmtp.identity.national_id import BadNationalId
from mssmtp.identity.sasl import Challenge, Credentials, Exchange

__all__ = [
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
