"""Identity: who is speaking. Passwords, SASL exchanges, national identifiers."""

from mssmtp.identity.app_password import Verifiers, WeakPassword
from mssmtp.identity.authenticator import (
    Authenticator,
    BadCredentials,
    LoginRefused,
    TooManyGuesses,
)
from mssmtp.identity.bearer import EXTERNAL, with_tokens
from mssmtp.identity.national_id import BadNationalId
from mssmtp.identity.sasl import (
    MECHANISMS,
    OLD_FORMS,
    Bearer,
    Challenge,
    Claim,
    Credentials,
    Exchange,
    Mechanisms,
    Presented,
)

__all__ = [
    "EXTERNAL",
    "MECHANISMS",
    "OLD_FORMS",
    "Authenticator",
    "BadCredentials",
    "BadNationalId",
    "Bearer",
    "Challenge",
    "Claim",
    "Credentials",
    "Exchange",
    "LoginRefused",
    "Mechanisms",
    "Presented",
    "TooManyGuesses",
    "Verifiers",
    "WeakPassword",
    "with_tokens",
]
