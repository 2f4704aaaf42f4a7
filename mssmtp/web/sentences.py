"""A trace as a person reads it: a text of `acts.toml` and what stands in it (SEED-48).

Traces are written in several rooms, in words that are kept for years; what none of the patterns
knows is told by its kind, and nothing of a trace is shown that is not said by its sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from mssmtp import local_time
from mssmtp.admin.operation import Row

_WHENCE = r"(?:, depuis (?P<address>\S+))?"
_PATTERNS: Mapping[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    kind: tuple((re.compile(pattern + r"\Z", re.DOTALL), key) for pattern, key in found)
    for kind, found in {
        "login": (
            (r"messagerie, appareil (?P<what>.+?)" + _WHENCE, "login_device"),
            (r"messagerie, mot de passe d'application" + _WHENCE, "login_mail"),
            (r"messagerie, certificat (?P<what>.+)", "login_certificate"),
            (r"messagerie, jeton Pro Santé Connect, (?P<what>.+)", "login_token"),
            (r"portail, code" + _WHENCE, "login_portal"),
            (r"portail, mot de passe" + _WHENCE, "login_password"),
            (r"portail, (?P<what>.+?)" + _WHENCE, "login_identity"),
        ),
        "send": (
            (r"\S+ from (?P<what>\S+), (?P<count>\d+) recipients.*", "send"),
            (r"\S+ from (?P<what>\S+) \(on behalf\), (?P<count>\d+) recipients.*", "send_behalf"),
        ),
        "read": (
            (r"lu (?P<count>\d+) messages", "read_seen"),
            (r"releve (?P<count>\d+) messages", "read_fetched"),
        ),
        "delete": (
            (r"EXPUNGE mailbox .*", "delete_letters"),
            (r"DELETE mailbox .*", "delete_folder"),
        ),
        "account": (
            (r"activation", "account_activation"),
            (r"adresse confirmée, (?P<count>\d+) enveloppes", "account_confirmed"),
            (r"certification demandée", "account_request"),
            (r"lien demandé", "account_link"),
            (r"mot de passe remplacé", "account_password"),
            (r"identité liée : (?P<what>.+)", "account_bound"),
            (r"session fermée", "account_session"),
            (r"toutes les sessions fermées", "account_sessions"),
            (r"(script .*|no script active)", "account_script"),
            (r"close: a year without activity", "account_idle"),
        ),
        "cloud-relay": (
            (r"relais de messagerie \((?P<what>.*)\), adresse (?P<address>\S+)", "cloud"),
        ),
    }.items()
}
_RIGHT = re.compile(
    r"(?P<kind>delegation|handover|break-glass) (?P<done>given|ended): (?P<what>\S+) may"
    r" (?P<right>read|reply|send) in (?P<box>\S+), until (?P<until>[^;]+)(?:; (?P<reason>.*))?\Z",
    re.DOTALL,
)
_OPERATION = re.compile(r"(?P<name>[a-z][a-z.-]+)(?::? (?P<given>.*))?\Z", re.DOTALL)
_ROLE = re.compile(r" \((opérateur|région|structure|titulaire)[^()]*\)\Z")
_OBJECTS = ("device", "person", "application", "new_address", "role", "number", "id")
"""Fields of an operation, of which the first is told."""
_COUNTED = re.compile(r"(\d+) messages\Z")
ROLES = {"opérateur": "operator", "région": "region", "structure": "structure", "titulaire": "me"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """`key` is of `acts`; the rest stands beside it where it is not ""."""

    key: str
    places: Mapping[str, str] = field(default_factory=dict)
    what: str = ""
    address: str = ""
    right: str = ""
    reason: str = ""


def operation_key(name: str) -> str:
    """The text that tells of an operation."""
    return "op_" + re.sub(r"[.-]", "_", name)


def sentence(found: Row, known: Mapping[str, str], zone: tzinfo) -> Sentence:
    """What was done. `known`: the texts there are; `zone`: the reader's clock."""
    kind, request = str(found["action"]), str(found["request"])
    if kind == "administration":
        return _of_operation(request, known)
    if kind in ("rights", "break-glass"):
        return _of_right(request, zone)
    for pattern, key in _PATTERNS.get(kind, ()):
        told = pattern.match(request)
        if told is not None:
            parts = {name: value or "" for name, value in told.groupdict().items()}
            counted = _COUNTED.match(str(found["answer"]))
            if counted:
                parts["count"] = counted[1]
            places = {"count": parts["count"]} if "count" in parts else {}
            return Sentence(key, places, parts.get("what", ""), parts.get("address", ""))
    return Sentence("other")


def author(found: Row) -> tuple[str, str]:
    """Who did it, and in which office; "" for a person with a login of the own."""
    name = str(found["author"])
    role = _ROLE.search(name)
    if role is not None:
        return name[: role.start()], ROLES[role[1]]
    return name, "" if "@" in name else "administration"


def is_refused(found: Row) -> bool:
    """It was tried and not done."""
    return bool(re.match(r"refus|[45]\d\d ", str(found["answer"])))


def _of_right(request: str, zone: tzinfo) -> Sentence:
    told = _RIGHT.match(request)
    if told is None:
        return Sentence("other")
    key = f"{told['kind'].replace('-', '_')}_{told['done']}"
    until = local_time.told(told["until"])
    shown = told["until"] if until is None else local_time.moment(until, zone)
    places = {"box": told["box"], "until": shown}
    if told["until"] == "retrait":
        key, places = f"{key}_open", {"box": told["box"]}
    return Sentence(key, places, told["what"], "", told["right"], told["reason"] or "")


def _of_operation(request: str, known: Mapping[str, str]) -> Sentence:
    told = _OPERATION.match(request)
    key = "other" if told is None else operation_key(told["name"])
    if told is None or f"acts.{key}" not in known:
        return Sentence("other")
    return Sentence(key, {}, _object(told["given"] or ""))


def _object(text: str) -> str:
    try:
        given = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(given, dict):
        return ""
    return next((str(given[name]) for name in _OBJECTS if name in given), "")
