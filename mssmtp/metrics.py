"""Counters of the whole server (T21). No address, name or subject is ever a label.

With several workers prometheus_client keeps its values in files shared by the processes, and wants
to know that when it is imported, before any setting was read. Here a value lives in the process
until `share` moves it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import ClassVar, Protocol

from prometheus_client import Counter, Gauge, Histogram, values
from prometheus_client.mmap_dict import MmapedDict

logger = logging.getLogger(__name__)


class _Place(Protocol):
    """Where one number lives; prometheus_client's interface."""

    def inc(self, amount: float) -> None: ...
    def set(self, value: float, timestamp: float | None = None) -> None: ...
    def get(self) -> float: ...
    def set_exemplar(self, exemplar: object) -> None: ...
    def get_exemplar(self) -> object: ...


class _Value:
    """A number whose place can change once."""

    made: ClassVar[list[_Value]] = []

    def __init__(self, *names: object, **mode: object) -> None:
        self._names, self._mode = names, mode
        self._place: _Place = values.MutexValue(*names, **mode)  # type: ignore[no-untyped-call]
        _Value.made.append(self)

    def move(self, kind: type[_Place]) -> None:
        self._place = kind(*self._names, **self._mode)

    def inc(self, amount: float) -> None:
        self._place.inc(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        self._place.set(value, timestamp)

    def get(self) -> float:
        return self._place.get()

    def set_exemplar(self, exemplar: object) -> None:
        self._place.set_exemplar(exemplar)

    def get_exemplar(self) -> object:
        return self._place.get_exemplar()


values.ValueClass = _Value

_FILE_OCTETS = 1_048_576
"""Room for some 5,000 numbers; labels are few and known (T21)."""


class _ReservedFile(MmapedDict):
    """A file of shared numbers whose space on disk is taken when it is made.

    Touching a page for which a full disk has no room would kill the process (SIGBUS), and a full
    disk must refuse mail, not stop its reading (D9). Without that room the numbers of this process
    stay in its memory, where nobody adds them up.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        super().__init__(_reserved(filename), read_mode)  # type: ignore[no-untyped-call]


def _reserved(filename: str) -> str:
    try:
        with open(filename, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_OCTETS)
    except OSError as error:
        logger.error("metrics are not shared", extra={"why": error.strerror})
        Path(filename).unlink(missing_ok=True)  # an empty one could not be added up
        handle = os.memfd_create("metrics", os.MFD_CLOEXEC)
        os.ftruncate(handle, _FILE_OCTETS)
        return f"/proc/self/fd/{handle}"
    return filename


def share(directory: Path) -> None:
    """Keep every value in files of `directory` from now on, one per process. Call it once."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.MmapedDict = _ReservedFile  # type: ignore[attr-defined]
    shared: type[_Place] = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    values.ValueClass = shared
    for value in _Value.made:
        value.move(shared)
    _Value.made.clear()


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

connections = Counter("mssmtp_connections_total", "Connections opened", ["door"])
open_connections = Gauge(
    "mssmtp_open_connections", "Connections open now", ["door"], multiprocess_mode="livesum"
)
handshakes_failed = Counter("mssmtp_tls_handshakes_failed_total", "TLS handshakes failed", ["door"])
peers_refused = Counter("mssmtp_peers_refused_total", "Operators refused by trust", ["reason"])
accepted = Counter("mssmtp_messages_accepted_total", "Messages acknowledged", ["door"])
accepted_octets = Counter("mssmtp_message_octets_accepted_total", "Their octets", ["door"])
products = Counter(
    "mssmtp_product_messages_total",
    "Messages by the product that wrote them (X-MSS-NIL) and the X-MSS fields they have",
    ["product", "fields"],
)
refused = Counter("mssmtp_refusals_total", "Refusals given", ["door", "code", "rule"])
attachments = Counter(
    "mssmtp_attachments_total", "Attachments with a trait, of acknowledged messages", ["trait"]
)
scanned = Counter("mssmtp_scanned_total", "Messages the virus scanner was given", ["verdict"])
logins = Counter("mssmtp_logins_total", "Logins", ["door", "result"])
web_requests = Counter(
    "mssmtp_web_requests_total", "Requests of browsers by page and status", ["page", "status"]
)
imap_commands = Counter("mssmtp_imap_commands_total", "IMAP commands", ["verb", "result"])
delivered = Counter("mssmtp_deliveries_total", "Copies stored in a local box")
attempts = Counter("mssmtp_relay_attempts_total", "Outbound attempts per recipient", ["outcome"])
receipts = Counter(
    "mssmtp_receipts_total",
    "Recipients that reports told of, by kind of report, fate and cause; matched: to a sent letter",
    ["kind", "fate", "cause", "matched"],
)
notices = Counter("mssmtp_notices_total", "Service mail by kind and outcome", ["kind", "outcome"])
queue_recipients = Gauge(
    "mssmtp_queue_recipients", "Recipients waiting in the queue", multiprocess_mode="livemax"
)
commit_seconds = Histogram("mssmtp_commit_seconds", "Time of one group commit", buckets=_SECONDS)
commit_jobs = Histogram(
    "mssmtp_commit_jobs", "Jobs in one group commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
reactions = Counter(
    "mssmtp_reactions_total", "Letters that boxes wrote or passed on by themselves", ["kind"]
)
internal_errors = Counter("mssmtp_internal_errors_total", "Our own bugs, answered 451", ["room"])
whitelist_age_seconds = Gauge(
    "mssmtp_whitelist_age_seconds",
    "Time since the list's server gave a list that verified",
    multiprocess_mode="livemax",
)
whitelist_rows = Gauge(
    "mssmtp_whitelist_rows", "Rows of the list in force", multiprocess_mode="livemostrecent"
)
whitelist_held = Gauge(
    "mssmtp_whitelist_held", "1 while a list waits for a person", multiprocess_mode="livemax"
)
whitelist_rolled_back = Gauge(
    "mssmtp_whitelist_rolled_back", "1 while a rollback is in effect", multiprocess_mode="livemax"
)
whitelist_conflict = Gauge(
    "mssmtp_whitelist_conflict", "1 while two lists of one date exist", multiprocess_mode="livemax"
)
trust_failures = Counter(
    "mssmtp_trust_failures_total", "Lists and CRLs not obtained or refused", ["reason"]
)
own_certificate_seconds_left = Gauge(
    "mssmtp_own_certificate_seconds_left",
    "Time until the first certificate of ours ends",
    ["door"],
    multiprocess_mode="livemostrecent",
)
own_crl_seconds_left = Gauge(
    "mssmtp_own_crl_seconds_left",
    "Time until the first CRL that a certificate of ours names ends; old when it cannot be had",
    multiprocess_mode="livemostrecent",
)
introspections = Counter(
    "mssmtp_introspections_total",
    "Tokens of Pro Sante Connect and what is said of them",
    ["answer"],
)
ocsp_answers = Counter("mssmtp_ocsp_answers_total", "Answers of OCSP responders", ["verdict"])
crl_seconds_left = Gauge(
    "mssmtp_crl_seconds_left",
    "Time until the first CRL in force ends",
    # Not a minimum: the supervisor measures nothing, and its 0 would be an alarm for ever.
    multiprocess_mode="livemostrecent",
)
