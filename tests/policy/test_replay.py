"""A letter asked about again fares as it did, rewrites included."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mssmtp.config import LimitSettings
from mssmtp.config_policy import HabilitationSettings
from mssmtp.mail import Bal, RecipientFacts, Stage
from mssmtp.policy import Engine, facts_from_bytes, facts_to_bytes
from mssmtp.policy.replay import in_short, replayed
from tests.policy.samples import ENGINE, INTEROP, OURS, POLICY, THEIRS, ZOE, box, submitted, to

NATIVE = to("jean@medical69.apicrypt.test", target=to(f"jean@{INTEROP}"))
BY_USUAL = RecipientFacts(
    ZOE.usual_address or ZOE.address, is_local_domain=False, is_listed=False, usual_of=ZOE
)
RECIPIENTS = [to(f"a@{OURS}"), to(f"bob@{THEIRS}"), NATIVE, BY_USUAL]
AUTHORS = [ZOE, box("secretariat", ZOE.type.ORG), box("marc", ZOE.type.MED)]


@given(st.sampled_from(AUTHORS), st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=3))
def test_what_was_decided_is_decided_again(author: Bal, to_: list[RecipientFacts]) -> None:
    asked = [ENGINE.decide(submitted(Stage.RECIPIENT, author, each)) for each in to_]
    settled = [one.facts.recipients[0] for one in asked]
    first = next((one for one in asked if not one.is_accepted), None)
    final = first or ENGINE.decide(submitted(Stage.CONTENT, author, *settled))
    kept = facts_from_bytes(facts_to_bytes(submitted(Stage.CONTENT, author, *settled)))
    again = replayed(ENGINE, kept)
    assert again.final.reply == final.final.reply
    if first is None:
        assert [r.address for r in again.facts.recipients] == [r.address for r in settled]


def test_a_change_that_bites_at_the_recipient_is_seen() -> None:
    kept = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"))
    line = HabilitationSettings(name="professionals", boxes=("PER",), to=("here",))
    narrower = Engine(POLICY.model_copy(update={"habilitation": (line,)}), LimitSettings())
    assert in_short(replayed(ENGINE, kept)) == "accept"
    decision = replayed(narrower, kept)
    assert decision.facts.stage is Stage.RECIPIENT
    assert in_short(decision) == "habilitation.trust-space 550 5.7.1"
    refused_early = replace(kept, acting=replace(ZOE, state=ZOE.state.CLOSED))
    assert replayed(ENGINE, refused_early).facts.stage is Stage.SENDER
