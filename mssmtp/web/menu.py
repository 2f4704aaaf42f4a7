"""The menus of who is logged in: a page and the text that names it, in the order shown."""

from __future__ import annotations

ENTRIES: tuple[tuple[str, str], ...] = (
    ("compte", "account.title"),
    ("enveloppes", "envelopes.title"),
)

ACCOUNT: tuple[tuple[str, str], ...] = (
    ("compte/activite", "activity.title"),
    ("compte/appareils", "devices.title"),
    ("compte/delegations", "lending.title"),
    ("compte/absence", "absence.title"),
    ("compte/boite", "box.title"),
    ("compte/notifications", "notifying.title"),
    ("compte/sessions", "logins.title"),
    ("compte/identites", "logins.identities"),
    ("compte/mot-de-passe", "password.title"),
    ("compte/adresse", "address.title"),
)
"""Of the account, on its page alone: a bar of so many would be read by nobody."""
