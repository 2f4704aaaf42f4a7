"""The link that a person who was loaded is sent: choose a password, and the account is finalised
(SEED-40, DEF-11).

The secret stands behind `#`: a small script puts it into the form, or it is pasted by hand.
"""

from __future__ import annotations

from mssmtp.bulk import activation
from mssmtp.bulk.activation import Choice
from mssmtp.identity import WeakPassword, portal_password
from mssmtp.people import persons, records
from mssmtp.people.register import LocalRegister
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading
from mssmtp.web.page import Answer, Call, FieldProblem, Goes, Needs, Page, Shown

_CHOICE = f"{activation.PATH}/mot-de-passe"
_MOST = 64


def _get(call: Call) -> Answer:
    return Shown("activation_link.html")


def _post(call: Call) -> Answer:
    """The link is looked at and not used: a mail program that follows links ends nothing."""
    return _form(call)


def _get_choice(call: Call) -> Answer:
    return _form(call) if call.form["token"] else Goes(activation.PATH)


def _form(call: Call) -> Answer:
    """Who it is for, the password twice, and the conditions for who has to attest them."""

    def query(reading: Reading) -> dict[str, object]:
        person = activation.holder(reading, call.form["token"][:_MOST])
        return {
            "person": person,
            "box": reading.box_of(person.account),
            "attests": persons.needs_attestation(reading, person),
        }

    found = call.site.store.read(query).result()
    return Shown("activation_choice.html", found | {"conditions": records.ATTESTATION.needs})


def _post_choice(call: Call) -> Answer:
    site, token = call.site, call.form["token"][:_MOST]
    told = {name: name in call.form.several("attests") for name in records.ATTESTATION.needs}

    def query(reading: Reading) -> bool:
        person = activation.holder(reading, token)
        return persons.needs_attestation(reading, person)

    # Before the slow hash: whoever has no link gets none out of us.
    if site.store.read(query).result():
        persons.demand_affirmed(told)
    try:
        portal_password.check(call.form["password"], call.form["again"])
    except WeakPassword as error:
        raise FieldProblem("password", error) from error
    argon2 = portal_password.hashed(call.form["password"], site.entropy)
    choice = Choice(argon2, all(told.values()))
    rules, register = Rules.of(site.settings), LocalRegister()
    site.store.write(
        lambda writing: activation.finalise(writing, rules, register, token, choice)
    ).result()
    return Goes("connexion", done="activation.done")


PAGES = (
    Page(activation.PATH, Needs.NOBODY, get=_get, post=_post),
    Page(_CHOICE, Needs.NOBODY, get=_get_choice, post=_post_choice),
)
