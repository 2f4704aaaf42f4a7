"""Registering alone, and the link that confirms an address (SEED-33, SEED-35).

Whether an address is known is said to nobody but its holder, by mail (ATT-21).
"""

from __future__ import annotations

from contextlib import suppress

from mssmtp.people import records
from mssmtp.people.invited import ConfirmationRefused
from mssmtp.registering import PATH, Asked, Given, Registering
from mssmtp.web.page import Answer, Call, Goes, Needs, Page, Shown

CONDITIONS = records.ATTESTATION.needs


def _registering(call: Call) -> Registering:
    site = call.site
    return Registering.of(site.settings, site.store, site.desk, site.clock, site.entropy)


def _get(call: Call) -> Answer:
    return Shown("register.html")


def _post(call: Call) -> Answer:
    names = call.form["last_name"], call.form["first_name"]
    _registering(call).ask(call.form["usual"], names, call.language)
    return Goes("inscription", done="registering.sent")


def _get_link(call: Call) -> Answer:
    """The form of whoever's link it is; without one, where it is pasted."""
    if token := call.form["token"]:
        with suppress(ConfirmationRefused):  # an old one is pasted anew as none is
            return _form(_registering(call).look(token), token)
    return Shown("confirm_link.html")


def _post_link(call: Call) -> Answer:
    registering, token = _registering(call), call.form["token"]
    asked = registering.look(token)
    if not call.form["step"]:
        return _form(asked, token)
    given = Given(
        call.form["last_name"],
        call.form["first_name"],
        call.form["password"],
        call.form["again"],
        {name: name in call.form.several("condition") for name in CONDITIONS},
        call.language,
    )
    registering.finish(token, given)
    return Goes("connexion", "registering.confirmed", {"vers": "enveloppes"})


def _form(asked: Asked, token: str) -> Answer:
    return Shown("confirm.html", {"asked": asked, "token": token, "conditions": CONDITIONS})


PAGES = (
    Page("inscription", Needs.NOBODY, get=_get, post=_post),
    Page(PATH, Needs.NOBODY, get=_get_link, post=_post_link),
)
