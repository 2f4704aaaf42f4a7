"""What browsers keep for us: names that only this host can set, nothing a script can read.

A `__Host-` cookie is Secure, of this host alone and of all its paths (RFC 6265bis 4.1.3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

SESSION = "__Host-session"
BEFORE = "__Host-avant"
"""Of who is not logged in: what the forms carry is made of it."""
ATTEMPT = "__Host-essai"
TICKET = "__Host-detour"
LANGUAGE = "__Host-langue"
DONE = "__Host-fait"
LAX = frozenset({TICKET})
"""Sent along when a provider sends the browser back."""
HALF_WAY = timedelta(minutes=10)
A_YEAR = timedelta(days=365)
_VALUE = re.compile(r"[A-Za-z0-9_.~=-]{1,1024}\Z")


def kept(name: str, value: str, lasts: timedelta | None = None) -> str:
    """A Set-Cookie field; without `lasts` until the browser is closed. Raises ValueError."""
    if not _VALUE.match(value):
        raise ValueError(f"{name} is given what no cookie holds")
    age = "" if lasts is None else f"; Max-Age={int(lasts.total_seconds())}"
    site = "Lax" if name in LAX else "Strict"
    return f"{name}={value}; Path=/; Secure; HttpOnly; SameSite={site}{age}"


def forgotten(name: str) -> str:
    """A Set-Cookie field that takes one away."""
    site = "Lax" if name in LAX else "Strict"
    return f"{name}=; Path=/; Secure; HttpOnly; SameSite={site}; Max-Age=0"


def brought(cookies: Mapping[str, str], name: str) -> str:
    """The value a browser brings; "" when it is none of ours by its form."""
    value = cookies.get(name, "")
    return value if _VALUE.match(value) else ""
