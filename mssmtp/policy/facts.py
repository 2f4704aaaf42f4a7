"""Facts as octets and back, for sealing beside the message they decided.

JSON with short fixed keys and a version, absent when they have their default. Of the peer's
domains only those the decision can read are kept: a large operator has more than a thousand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias, TypeVar

from mssmtp.errors import BadAddress, MailError
from mssmtp.mail import (
    AccountId,
    Address,
    Attachment,
    Bal,
    BalId,
    BalState,
    BalType,
    DelegateRight,
    Domain,
    DomainState,
    Door,
    Facts,
    Operator,
    PersonState,
    Principal,
    Rdn,
    RecipientFacts,
    Stage,
    StructureId,
    Trait,
)

VERSION = 1

Json: TypeAlias = "None | bool | int | str | Sequence[Json] | Mapping[str, Json]"
T = TypeVar("T")


# Built once: json.dumps builds an encoder for every call with options.
_JSON = json.JSONEncoder(separators=(",", ":"))


class BadFacts(MailError):
    """Sealed facts that are not what this version writes."""


def condensed(facts: Facts) -> Facts:
    """`facts` without the domains of the peer that no rule can ask about."""
    if facts.operator is None:
        return facts
    kept = _readable(facts, facts.operator)
    return replace(facts, operator=replace(facts.operator, domains=kept))


def _readable(facts: Facts, operator: Operator) -> frozenset[Domain]:
    """Those of its domains that the decision can have read."""
    named = {a.domain for a in facts.from_addresses + facts.sender_addresses}
    named |= facts.shown_domains
    named |= {recipient.address.domain for recipient in facts.recipients}
    if facts.sender is not None:
        named.add(facts.sender.domain)
    return operator.domains & named


def facts_to_bytes(facts: Facts) -> bytes:
    """The octets of `condensed(facts)`, ASCII JSON."""
    operator = facts.operator
    tree: dict[str, Json] = {
        "v": VERSION,
        "stage": facts.stage,
        "door": facts.door,
        "now": facts.now.isoformat(),
        "sender": _text(facts.sender),
        "operator": None if operator is None else _operator(operator, _readable(facts, operator)),
        "principal": _principal(facts.principal),
        "acting": _bal(facts.acting),
        "sender_is_local": facts.sender_is_local,
        "recipients": [_recipient(each) for each in facts.recipients],
        "from": [str(each) for each in facts.from_addresses],
        "senders": [str(each) for each in facts.sender_addresses],
        "shown": sorted(facts.shown_domains),
        "size": facts.size_octets,
        "attachments": [_attachment(each) for each in facts.attachments],
        "list": facts.list_date.isoformat() if facts.list_date else None,
        "unlisted": [[domain, state] for domain, state in facts.own_unlisted],
        "malware": facts.malware or None,
        "wait": facts.wait_s,
    }
    return _JSON.encode(_sparse(tree)).encode("ascii")


def _attachment(attachment: Attachment) -> Json:
    told: list[Json] = [attachment.name, attachment.media_type, attachment.size_octets]
    return [*told, *attachment.traits]


def _sparse(tree: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in tree.items() if value or isinstance(value, str)}


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _bal(bal: Bal | None) -> Json:
    if bal is None:
        return None
    return _sparse(
        {
            "id": bal.id,
            "address": str(bal.address),
            "type": bal.type,
            "state": bal.state,
            "person": bal.person,
            "national_id": bal.national_id,
            "usual": _text(bal.usual_address),
            "structure": bal.structure,
            "waits": not bal.exchanges,
        }
    )


def _principal(principal: Principal | None) -> Json:
    if principal is None:
        return None
    lent = {bal.id: right for bal in principal.bals if (right := principal.lent(bal.id))}
    told: dict[str, Json] = {
        "account": principal.account,
        "login": principal.login,
        "bals": [_bal(each) for each in principal.bals],
        "app_password": principal.app_password,
    }
    if lent:  # only then can the decision have read it
        told["lent"] = [[bal, right] for bal, right in lent.items()]
        told["own"] = _text(principal.own)
    return told


def _operator(operator: Operator, domains: frozenset[Domain]) -> Json:
    return {
        "dn": [[rdn.type, rdn.value] for rdn in operator.dn],
        "dn_text": operator.dn_text,
        "serial": operator.serial,
        "issuer": operator.issuer_text,
        "domains": sorted(domains),
        "list": operator.list_date.isoformat(),
        "crl": operator.crl_number,
    }


def _recipient(recipient: RecipientFacts) -> Json:
    return _sparse(
        {
            "address": str(recipient.address),
            "local": recipient.is_local_domain,
            "listed": recipient.is_listed,
            "bal": _bal(recipient.bal),
            "usual_of": _bal(recipient.usual_of),
            "has_written": recipient.has_written,
            "target": None if recipient.target is None else _recipient(recipient.target),
            "typed": _text(recipient.typed),
            "full": recipient.is_full,
            "invited": recipient.is_invited,
        }
    )


class _Node:
    """A JSON object read strictly: a value of another type is BadFacts, an absent one a default."""

    def __init__(self, value: Json) -> None:
        if not isinstance(value, Mapping):
            raise BadFacts("not an object")
        self._values = value

    def text(self, key: str) -> str:
        return _as(str, self._values.get(key))

    def optional_text(self, key: str) -> str | None:
        value = self._values.get(key)
        return None if value is None else _as(str, value)

    def number(self, key: str) -> int:
        return _as(int, self._values.get(key, 0))

    def optional_number(self, key: str) -> int | None:
        value = self._values.get(key)
        return None if value is None else _as(int, value)

    def flag(self, key: str) -> bool:
        return _as(bool, self._values.get(key, False))

    def items(self, key: str) -> Sequence[Json]:
        value = self._values.get(key, [])
        if not isinstance(value, list):
            raise BadFacts(f"{key} is not a list")
        return value

    def node(self, key: str) -> _Node | None:
        value = self._values.get(key)
        return None if value is None else _Node(value)

    def address(self, key: str) -> Address | None:
        text = self.optional_text(key)
        return None if text is None else Address.parse(text)

    def addresses(self, key: str) -> tuple[Address, ...]:
        return tuple(Address.parse(_as(str, each)) for each in self.items(key))


def _as(kind: type[T], value: Json) -> T:
    # bool is an int in Python and must not pass for one here.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadFacts(f"not {kind.__name__}")
    return value


def facts_from_bytes(octets: bytes) -> Facts:
    """The facts `facts_to_bytes` wrote. Raises BadFacts, and nothing else, on other octets."""
    try:
        node = _Node(json.loads(octets))
        if node.number("v") != VERSION:
            raise BadFacts(f"version {node.number('v')}")
        return _facts(node)
    except (ValueError, RecursionError, BadAddress) as error:
        raise BadFacts(type(error).__name__) from error


def _facts(node: _Node) -> Facts:
    listed = node.optional_text("list")
    principal, operator = node.node("principal"), node.node("operator")
    return Facts(
        stage=Stage(node.text("stage")),
        door=Door(node.text("door")),
        now=datetime.fromisoformat(node.text("now")),
        sender=node.address("sender"),
        operator=None if operator is None else _read_operator(operator),
        principal=None if principal is None else _read_principal(principal),
        acting=_read_bal(node.node("acting")),
        sender_is_local=node.flag("sender_is_local"),
        recipients=tuple(_read_recipient(_Node(each)) for each in node.items("recipients")),
        from_addresses=node.addresses("from"),
        sender_addresses=node.addresses("senders"),
        shown_domains=frozenset(Domain(_as(str, each)) for each in node.items("shown")),
        size_octets=node.number("size"),
        attachments=tuple(_read_attachment(each) for each in node.items("attachments")),
        list_date=None if listed is None else datetime.fromisoformat(listed),
        own_unlisted=tuple(_read_unlisted(each) for each in node.items("unlisted")),
        malware=node.optional_text("malware") or "",
        wait_s=node.number("wait"),
    )


def _read_unlisted(value: Json) -> tuple[Domain, DomainState]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadFacts("unlisted")
    state: DomainState = "withdrawn" if value[1] == "withdrawn" else "requested"
    return Domain(_as(str, value[0])), state


def _read_attachment(value: Json) -> Attachment:
    if not isinstance(value, list) or len(value) < 3:
        raise BadFacts("attachment")
    traits = tuple(Trait(_as(str, each)) for each in value[3:])
    return Attachment(_as(str, value[0]), _as(str, value[1]), _as(int, value[2]), traits)


def _read_bal(node: _Node | None) -> Bal | None:
    if node is None:
        return None
    return Bal(
        id=BalId(node.number("id")),
        address=Address.parse(node.text("address")),
        type=BalType(node.text("type")),
        state=BalState(node.text("state")),
        person=PersonState(node.text("person")),
        national_id=node.optional_text("national_id"),
        usual_address=node.address("usual"),
        structure=_structure(node.optional_number("structure")),
        exchanges=not node.flag("waits"),
    )


def _structure(number: int | None) -> StructureId | None:
    return None if number is None else StructureId(number)


def _read_principal(node: _Node) -> Principal:
    bals = tuple(_read_bal(_Node(each)) for each in node.items("bals"))
    return Principal(
        account=AccountId(node.number("account")),
        login=node.text("login"),
        bals=tuple(bal for bal in bals if bal is not None),
        app_password=node.optional_number("app_password"),
        roles=dict(_read_lent(each) for each in node.items("lent")),
        own=node.address("own"),
    )


def _read_lent(value: Json) -> tuple[BalId, DelegateRight]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadFacts("lent")
    return BalId(_as(int, value[0])), DelegateRight(_as(str, value[1]))


def _read_operator(node: _Node) -> Operator:
    return Operator(
        dn=tuple(_read_rdn(each) for each in node.items("dn")),
        dn_text=node.text("dn_text"),
        serial=node.text("serial"),
        issuer_text=node.text("issuer"),
        domains=frozenset(Domain(_as(str, each)) for each in node.items("domains")),
        list_date=datetime.fromisoformat(node.text("list")),
        crl_number=node.optional_number("crl"),
    )


def _read_rdn(value: Json) -> Rdn:
    if not isinstance(value, list) or len(value) != 2:
        raise BadFacts("name")
    return Rdn(_as(str, value[0]), _as(str, value[1]))


def _read_recipient(node: _Node) -> RecipientFacts:
    target = node.node("target")
    return RecipientFacts(
        address=Address.parse(node.text("address")),
        is_local_domain=node.flag("local"),
        is_listed=node.flag("listed"),
        bal=_read_bal(node.node("bal")),
        usual_of=_read_bal(node.node("usual_of")),
        has_written=node.flag("has_written"),
        target=None if target is None else _read_recipient(target),
        typed=node.address("typed"),
        is_full=node.flag("full"),
        is_invited=node.flag("invited"),
    )
