"""The result of the matrix as a table: what each row asks for, and what was observed.

Every test says what it saw. In a normal run that must be what `docs/acceptance.md` holds; under
`python -m tests.acceptance` the table is written anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.acceptance.space import CASES, FAULTY, Case

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "acceptance.md"
WRITE = "MSSMTP_ACCEPTANCE"
"""Names the file that collects what the tests of a writing run have seen."""

Direction = Literal["inbound", "outbound"]
_NONE = "–"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `inbound`, `outbound`: what is asked for; – when nothing is."""

    row: str
    what: str
    inbound: str = _NONE
    outbound: str = _NONE

    @property
    def key(self) -> str:
        return f"{self.row} {self.what}"


_CODES = {
    "": "accept",
    "expired": "`554 5.7.5` expired",
    "not yet valid": "`554 5.7.5` not yet valid",
    "revoked": "`554 5.7.5` revoked",
    "chain": "`554 5.7.5` chain",
    "usage": "`554 5.7.5` usage",
    "weak": "`554 5.7.5` weak",
    "name not listed": "`554 5.7.1`",
    "name not of domain": "`550 5.7.1`",
}


def _of(case: Case) -> Line:
    return Line(
        case.row,
        case.what,
        _CODES[case.inbound],
        "no delivery" if case.outbound else "deliver",
    )


ALERTS = (
    "no certificate",
    "expired",
    "not yet valid",
    "revoked",
    "chain",
    "usage",
    "weak",
    "name not listed",
)
"""What `tls.refuse_in_handshake` ends the handshake for."""

NO_DELIVERY = "no delivery"
LIST_REFUSED = "list refused, previous kept"

LINES: tuple[Line, ...] = (
    *(_of(case) for case in CASES),
    Line("WT-07", "without TLS", "`530 5.7.0`", "never in clear"),
    *(
        Line("WT-09", f"healthy certificate for {each.domain}", "accept", "deliver")
        for each in FAULTY
    ),
    Line("WT-10", "generic, partner, Apicrypt and test domains", "accept", "deliver"),
    Line("WT-20", "one byte of a Nom", LIST_REFUSED),
    Line("WT-21", "no Signature", LIST_REFUSED),
    Line("WT-22", "another holder of the same authority", LIST_REFUSED),
    Line("WT-22", "pinned subject, new certificate", "list accepted, notice"),
    Line("WT-23", "two Signature", LIST_REFUSED),
    Line("WT-23", "second ListeDomaines", LIST_REFUSED),
    Line("WT-24", "older DateDeGeneration", LIST_REFUSED),
    Line("WT-25", "same date, other digest", "list refused, alarm"),
    Line("WT-26", "DTD", LIST_REFUSED),
    Line("WT-26", "entity expansion", LIST_REFUSED),
    Line("WT-26", "25 MiB", LIST_REFUSED),
    Line("WT-27", "signer expired", LIST_REFUSED),
    Line("WT-27", "signer revoked", LIST_REFUSED),
    Line("WT-28", "fetch failing 25 h", "mail flows, warning", "mail flows"),
    Line("WT-28", "fetch failing 73 h", "mail flows, alarm", "mail flows"),
    Line("WT-29", "SHA-1", LIST_REFUSED),
    Line("WT-29", "other canonicalisation", LIST_REFUSED),
    Line("WT-29", "extra transform", LIST_REFUSED),
    Line("WT-30", "CRL past nextUpdate, server down", "`451 4.7.5`", "defer"),
    Line("WT-31", "CRL server down, cache fresh", "accept", "deliver"),
    Line("WT-32", "TLS 1.1", "handshake fails", NO_DELIVERY),
    Line("WT-34", "domain of operator A, certificate of operator B", "`550 5.7.1`"),
    Line("WT-35", "parent listed, sub-domain not", "`550 5.7.1`", "refused at submission"),
    Line("WT-36", "MAIL FROM in upper case", "accept"),
    Line("WT-36", "trailing dot", "`501 5.1.7`"),
    Line("WT-37", "null sender, listed name", "accept"),
    Line("WT-37", "null sender, unlisted name", "`554 5.7.1`"),
    Line("WT-38", "a report that cannot be delivered", "no new report", "no new report"),
    Line("WT-38", "a receipt that asks for a receipt", "no new report", "no new report"),
    Line("WT-39", "command in clear behind STARTTLS", "connection closed, nothing executed"),
    Line("WT-40", "LF . LF", "one message or `550 5.6.0`"),
    Line("WT-40", "CR . CR", "one message or `550 5.6.0`"),
    Line("WT-40", "CR LF . LF", "one message or `550 5.6.0`"),
    Line("WT-40", "lines that begin with dots", "byte-identical", "dot-stuffing correct"),
    Line("WT-41", "certificate renewed, same name", "session continues, next accepted", "same"),
    Line("WT-42", "two names, one certificate revoked", "the other accepted", "other MX used"),
    Line("WT-43", "domain removed, 100 messages queued", _NONE, "100 DSN naming the cause"),
    Line("WT-43", "domain listed with another name", _NONE, "retried"),
    Line("WT-43", "domain removed, move announced", _NONE, "held"),
    Line("OP-34", "domain removed, session open", "`550 5.7.1` at the next MAIL"),
    Line("OP-34", "name removed, session open", "`554 5.7.1` at the next MAIL"),
    Line("OP-08", "revoked during a session", "`554 5.7.5` at the next MAIL"),
    Line("WT-44", "no EKU, setting pki.require_eku", "`554 5.7.5` usage", NO_DELIVERY),
    Line("WT-45", "test and production anchors together", "refusal to start"),
    Line("WT-46", "From of another operator's domain", "`550 5.7.1`"),
    Line("WT-47", "X-MSS-* order, case, folding", "byte-identical", "byte-identical"),
    Line("WT-48", "40 Mo of attachments", "accept"),
    Line("WT-48", "SIZE limit + 1", "`552 5.3.4`"),
    Line("WT-48", "SIZE of the peer smaller", _NONE, "DSN `5.3.4`, no DATA"),
    Line("§6 in 2", "no certificate", "`554 5.7.0`"),
    Line("§6 in 4", "no list ever accepted", "`451 4.7.5`", "defer"),
    Line("§6 in 7", "sender domain not listed", "`550 5.7.1`"),
    Line("§6 in 9", "recipient domain not ours", "`550 5.7.1`"),
    Line("§6 in 10", "recipient unknown", "`550 5.1.1`"),
    Line("§6 in 10", "recipient closed", "`550 5.2.1`"),
    Line("§6 in 10", "recipient suspended", "`450 4.2.1`"),
    Line("§6 in 12", "all passed", "`250`, trace names list date and CRL number"),
    Line("§6 out 0", "usual address of a known account", _NONE, "its BAL, no further step"),
    Line("§6 out 1", "domain not listed", _NONE, "refused at submission"),
    Line("§6 out 2", "no MX, no host", _NONE, "defer `4.4.3`"),
    Line("§6 out 3", "no STARTTLS for an hour", _NONE, "alarm"),
    Line("§6 out 5", "several MX, one bad of each kind", _NONE, "next MX"),
    Line("§6 out 7", "peer refuses 5xx", _NONE, "DSN with the peer's text"),
    Line("§6 out 8", "delivered", _NONE, "trace"),
    Line("§7", "certificate refused for 48 h", _NONE, "DSN naming 4.7.5"),
    *(
        Line("§7", f"refused in the handshake: {each}", "alert, same reason in the log")
        for each in ALERTS
    ),
    Line("§7", "refused in the handshake: name not of domain", "`550 5.7.1`"),
    Line("DEF-01", "a domain of ours not listed yet", "deferred", "refused at submission"),
    Line("OP-101", "served here from a date that is near", "deferred until then"),
    Line("OP-101", "served here from a date that is far", "refused, naming it", "to its operator"),
    Line("OP-101", "served here, the date has come", "accept"),
    Line("OP-101", "forward only, until a date", "accept", "to the other operator listed"),
    Line("OP-101", "forward only, box unknown", "`550 5.1.1`"),
    Line("OP-101", "forward only, the date has passed", "refused, naming it"),
    Line("OP-101", "handed on by the operator it comes from", "accept"),
)


