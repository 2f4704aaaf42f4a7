"""One call from its octets to its octets, whichever way it came: socket, TLS or the own process."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from mssmtp.admin.authority import Conflict, Denied, Unknown, has_level, unknown
from mssmtp.admin.operation import Answer, Office, Operation, Row, leave_trace
from mssmtp.admin.table import BY_NAME, OPERATIONS
from mssmtp.errors import ConfigError, MailError
from mssmtp.mail import Actor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """`status` as HTTP has it; `body` is JSON: the answer, or `what`, `why` and `remedy`."""

    status: int
    body: bytes


def answer(office: Office, actor: Actor, name: str, body: bytes) -> Answered:
    """Perform the operation `name`. Raises only what is a bug of ours.

    200 done · 400 wrong input · 403 not of this level · 404 nothing of that name within reach ·
    409 refused as things are · 503 the store cannot now.
    """
    try:
        said = perform(office, actor, name, body)
    except ConfigError as error:
        return refusal(error)
    return Answered(200, octets(said))


def perform(office: Office, actor: Actor, name: str, body: bytes) -> Answer:
    """The same for who speaks no JSON over a wire, as the pages. Raises ConfigError."""
    found = BY_NAME.get(name)
    if found is None:
        raise unknown(name)
    try:
        return found.start(office, actor, body)
    except ConfigError as error:
        if found.changes or isinstance(error, Denied | Unknown):
            _trace_refusal(office, actor, found, body, error)
        raise


def _trace_refusal(
    office: Office, actor: Actor, asked: Operation, body: bytes, error: ConfigError
) -> None:
    """What was tried and not done is traced too, in a commit of its own (OP-72)."""
    answer = f"refusé : {error.why}"
    said = asked.told(body)
    try:
        office.store.write(
            lambda writing: leave_trace(writing, actor, asked.name, said, answer)
        ).result()
    except MailError as trouble:
        # The refusal stands; the store that cannot be written has told its operator already.
        logger.error("a refusal was not traced", extra={"why": type(trouble).__name__})


def listed(actor: Actor) -> Answered:
    """What `actor` may ask for, with the JSON schema of each input."""
    rows: list[Row] = [
        {
            "name": each.name,
            "changes": each.changes,
            "meaning": each.meaning,
            "input": each.input.model_json_schema(),
        }
        for each in OPERATIONS
        if has_level(actor, each.level)
    ]
    return Answered(200, octets(rows))


def refusal(error: ConfigError) -> Answered:
    """An error as it is answered."""
    row: Row = {"what": error.what, "why": error.why, "remedy": error.remedy}
    return Answered(_status(error), octets(row))


def _status(error: ConfigError) -> int:
    if isinstance(error, Conflict):
        return 503 if error.is_temporary else 409
    return 403 if isinstance(error, Denied) else 404 if isinstance(error, Unknown) else 400


def octets(said: Answer) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(said, ensure_ascii=False).encode()
