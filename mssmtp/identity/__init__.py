"""Identity: who is speaking. Passwords, SASL exchanges, national identifiers."""

from mssmtp.identity.app_password import Verifiers, WeakPassword
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.bearer import EXTERNAL, with_tokens
from mssmtp.identity.national_id import BadNationalId
from mssmtp.identity.refusals import BadCredentials, LoginRefused, TooManyGuesses
from mssmtp.identity.sasl import (
    MECHANISMS,
    OLD_FORMS,
    Answer,
    Bearer,
    Challenge,
    Channel,
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
    "Answer",
    "Authenticator",
    "BadCredentials",
    "BadNationalId",
    "Bearer",
    "Challenge",
    "Channel",
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
