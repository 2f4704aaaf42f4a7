"""Another usual address: the declaration to send by an MSSanté letter (SEED-50). The page writes
it and changes nothing: an operator makes the change, which a mail confirms."""

from __future__ import annotations

from urllib.parse import quote

from mssmtp.people.rules import Rules
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, Needs, Page, Shown
from mssmtp.web.texts import say

PATH = "compte/adresse"
FIELDS = ("nouvelle", "activite", "postale", "telephone")


def _get(call: Call) -> Answer:
    return Shown("address.html", _values(call))


def _post(call: Call) -> Answer:
    """Shows what to send."""
    values = _values(call)
    person = call.holder().person
    declared = {
        "name": person.last_name,
        "first_name": person.first_name,
        "current": str(person.usual_address),
        "number": person.national_id or call.form["numero"],
        **{name: " ".join(call.form[name].split()) for name in FIELDS},
    }
    # The declaration is for an operator: it is French whoever writes it.
    subject, text = say("fr", "address.subject"), say("fr", "address.letter", **declared)
    link = f"mailto:{values['support']}?subject={quote(subject)}&body={quote(text)}"
    return Shown("address.html", {**values, "letter": text, "subject": subject, "link": link})


def _values(call: Call) -> dict[str, object]:
    person = call.holder().person
    structure = None
    if person.structure is not None:
        of = person.structure
        structure = call.site.store.read(lambda r: r.structure(of)).result()
    region = "" if structure is None else structure.region
    support = Rules.of(call.site.settings).support.get(region)
    return {
        "person": person,
        "support": "" if support is None else str(support),
        "box": asking.own_box(call),
        "letter": "",
        "subject": "",
        "link": "",
    }


PAGES = (Page(PATH, Needs.SESSION, get=_get, post=_post),)
