"""The table of who may write to whom: what it grants, and what no change of it can do."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.config import LimitSettings
from mssmtp.config_policy import HabilitationSettings, PolicySettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Bal, BalState, BalType, PersonState, RecipientFacts, Stage
from mssmtp.policy import Engine
from mssmtp.policy.grants import SHIPPED, Table
from mssmtp.policy.matrix import markdown
from mssmtp.policy.tables import Tables
from tests.policy.samples import (
    ENGINE,
    INS,
    MARC,
    OURS,
    PATIENTS,
    POLICY,
    RPPS,
    SECRETARIAT,
    THEIRS,
    ZOE,
    box,
    outcome,
    received,
    submitted,
    to,
)

ENTITLED = "habilitation.trust-space 550 5.7.1"
BOXES = [
    box(
        INS if is_patient else "zoe",
        kind,
        PATIENTS if is_patient else OURS,
        person=person,
        national_id=number,
        exchanges=exchanges,
    )
    for kind, person, number, is_patient, exchanges in product(
        BalType, PersonState, (None, RPPS), (False, True), (False, True)
    )
]
RECIPIENTS = [
    *(
        to(f"r@{OURS}", bal=box("r", kind), has_written=w)
        for kind in BalType
        for w in (True, False)
    ),
    *(to(f"nobody@{OURS}", bal=None, has_written=w) for w in (True, False)),
    *(to(f"bob@{THEIRS}", has_written=w) for w in (True, False)),
    *(to(f"{INS}@{PATIENTS}", has_written=w) for w in (True, False)),
]


def _by_the_law(acting: Bal, recipient: RecipientFacts) -> bool:
    """Area E, "Rights by state", read as sentences and apart from the table (SEED-32, SEED-37)."""
    if acting.person is PersonState.PRE_REGISTERED:
        return False
    here, is_patient = recipient.is_local_domain, recipient.address.domain == PATIENTS
    if acting.address.domain == PATIENTS:  # OP-89
        return recipient.has_written and not is_patient
    if acting.person is PersonState.NOT_CERTIFIED:
        return here and recipient.has_written
    number_counts = acting.type is BalType.PER and acting.national_id is not None
    if acting.type in (BalType.ORG, BalType.APP, BalType.CAB):
        return True
    return (number_counts and acting.exchanges) or here  # SEED-27


@pytest.mark.requirement("SEED-32", "SEED-37", "DEF-08", "OP-89", "OP-94", "DEF-21")
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_the_shipped_table_is_the_law_in_every_case_there_is(stage: Stage) -> None:
    for acting, recipient in product(BOXES, RECIPIENTS):
        decision = ENGINE.decide(submitted(stage, acting, recipient))
        refused = any(
            v.rule == "habilitation.trust-space" and v.reply is not None for v in decision.verdicts
        )
        assert refused is not _by_the_law(acting, recipient), (acting, recipient)


@pytest.mark.requirement("SEED-32", "DEF-08")
def test_who_may_write_outside_without_being_asked_receives_from_there() -> None:
    for acting in BOXES:
        found = to(str(acting.address), bal=acting, is_local_domain=True)
        decision = ENGINE.decide(received(Stage.RECIPIENT, found))
        refused = any(v.rule == "recipient.exchange" and v.reply for v in decision.verdicts)
        may_write = _by_the_law(acting, to(f"bob@{THEIRS}", has_written=True))
        is_certified = acting.person is PersonState.CERTIFIED or acting.address.domain == PATIENTS
        assert refused is not (may_write and is_certified), acting


# ---------------------------------------------------------------- no surprises

_names = st.sampled_from(["a", "b", "c", "inside", "professionals", "services"])
lines = st.builds(
    lambda name, **given: HabilitationSettings(name=name, **given),
    _names,
    boxes=st.lists(st.sampled_from([*BalType, "patient"]), min_size=1, max_size=3).map(tuple),
    persons=st.lists(
        st.sampled_from([PersonState.NOT_CERTIFIED, PersonState.CERTIFIED]), min_size=1
    ).map(tuple),
    needs_number=st.booleans(),
    to=st.lists(st.sampled_from([*BalType, "here", "operators", "patients"]), max_size=3).map(
        tuple
    ),
    answers_only=st.booleans(),
    receives=st.booleans(),
)
tables = st.lists(lines, max_size=5, unique_by=lambda line: line.name).map(tuple)
boxes = st.sampled_from(BOXES)
recipients = st.sampled_from(RECIPIENTS)


def _table(*given: HabilitationSettings) -> Table:
    return Table.of(given, shipped=())


def _engine(*given: HabilitationSettings) -> Engine:
    return Engine(POLICY.model_copy(update={"habilitation": given}), LimitSettings())


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_the_order_of_the_lines_does_not_matter(
    given_lines: tuple[HabilitationSettings, ...], shuffle: random.Random
) -> None:
    mixed = list(given_lines)
    shuffle.shuffle(mixed)
    assert Table.of(mixed) == Table.of(given_lines)


@given(tables, lines)
@settings(max_examples=100)
def test_a_further_line_never_closes_and_one_less_never_opens(
    given_lines: tuple[HabilitationSettings, ...], further: HabilitationSettings
) -> None:
    before = [line for line in given_lines if line.name != further.name]
    fewer, more = _table(*before), _table(*before, further)
    assert fewer.open_cells <= more.open_cells
    assert fewer.receiving <= more.receiving


@given(boxes, recipients)
def test_without_a_line_nobody_writes_to_anybody(acting: Bal, recipient: RecipientFacts) -> None:
    nothing = _engine(*(line.model_copy(update={"to": ()}) for line in SHIPPED))
    assert outcome(nothing.decide(submitted(Stage.RECIPIENT, acting, recipient))) != "accept"


@given(tables, boxes, recipients, st.sampled_from([BalState.SUSPENDED, BalState.CLOSED]))
def test_no_line_opens_a_box_that_is_not_active_nor_an_account_that_is_not_finalised(
    given_lines: tuple[HabilitationSettings, ...],
    acting: Bal,
    recipient: RecipientFacts,
    state: BalState,
) -> None:
    engine = _engine(*given_lines)
    for shut in (replace(acting, state=state), replace(acting, person=PersonState.PRE_REGISTERED)):
        assert not engine.decide(submitted(Stage.RECIPIENT, shut, recipient)).is_accepted
    with pytest.raises(ValueError, match="finalised"):
        HabilitationSettings(name="x", boxes=("PER",), persons=(PersonState.PRE_REGISTERED,))


@given(tables, boxes, recipients)
def test_what_passes_is_granted_by_a_line_that_can_be_quoted(
    given_lines: tuple[HabilitationSettings, ...],
    acting: Bal,
    recipient: RecipientFacts,
) -> None:
    decision = _engine(*given_lines).decide(submitted(Stage.RECIPIENT, acting, recipient))
    said = [v for v in decision.verdicts if v.rule == "habilitation.trust-space"]
    assert len(said) == 1
    if said[0].reply is None:
        known = {line.name for line in (*SHIPPED, *given_lines)}
        assert said[0].because.removeprefix("line ").partition(":")[0] in known
    else:
        assert said[0].because.startswith("no line grants it")


# ---------------------------------------------------------------- changed by settings


def test_a_line_of_the_settings_takes_the_place_of_the_shipped_one() -> None:
    certified_med = to(f"bob@{THEIRS}")
    wider = HabilitationSettings(
        name="inside", boxes=("MED", "INT", "PER"), to=("here", "operators")
    )
    decision = _engine(wider).decide(submitted(Stage.RECIPIENT, MARC, certified_med))
    assert outcome(decision) == "accept"
    assert outcome(ENGINE.decide(submitted(Stage.RECIPIENT, MARC, certified_med))) == ENTITLED
    gone = HabilitationSettings(name="services", boxes=("ORG",), to=())
    assert (
        outcome(_engine(gone).decide(submitted(Stage.RECIPIENT, SECRETARIAT, to(f"r@{OURS}"))))
        == ENTITLED
    )
    assert outcome(_engine(gone).decide(submitted(Stage.RECIPIENT, ZOE, certified_med))) == "accept"


def test_two_lines_of_one_name_are_a_configuration_error() -> None:
    line = HabilitationSettings(name="inside", boxes=("MED",), to=("here",))
    with pytest.raises(ConfigError, match="inside"):
        Tables.of(PolicySettings(habilitation=(line, line)), LimitSettings(), ENGINE.moves)


def test_what_the_settings_open_beyond_the_shipped_table_can_be_told() -> None:
    wider = HabilitationSettings(name="more", boxes=("INT",), to=("operators",))
    assert Table.of(()).beyond() == ()
    (told,) = Table.of((wider,)).beyond()
    assert told == "INT, certified, to operators (line more)"


def test_the_document_shows_the_shipped_table() -> None:
    document = Path(__file__).resolve().parents[2] / "docs/habilitation.md"
    assert markdown(Table.of(())) in document.read_text("utf-8")
