"""What became of a letter, in one plain sentence for each recipient (SEED-78, OP-93)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mssmtp.explaining import sentence
from mssmtp.mail import EnvelopeId
from mssmtp.storage import EventKind, Step

AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.requirement("SEED-78", "OP-93", "CL-61")
@pytest.mark.parametrize(
    ("kind", "result", "cause", "detail", "said"),
    [
        ("remise", "", "", "", "Remis dans la boîte aux lettres."),
        ("relais", "delivered", "", "250 2.0.0 ok", "Transmis à l'opérateur du destinataire."),
        ("rejet", "failed", "", "550 5.1.1 no", "Pas remis : l'adresse est erronée ou inconnue"),
        ("rejet", "expired", "", "451 4.4.1 x", "Pas remis : l'opérateur du destinataire n'a pas"),
        ("rejet", "dropped", "", "essai", "Pas remis : l'exploitation l'a retiré"),
        ("rejet", "failed", "patient-closed", "", "Pas remis : le patient a fermé sa messagerie"),
        ("retard", "retry", "", "451 4.4.1 x", "Pas encore remis ; les essais continuent."),
        ("releve", "processed", "", "", "Relevé par le logiciel du destinataire"),
        ("releve", "error", "integration", "902", "Remis, mais le logiciel du destinataire"),
        ("lu", "displayed", "", "", "Lu par le destinataire."),
    ],
)
def test_every_outcome_has_one_plain_sentence(
    kind: EventKind, result: str, cause: str, detail: str, said: str
) -> None:
    told = sentence(Step("a@b.test", kind, result, cause, AT, detail))
    assert told.startswith(said)
    assert told.endswith(".")


def test_what_a_peer_relayed_further_is_told_as_such() -> None:
    step = Step("a@b.test", "relais", "relayed", "", AT, "", EnvelopeId("01TEST"))
    assert "qui ne confirme pas la remise" in sentence(step)
