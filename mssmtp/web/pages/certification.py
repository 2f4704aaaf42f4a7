"""Asking the regional body to certify the account (SEED-34, SEED-36)."""

from __future__ import annotations

from mssmtp.mail import PersonState
from mssmtp.people import persons, records
from mssmtp.registering import Registering
from mssmtp.storage import Reading
from mssmtp.web.page import Answer, Call, Goes, Needs, Page, Shown

HERE = "compte/certification"
FIELDS = (*records.REGISTRATION.needs, *records.REGISTRATION.may)
CONDITIONS = records.ATTESTATION.needs


def _get(call: Call) -> Answer:
    person = call.holder().person

    def query(reading: Reading) -> dict[str, object]:
        told = reading.records("person", person.id).get(records.REGISTRATION.name)
        return {
            "is_asked_for": person.state is PersonState.NOT_CERTIFIED,
            "since": reading.person_dates(person.id).pending_since,
            "told": {name: "" if told is None else told.values.get(name, "") for name in FIELDS},
            "wants_attestation": persons.needs_attestation(reading, person),
        }

    return Shown(
        "certification.html",
        {"needed": records.REGISTRATION.needs, "fields": FIELDS, "conditions": CONDITIONS}
        | call.site.store.read(query).result(),
    )


def _post(call: Call) -> Answer:
    site, form = call.site, call.form
    said = {name: form[name] for name in FIELDS}
    conditions = {name: name in form.several("condition") for name in CONDITIONS}
    registering = Registering.of(site.settings, site.store, site.desk, site.clock, site.entropy)
    registering.request(call.holder().account, said, conditions)
    return Goes(HERE, done="certification.sent")


PAGES = (Page(HERE, Needs.SESSION, get=_get, post=_post),)
