"""Who is calling, from what the door knows of the other end: never from what the call says.

Looked up at every call, so that who has left office is refused at the next one (ATT-25).
"""

from __future__ import annotations

import os
import pwd

from mssmtp.admin.authority import Denied
from mssmtp.mail import Actor, AdminLevel
from mssmtp.storage import Administrator, Reading, Store

ROOT = 0


def actor_of_user(store: Store, uid: int) -> Actor:
    """The operator, for root and for the user whose files the store's are; else whom the user of
    this machine is registered as. Raises Denied.

    The first two can read the master key: whatever is refused here they could do without us.
    """
    if uid in (ROOT, os.geteuid()):
        return Actor(AdminLevel.OPERATOR, user_name(uid))
    found = store.read(lambda r: _in_office(r, r.administrator_of_uid(uid))).result()
    if found is None:
        raise _stranger(f"l'utilisateur numéro {uid} de cette machine")
    return found


def actor_of_certificate(store: Store, sha256: str) -> Actor:
    """Whose certificate it is. Raises Denied."""
    found = store.read(lambda r: _in_office(r, r.administrator_of_certificate(sha256))).result()
    if found is None:
        raise _stranger("ce certificat")
    return found


def _in_office(reading: Reading, one: Administrator | None) -> Actor | None:
    """Who administers a structure that is closed administers nothing, nor does a person whose
    account is suspended or who has left (OP-79)."""
    if one is None or not _is_active(reading, one.actor):
        return None
    if one.actor.structure is None:
        return one.actor
    structure = reading.structure(one.actor.structure)
    return None if structure is None or structure.is_closed else one.actor


def _is_active(reading: Reading, actor: Actor) -> bool:
    if actor.account is None:
        return True
    login = reading.account_login(actor.account)
    found = None if login is None else reading.account(login)
    return found is not None and found.active


def _stranger(who: str) -> Denied:
    return Denied(
        "administration",
        f"{who} n'administre rien ici",
        "L'opérateur vous inscrit : `mssmtp admin add`.",
    )


def user_name(uid: int) -> str:
    """What traces say."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
