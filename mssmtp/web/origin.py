"""Where a form comes from: one of our own pages, shown to this very browser (CSRF).

Two proofs, of which neither is enough: what the browser says of the sender, and a value that only
our page in this browser can hold. Before login it is bound to a cookie of its own, so that nobody
is logged in to somebody else's account.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from mssmtp.errors import MailError, Reply

FIELD = "csrf"
_OWN = ("same-origin", "none")


class ForeignForm(MailError):
    """The form was not sent by a page of ours, or by one of a session before."""

    smtp = Reply(
        550, "5.7.1", "Ce formulaire n'est plus valable ; rechargez la page puis recommencez."
    )


def form_value(key: str) -> str:
    """What the forms of a session carry; of its token nothing can be learnt from it."""
    return hmac.digest(key.encode(), b"form", hashlib.sha256).hex()


def demand_own(headers: Mapping[str, str], host: str, key: str, shown: str) -> None:
    """Raises ForeignForm. `host` is one of ours; `key`: the token of the session, or of before.

    A page under `Referrer-Policy: no-referrer` sends `Origin: null` to its own site too (Fetch
    3.2), which is then vouched for by Sec-Fetch-Site where the browser has it.
    """
    origin = headers.get("Origin", "null")
    if origin not in ("null", f"https://{host}"):
        raise ForeignForm("sent by another site")
    if headers.get("Sec-Fetch-Site", "same-origin") not in _OWN:
        raise ForeignForm("sent by another site")
    if not key or not hmac.compare_digest(
        form_value(key).encode(), shown.encode("utf-8", "replace")
    ):
        raise ForeignForm("sent by no page of this session")
