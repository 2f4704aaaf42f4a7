"""Invented people, boxes and facts, and the strategies that draw them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from mssmtp.config import LimitSettings
from mssmtp.config_policy import ApicryptSettings, PolicySettings
from mssmtp.mail import (
    AccountId,
    Address,
    Attachment,
    Bal,
    BalId,
    BalState,
    BalType,
    Domain,
    Door,
    Facts,
    Operator,
    PersonState,
    Principal,
    Rdn,
    RecipientFacts,
    Stage,
    Trait,
)
from mssmtp.policy import Decision, Engine

NOW = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)
LISTED = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
OURS = "hopital-a.test"
THEIRS = "cabinet-b.test"
UNLISTED = "ailleurs.test"
PATIENTS = "patient.test"
INTEROP = "interop.apicrypt.test"
RPPS = "899900000110"
INS = "199019999999979"

POLICY = PolicySettings(
    patient_domains=(Domain(PATIENTS),),
    apicrypt=ApicryptSettings(domains=("medical*.apicrypt.test",), interop_domain=Domain(INTEROP)),
)
ENGINE = Engine(POLICY, LimitSettings())


def at(text: str) -> Address:
    return Address.parse(text)


def box(local: str, kind: BalType, domain: str = OURS, **changes: object) -> Bal:
    bal = Bal(
        BalId(sum(local.encode())),
        at(f"{local}@{domain}"),
        kind,
        national_id=RPPS if kind is BalType.PER else None,
    )
    return replace(bal, **changes)  # type: ignore[arg-type]


ZOE = box("zoe.tartempion", BalType.PER, usual_address=at("zoe@courriel.example"))
MARC = box("marc.untel", BalType.MED)
INES = box("ines.quidam", BalType.INT)
SECRETARIAT = box("secretariat", BalType.ORG)
NOREPLY = box("noreply", BalType.APP)
OPERATOR = Operator(
    dn=(Rdn("CN", "smtp1.cabinet-b.test"), Rdn("C", "FR")),
    dn_text="CN=smtp1.cabinet-b.test,C=FR",
    serial="0a1b",
    issuer_text="CN=TEST AC",
    domains=frozenset({Domain(THEIRS), Domain("cardio.cabinet-b.test")}),
    list_date=LISTED,
    crl_number=7,
)


def principal(*boxes: Bal) -> Principal:
    return Principal(AccountId(1), str(boxes[0].address) if boxes else "nobody", boxes)


def to(text: str, **changes: object) -> RecipientFacts:
    """What a door finds out about `text`: ours has a PER box, theirs and the patients' are listed.

    `bal=None` makes a box of ours unknown.
    """
    address = at(text)
    ours = address.domain == OURS
    found = RecipientFacts(
        address,
        is_local_domain=ours,
        is_listed=address.domain in (THEIRS, PATIENTS, INTEROP),
        bal=box(address.local, BalType.PER) if ours else None,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def submitted(
    stage: Stage, box_used: Bal, /, *recipients: RecipientFacts, **changes: object
) -> Facts:
    """Facts of the submission door: the holder of `box_used` writes in its name."""
    facts = Facts(
        stage=stage,
        door=Door.SUBMISSION,
        now=NOW,
        sender=box_used.address,
        principal=principal(box_used),
        acting=box_used,
        recipients=recipients,
        from_addresses=(box_used.address,) if stage is Stage.CONTENT else (),
        size_octets=4096 if stage is Stage.CONTENT else 0,
        list_date=LISTED,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def received(stage: Stage, *recipients: RecipientFacts, **changes: object) -> Facts:
    """Facts of the operator door: cabinet-b writes to us."""
    facts = Facts(
        stage=stage,
        door=Door.OPERATOR,
        now=NOW,
        sender=at(f"bob@{THEIRS}"),
        operator=OPERATOR,
        recipients=recipients,
        from_addresses=(at(f"bob@{THEIRS}"),) if stage is Stage.CONTENT else (),
        size_octets=4096 if stage is Stage.CONTENT else 0,
        list_date=LISTED,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def outcome(decision: Decision) -> str:
    """`accept`, or the rule with its reply codes."""
    final = decision.final
    if final.reply is None:
        return str(final.action)
    return f"{final.rule} {final.reply.code} {final.reply.enhanced}"


# ---------------------------------------------------------------- strategies

_LOCALS = st.sampled_from(["zoe", "bob", "a.b", '"odd one"', INS, "12345", "secretariat"])
_DOMAINS = st.sampled_from(
    [OURS, THEIRS, UNLISTED, PATIENTS, INTEROP, "medical34.apicrypt.test", "cardio.cabinet-b.test"]
)
addresses = st.builds(lambda local, host: at(f"{local}@{host}"), _LOCALS, _DOMAINS)
boxes = st.builds(
    Bal,
    st.integers(0, 2**40).map(BalId),
    addresses,
    st.sampled_from(BalType),
    st.sampled_from(BalState),
    st.sampled_from(PersonState),
    st.none() | st.just(RPPS),
    st.none() | addresses,
)
_plain = st.builds(
    RecipientFacts,
    addresses,
    st.booleans(),
    st.booleans(),
    st.none() | boxes,
    st.none() | boxes,
    st.booleans(),
)
recipients = st.builds(
    lambda outer, inner, typed: replace(outer, target=inner, typed=typed),
    _plain,
    st.none() | _plain,
    st.none() | addresses,
)
principals = st.builds(
    Principal,
    st.integers(0, 9).map(AccountId),
    st.text(max_size=12),
    st.lists(boxes, max_size=3).map(tuple),
    st.none() | st.integers(1, 9),
)
operators = st.builds(
    lambda domains, crl: replace(OPERATOR, domains=domains, crl_number=crl),
    st.frozensets(_DOMAINS.map(Domain)),
    st.none() | st.integers(0, 2**70),
)
attachments = st.builds(
    Attachment,
    st.text(max_size=20),
    st.just("application/pdf"),
    st.integers(0, 50 << 20),
    st.lists(st.sampled_from(Trait), max_size=2).map(tuple),
)
_times = st.datetimes(timezones=st.just(UTC))
facts = st.builds(
    Facts,
    stage=st.sampled_from(Stage),
    door=st.sampled_from(Door),
    now=_times,
    sender=st.none() | addresses,
    operator=st.none() | operators,
    principal=st.none() | principals,
    acting=st.none() | boxes,
    sender_is_local=st.booleans(),
    recipients=st.lists(recipients, max_size=4).map(tuple),
    from_addresses=st.lists(addresses, max_size=3).map(tuple),
    sender_addresses=st.lists(addresses, max_size=1).map(tuple),
    size_octets=st.sampled_from([0, 1, 26_214_400, 26_214_401, 62_914_560, 62_914_561]),
    attachments=st.lists(attachments, max_size=4).map(tuple),
    list_date=st.none() | _times,
    malware=st.sampled_from(["", "Mssmtp.Test.UNOFFICIAL"]),
    wait_s=st.sampled_from([0, 1, 3600]),
)
