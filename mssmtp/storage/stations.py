"""Where sealed values stand, table by table, and how a row is sealed anew under a newer key.

The one list that rotation, checks and tests go by: a table with a sealed column that is not named
here fails `tests/storage/test_stations.py`. A key's work is done when no row at any station bears
an older mark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import FromClause, Table

from mssmtp.mail import Address
from mssmtp.storage.administrators import (
    ADMINISTRATOR,
    administrator_label,
    administrator_purpose,
)
from mssmtp.storage.annotations import ANNOTATION, annotation_purpose
from mssmtp.storage.app_passwords import password_purpose
from mssmtp.storage.bindings import BINDING, binding_purpose, digested
from mssmtp.storage.boxes import RETIRED, bal_purpose, retired_purpose
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.delegations import delegation_purpose
from mssmtp.storage.delivery import ENVELOPE, RECIPIENT, recipient_purpose
from mssmtp.storage.flags import keyword_purpose
from mssmtp.storage.inviting import INVITED, invited_purpose
from mssmtp.storage.keys import MESSAGE_KEY, OWNER_KEY
from mssmtp.storage.ledger import FACTS, LINES, trace_purpose
from mssmtp.storage.mailboxes import NAME, SUBSCRIPTION, mailbox_purpose
from mssmtp.storage.noting import notice_purpose
from mssmtp.storage.people import (
    CORRESPONDENT,
    account_purpose,
)
from mssmtp.storage.persons import NATIONAL, USUAL, person_purpose
from mssmtp.storage.preferences import preference_purpose
from mssmtp.storage.register import REGISTER, register_purpose
from mssmtp.storage.rights import acl_purpose, member_purpose
from mssmtp.storage.schema import (
    accounts,
    acl,
    administrators,
    answered,
    app_passwords,
    bals,
    bindings,
    blob_keys,
    blobs,
    correspondents,
    delegations,
    domains,
    entries,
    envelopes,
    event_lines,
    facts,
    invited,
    keywords,
    mailboxes,
    members,
    notices,
    owners,
    packs,
    passwords,
    persons,
    preferences,
    queue,
    records,
    register,
    retired,
    scripts,
    secrets,
    sent,
    sent_copies,
    structures,
    subscriptions,
    suspensions,
    texts,
    traces,
    transfers,
)
from mssmtp.storage.scripts import ANSWERED, SCRIPT, answered_purpose, script_purpose
from mssmtp.storage.secrets import SECRET, digested_secret, portal_purpose, secret_purpose
from mssmtp.storage.sent import SENT_COPY, copy_purpose
from mssmtp.storage.sent_letters import SENT, sent_purpose
from mssmtp.storage.station import Digests, Purpose, Values, station
from mssmtp.storage.station import Opener as Opener
from mssmtp.storage.station import Station as Station
from mssmtp.storage.structures import (
    FINESS,
    SIRET,
    domain_purpose,
    record_purpose,
    structure_purpose,
)
from mssmtp.storage.summaries import pack_purpose
from mssmtp.storage.suspensions import suspension_purpose
from mssmtp.storage.textsealing import texts_purpose
from mssmtp.storage.traces import act_purpose
from mssmtp.storage.view import owner_name
from mssmtp.storage.waiting import reply_purpose


def _by_bal(table: Table) -> FromClause:
    return table.join(owners, owners.c.bal == table.c.bal)


def _by_mailbox(table: Table) -> FromClause:
    return table.join(mailboxes, mailboxes.c.id == table.c.mailbox).join(
        owners, owners.c.bal == mailboxes.c.bal
    )


def _by_owner(table: Table) -> FromClause:
    return table.join(owners, owners.c.id == table.c.owner)


def _envelope(prefix: bytes) -> Purpose:
    return lambda row: prefix + row["envelope"].encode()


def _bal_digests(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    usual = found["usual"]
    return {
        "digest": key.digest(b"address", Address.parse(found["address"]).key),
        "usual_digest": None if usual is None else key.digest(b"address", Address.parse(usual).key),
    }


def _person_digests(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    number = found["national_id"]
    return {
        "usual_digest": key.digest(USUAL, Address.parse(found["usual"]).key),
        "national_digest": None if number is None else key.digest(NATIONAL, number),
    }


def _binding_digest(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    return {"digest": key.digest(BINDING, digested(found["kind"], found["subject"]))}


def _secret_digest(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    return {"digest": key.digest(SECRET, digested_secret(found["kind"], found["sha256"]))}


def _structure_digests(
    key: Opener, _: Values, opened: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    return {
        name: key.digest(kind, found[of]) if found[of] else None
        for name, kind, of in (
            ("finess_digest", FINESS, "finess"),
            ("siret_digest", SIRET, "siret"),
        )
    }


def _recipient_digest(
    key: Opener, _: Values, opened: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    address = Address.parse(json.loads(opened["sealed"])["address"])
    return {"digest": key.digest(RECIPIENT, address.key)}


def _text_digest(purpose: bytes) -> Digests:
    return lambda key, row, opened: {"digest": key.digest(purpose, opened["sealed"].decode())}


def _invited_digest(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    address = Address.parse(json.loads(opened["sealed"])["address"])
    return {"digest": key.digest(INVITED, address.key)}


def _notice_digest(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    to = json.loads(opened["sealed"]).get("to")
    return {"digest": None if to is None else key.digest(b"address", Address.parse(to).key)}


def _wrapped(row: Values) -> bytes:
    handle: bytes = row["handle"]
    return OWNER_KEY + handle + owner_name(row["bal"], row["domain"])


MASTER_STATIONS = (
    station(
        owners,
        owners,
        {"wrapped": _wrapped, "older": _wrapped},
        (owners.c.handle, owners.c.bal, owners.c.domain),
        under="wrapping",
    ),
    station(
        bals,
        bals,
        {"sealed": lambda row: bal_purpose(row["id"])},
        under="names",
        digests=_bal_digests,
        changed=("digest", "usual_digest"),
    ),
    station(
        accounts,
        accounts,
        {"sealed": lambda row: account_purpose(row["id"], row["bal"])},
        (accounts.c.bal,),
        under="names",
        digests=lambda key, row, opened: {
            "login_digest": key.digest(b"login", opened["sealed"].decode().casefold())
        },
        changed=("login_digest",),
    ),
    station(
        members,
        members,
        {"sealed": lambda row: member_purpose(row["account"], row["bal"])},
        under="names",
    ),
    station(
        delegations,
        delegations,
        {"sealed": lambda row: delegation_purpose(row["id"], row["bal"], row["account"])},
        (delegations.c.bal, delegations.c.account),
        under="names",
    ),
    station(
        app_passwords,
        app_passwords,
        {"sealed": lambda row: password_purpose(row["account"], row["id"])},
        (app_passwords.c.account,),
        under="names",
    ),
    station(
        persons,
        persons,
        {"sealed": lambda row: person_purpose(row["id"], row["account"])},
        (persons.c.account,),
        under="names",
        digests=_person_digests,
        changed=("usual_digest", "national_digest"),
    ),
    station(
        structures,
        structures,
        {"sealed": lambda row: structure_purpose(row["id"])},
        under="names",
        digests=_structure_digests,
        changed=("finess_digest", "siret_digest"),
    ),
    station(
        bindings,
        bindings,
        {"sealed": lambda row: binding_purpose(row["id"], row["account"], row["bal"])},
        (bindings.c.account, bindings.c.bal),
        under="names",
        digests=_binding_digest,
        changed=("digest",),
    ),
    station(
        passwords,
        passwords,
        {"sealed": lambda row: portal_purpose(row["account"])},
        under="names",
    ),
    station(
        secrets,
        secrets,
        {"sealed": lambda row: secret_purpose(row["id"], row["subject"])},
        (secrets.c.subject,),
        under="names",
        digests=_secret_digest,
        changed=("digest",),
    ),
    station(
        suspensions,
        suspensions,
        {"sealed": lambda row: suspension_purpose(row["kind"], row["name"])},
        under="names",
    ),
    station(domains, domains, {"sealed": lambda row: domain_purpose(row["domain"])}, under="names"),
    station(
        records,
        records,
        {"sealed": lambda row: record_purpose(row["id"], row["subject"], row["subject_id"])},
        (records.c.subject, records.c.subject_id),
        under="names",
    ),
    station(
        notices,
        notices,
        {"sealed": lambda row: notice_purpose(row["id"])},
        under="names",
        digests=_notice_digest,
        changed=("digest",),
    ),
    station(
        invited,
        invited,
        {"sealed": lambda row: invited_purpose(row["envelope"], row["position"])},
        under="names",
        digests=_invited_digest,
        changed=("digest",),
    ),
    station(
        preferences,
        preferences,
        {"sealed": lambda row: preference_purpose(row["subject"], row["id"], row["kind"])},
        under="names",
    ),
    station(
        administrators,
        administrators,
        {"sealed": lambda row: administrator_purpose(row["id"])},
        under="names",
        digests=lambda key, row, opened: {
            "digest": key.digest(ADMINISTRATOR, administrator_label(opened["sealed"]))
        },
        changed=("digest",),
    ),
    station(
        traces,
        traces,
        {
            "sealed": lambda row: act_purpose(
                row["at"], row["kind"], row["account"], row["bal"], row["structure"]
            )
        },
        (traces.c.at, traces.c.kind, traces.c.account, traces.c.bal, traces.c.structure),
        under="names",
    ),
    station(
        register,
        register,
        {"sealed": lambda row: register_purpose(row["id"])},
        under="names",
        digests=lambda key, row, opened: {
            "digest": key.digest(REGISTER, json.loads(opened["sealed"])["national_id"])
        },
        changed=("digest",),
    ),
    station(
        retired,
        retired,
        {"sealed": lambda row: retired_purpose(row["id"])},
        under="names",
        digests=lambda key, row, opened: {
            "digest": key.digest(RETIRED, Address.parse(opened["sealed"].decode()).key)
        },
        changed=("digest",),
    ),
)
"""What is sealed or looked up under the master key."""

OWNER_STATIONS = (
    station(
        _by_bal(mailboxes),
        mailboxes,
        {"sealed": lambda row: mailbox_purpose(row["id"])},
        digests=_text_digest(NAME),
        changed=("digest",),
    ),
    station(
        _by_mailbox(keywords),
        keywords,
        {"sealed": lambda row: keyword_purpose(row["mailbox"], row["bit"])},
    ),
    station(
        _by_mailbox(acl),
        acl,
        {"sealed": lambda row: acl_purpose(row["mailbox"], row["account"])},
    ),
    station(
        _by_bal(entries),
        entries,
        {"sealed": lambda row: annotation_purpose(row["mailbox"], row["account"], row["digest"])},
        digests=lambda key, row, opened: {
            "digest": key.digest(ANNOTATION, json.loads(opened["sealed"])[0])
        },
        changed=("digest",),
    ),
    station(
        _by_bal(subscriptions),
        subscriptions,
        {"sealed": lambda row: SUBSCRIPTION + row["digest"]},
        digests=_text_digest(NAME),
        changed=("digest",),
    ),
    station(
        _by_bal(correspondents),
        correspondents,
        {"sealed": lambda row: CORRESPONDENT + row["digest"]},
        digests=_text_digest(CORRESPONDENT),
        changed=("digest",),
    ),
    station(
        _by_owner(blob_keys).join(blobs, blobs.c.number == blob_keys.c.blob),
        blob_keys,
        {
            "wrapped": lambda row: MESSAGE_KEY + row["id"],
            "summary": lambda row: SUMMARY + row["id"],
        },
        (blobs.c.id,),
    ),
    station(
        _by_mailbox(packs),
        packs,
        {"sealed": lambda row: pack_purpose(row["mailbox"], row["window"])},
    ),
    station(
        _by_mailbox(texts),
        texts,
        {
            "sealed": lambda row: texts_purpose(
                row["mailbox"], row["kind"], row["first"], row["last"]
            )
        },
        (texts.c.last,),
    ),
    station(_by_owner(envelopes), envelopes, {"sealed": lambda row: ENVELOPE + row["id"].encode()}),
    station(
        queue.join(envelopes, envelopes.c.id == queue.c.envelope).join(
            owners, owners.c.id == envelopes.c.owner
        ),
        queue,
        {
            "sealed": lambda row: recipient_purpose(row["envelope"], row["position"]),
            "last_reply": lambda row: reply_purpose(row["envelope"], row["position"]),
        },
        digests=_recipient_digest,
        changed=("digest",),
    ),
    station(
        _by_owner(sent),
        sent,
        {"sealed": lambda row: sent_purpose(row["digest"], row["envelope"])},
        digests=_text_digest(SENT),
        changed=("digest",),
    ),
    station(
        _by_mailbox(sent_copies),
        sent_copies,
        {"sealed": lambda row: copy_purpose(row["mailbox"], row["digest"])},
        digests=_text_digest(SENT_COPY),
        changed=("digest",),
    ),
    station(
        _by_bal(scripts),
        scripts,
        {"sealed": lambda row: script_purpose(row["digest"])},
        digests=lambda key, row, opened: {
            "digest": key.digest(SCRIPT, json.loads(opened["sealed"])[0])
        },
        changed=("digest",),
    ),
    station(
        _by_bal(answered),
        answered,
        {"sealed": lambda row: answered_purpose(row["digest"])},
        digests=_text_digest(ANSWERED),
        changed=("digest",),
    ),
    station(
        _by_owner(event_lines),
        event_lines,
        {"sealed": lambda row: LINES + str(row["event"]).encode()},
    ),
    station(
        _by_owner(transfers),
        transfers,
        {"sealed": lambda row: trace_purpose(row["envelope"], row["at"], row["clear"])},
        (transfers.c.envelope, transfers.c.at, transfers.c.clear),
    ),
    station(_by_owner(facts), facts, {"sealed": _envelope(FACTS)}),
)
"""What is sealed or looked up under the key of a BAL or a domain."""
