"""Structured logs without patients: ids, sizes, verdicts and domains only."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

connection_id: ContextVar[str] = ContextVar("connection_id", default="")
"""Set by a door for the life of one connection; every line written under it carries it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# Built once: json.dumps builds an encoder for every call with options.
_JSON = json.JSONEncoder(ensure_ascii=True, default=str)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: peer text is a string value, never syntax (ATT-37)."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("mssmtp."),
            "event": record.getMessage(),
        }
        if connection := connection_id.get():
            line["connection"] = connection
        line.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's own text may quote peer octets: its class and place are enough.
            line["exception"] = record.exc_info[0].__name__
            line["where"] = _where(record)
        return _JSON.encode(line)


class SentenceFormatter(logging.Formatter):
    """A line for who typed a command: the event, then its facts."""

    def format(self, record: logging.LogRecord) -> str:
        facts = (f"{k}: {v}" for k, v in vars(record).items() if k not in _STANDARD)
        shown = ", ".join(facts)
        return f"mssmtp: {record.getMessage()}" + (f" ({shown})" if shown else "")


def _where(record: logging.LogRecord) -> str:
    trace = record.exc_info[2] if record.exc_info else None
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places[-6:])


def configure(level: str) -> None:
    """Send every record to standard error as JSON lines; cap the loggers that print mail octets."""
    # No line tells where in our code it was written: looking for that is a third of its cost.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiosmtpd writes message lines at DEBUG; aiosmtplib and asyncio may quote protocol lines.
    for name in ("mail.log", "mail.debug", "aiosmtplib", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
