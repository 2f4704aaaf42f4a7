"""The own box: absence, signature, copies of what is sent, liste rouge, its room, its year."""

from __future__ import annotations

from datetime import timedelta

from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, Goes, Needs, NotFound, Page, Shown

PATH = "compte/boite"
ABSENCE = "compte/absence"


def _get(call: Call) -> Answer:
    bal = call.site.store.read(lambda r: r.box_of(call.holder().account)).result()
    if bal is None:
        raise NotFound
    address = str(bal.address)
    signed = asking.row(call, "bal.signature", address=address)
    values = {
        "address": address,
        "signature": signed["signature"],
        "footer": signed["footer"],
        "room": asking.row(call, "bal.room", address=address),
        "keeps_sent": bal.keeps_sent,
        "is_red_listed": bal.is_red_listed,
        "since": call.site.store.read(lambda r: r.last_activity(bal.id)).result(),
        "year": call.site.settings.people.inactivity.days,
    }
    return Shown("box.html", values)


def _post(call: Call) -> Answer:
    address, form = _own(call), call.form
    if form["faire"] == "copie":
        asking.ask(call, "bal.sent-copy", address=address, on=form["oui"] == "on")
    elif form["faire"] == "rouge":
        asking.ask(call, "bal.red-list", address=address, on=form["oui"] == "on")
    elif form["faire"] == "garder":
        asking.ask(call, "bal.keep", address=address)
    else:
        asking.ask(call, "bal.signature.set", address=address, text=form["texte"])
    return Goes(PATH, done="box.kept")


def _get_absence(call: Call) -> Answer:
    found = asking.row(call, "bal.auto-reply", address=_own(call))
    since, until = (asking.moment(found.get(name)) for name in ("since", "until"))
    last = None if until is None else until - timedelta(seconds=1)
    zone = asking.zone(call)
    values = {
        "reply": {"text": "", "subject": "", **found},
        "since": "" if since is None else since.astimezone(zone).date().isoformat(),
        "until": "" if last is None else last.astimezone(zone).date().isoformat(),
    }
    return Shown("absence.html", values)


def _post_absence(call: Call) -> Answer:
    address, form = _own(call), call.form
    if form["faire"] == "arreter":
        asking.ask(call, "bal.auto-reply.stop", address=address)
        return Goes(ABSENCE, done="absence.stopped")
    asking.ask(
        call,
        "bal.auto-reply.set",
        address=address,
        text=form["texte"],
        subject=form["objet"],
        since=asking.day(call, form["debut"]),
        until=asking.last_day(call, form["fin"]),
    )
    return Goes(ABSENCE, done="absence.set")


def _own(call: Call) -> str:
    """Raises NotFound for who has no box."""
    address = asking.own_box(call)
    if not address:
        raise NotFound
    return address


PAGES = (
    Page(PATH, Needs.SESSION, get=_get, post=_post),
    Page(ABSENCE, Needs.SESSION, get=_get_absence, post=_post_absence),
)
