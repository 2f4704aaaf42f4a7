"""Who is calling, from what the door knows of the other end: never from what the call says."""

from __future__ import annotations

import os
import pwd

from mssmtp.admin.authority import Denied
from mssmtp.mail import Actor, AdminLevel

ROOT = 0


def actor_of_user(uid: int) -> Actor:
    """The operator, for root and for the user whose files the store's are. Raises Denied.

    Both can read the master key: whatever is refused here they could do without us.
    """
    if uid not in (ROOT, os.geteuid()):
        raise Denied(
            "administration",
            f"l'utilisateur numéro {uid} de cette machine n'administre rien ici",
            "L'opérateur vous inscrit : `mssmtp admin add`.",
        )
    return Actor(AdminLevel.OPERATOR, user_name(uid))


def user_name(uid: int) -> str:
    """What traces say."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