@dataclass
class Table:
    """What was committed, and where what is seen now goes."""

    committed: Mapping[str, tuple[str, str]] = field(default_factory=lambda: read())

    def saw(self, row: str, what: str, direction: Direction, text: str) -> None:
        """A test has seen `text`. In a normal run it has to be what the table says."""
        line = next(each for each in LINES if (each.row, each.what) == (row, what))
        assert getattr(line, direction) != _NONE, f"{line.key}: nothing is asked {direction}"
        if target := os.environ.get(WRITE):
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(json.dumps([line.key, direction, text]) + "\n")
            return
        index = 0 if direction == "inbound" else 1
        assert self.committed.get(line.key, ("", ""))[index] == text, (
            f"docs/acceptance.md says otherwise of {line.key} ({direction}):"
            " run python -m tests.acceptance"
        )


def read() -> dict[str, tuple[str, str]]:
    """Observations of the committed table, (inbound, outbound) by row and case."""
    found = {}
    for text in DOCUMENT.read_text("utf-8").splitlines() if DOCUMENT.exists() else ():
        cells = [cell.strip() for cell in text.strip().strip("|").split(" | ")]
        if text.startswith("| ") and len(cells) == 6 and cells[0] != "Row":
            found[f"{cells[0]} {cells[1]}"] = (cells[3], cells[5])
    return found


def order(line: Line) -> tuple[bool, str]:
    """The numbered rows first, by number."""
    beyond = not line.row.startswith("WT-")
    return beyond, "" if beyond else line.row


def render(seen: Mapping[tuple[str, str], str]) -> str:
    """The document. Raises KeyError for a line of which nothing was seen."""
    rows = [
        "| Row | Case | Inbound, asked for | Inbound, observed | Outbound, asked for"
        " | Outbound, observed |",
        "|---|---|---|---|---|---|",
    ]
    for line in sorted(LINES, key=order):
        cells = [line.row, line.what]
        for direction in ("inbound", "outbound"):
            asked = getattr(line, direction)
            cells += [asked, _NONE if asked == _NONE else seen[line.key, direction]]
        rows.append(f"| {' | '.join(cells)} |")
    return f"{_HEAD}\n" + "\n".join(rows) + "\n"


_HEAD = """# Acceptance matrix

Written by `python -m tests.acceptance` from what its run has observed; every test of
`tests/acceptance` compares its line again. Real TLS on loopback: foreign clients with these
certificates at our operator door, our relay before servers that present them; list and CRLs come
over HTTPS. Rows WT-… are those of the acceptance matrix; rows named after a requirement or an
attack (ATT-15 names, ATT-16 chains) are beyond it; "§6 in 7" is step 7 of the inbound decision
table, "§7" its refusals. Every faulty domain is listed twice, with its
own name and with the healthy one of WT-09. "Logged" is the reason in the log, beside the serial
number; an outbound refusal comes before MAIL, is an alarm, and becomes a DSN after 48 hours.
"""
