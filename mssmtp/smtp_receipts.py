"""A report that comes in for a box of ours: its beginning is kept while it passes, and what it says
is written into the ledger of the letter it is about, in the commit that delivers it.

The report itself is delivered as any mail, unchanged (OP-64). Who brings it decides what it may
speak of (ATT-44): an operator of recipients in the domains listed for its certificate, a hospital's
server of boxes behind it, somebody who has logged in here of reading, and of his own boxes only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from mssmtp import metrics, receipts
from mssmtp.mail import Address, BalId, Door, EnvelopeId
from mssmtp.receipts import Cause, Fate, Report, Told
from mssmtp.smtp.transaction import Transaction
from mssmtp.storage import EventKind, Receipt, Writing, by_envid, by_message_id

_EVENTS: dict[Fate, EventKind] = {
    Fate.DELIVERED: "remise",
    Fate.RELAYED: "relais",
    Fate.EXPANDED: "remise",
    Fate.DELAYED: "retard",
    Fate.FAILED: "rejet",
    Fate.PROCESSED: "releve",
    Fate.DISPATCHED: "releve",
    Fate.DELETED: "releve",
    Fate.ERROR: "releve",
    Fate.DISPLAYED: "lu",
}

Vouched = Callable[[Address], bool]


def incoming(
    header: bytes, transaction: Transaction, patient_domains: Collection[str]
) -> Incoming | None:
    """What will keep the message with this header, if it may be a report."""
    if not receipts.may_be_report(header, patient_domains):
        return None
    return Incoming(transaction, patient_domains)


class Incoming:
    """One message that may be a report. `feed` it, `read` it, `record` it in the job of its commit,
    `count` it after."""

    def __init__(self, transaction: Transaction, patient_domains: Collection[str]) -> None:
        self._transaction, self._domains = transaction, patient_domains
        self._octets = bytearray()
        self._report: Report | None = None
        self._found: list[tuple[Told, bool]] = []

    def feed(self, octets: bytes) -> None:
        """The next octets; what is beyond the bound is let pass."""
        room = receipts.READ_OCTETS - len(self._octets)
        if room > 0:
            self._octets += octets[:room]

    def read(self) -> None:
        """The content has ended: see what it says."""
        report = receipts.read(bytes(self._octets), self._domains)
        self._octets.clear()
        is_server = self._transaction.door in (Door.OPERATOR, Door.GATEWAY)
        if report is not None and (is_server or report.kind == "mdn"):
            self._report = report

    def record(self, writing: Writing, boxes: Iterable[BalId], envelope: EnvelopeId) -> None:
        """Tell the ledgers of letters from the boxes it is for, here or at a hospital's server."""
        report, self._found = self._report, []
        if report is None:
            return
        names = [by_envid(report.envid)] if report.envid else []
        names += [by_message_id(each) for each in report.message_ids]
        by_receipt = {self._receipt(one): one for one in report.told}
        for bal in dict.fromkeys(boxes):
            new = writing.receive(bal, names, by_receipt, self._vouched, envelope)
            is_known = new is not None
            counted = list(by_receipt) if new is None else new
            self._found += [(by_receipt[each], is_known) for each in counted]

    def count(self) -> None:
        """It is committed: causes are counted apart, people never (T21)."""
        if self._report is None:
            return
        for told, is_known in self._found:
            labels = (self._report.kind, told.fate.value, told.cause.value)
            metrics.receipts.labels(*labels, "yes" if is_known else "no").inc()

    def _vouched(self, address: Address) -> bool:
        operator, principal = self._transaction.operator, self._transaction.principal
        relayed = self._transaction.gateway
        if operator is not None:
            return address.domain in operator.domains
        if relayed is not None:
            return address.domain in relayed.domains
        return principal is not None and principal.acting_in(address) is not None

    def _receipt(self, told: Told) -> Receipt:
        return Receipt(
            _EVENTS[told.fate],
            told.fate.value,
            told.cause.value,
            self._named_here(told.final),
            self._named_here(told.original),
            told.detail,
        )

    def _named_here(self, address: Address | None) -> Address | None:
        """Inside a report a hospital's server names its people by their usual addresses."""
        relayed = self._transaction.gateway
        if relayed is None or address is None:
            return address
        return relayed.aliases.outward(address) or address


def failures(replies: Mapping[Address, str], patient_domains: Collection[str]) -> list[Receipt]:
    """DEF-18: recipients whom an accepted letter does not go to, by what we said of each."""
    found = []
    for address, reply in replies.items():
        cause = receipts.cause_in(reply)
        if cause is Cause.TOO_LARGE and address.domain in patient_domains:
            cause = Cause.PATIENT_TOO_LARGE
        found.append(Receipt("rejet", Fate.FAILED.value, cause.value, address, None, reply))
    return found
