"""Who may use this reverse-path: the login's own boxes, the peer's own domains."""

from __future__ import annotations

from mssmtp.mail import Address, Bal, BalState, Door, Facts, PersonState, Principal, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import INTERNAL, OPERATOR, SUBMISSION, Rule, accept, refuse
from mssmtp.policy.tables import Tables

_ASKED = frozenset({Stage.SENDER})


def boxes_acted_in(facts: Facts) -> tuple[Bal, ...]:
    """The boxes whose rights this message uses, in no particular order.

    The box of the reverse-path and, at CONTENT, every box From and Sender name: who may send as
    an ORG box must not reach another operator under the own MED address (SEED-32, ATT-42). With a
    null reverse-path (an MDN, messages.md §4) From alone tells, at CONTENT. On behalf of a holder
    Sender only says who wrote: the rights are those of the holder's box (DEF-12).
    """
    boxes: dict[Address, Bal] = {}
    if facts.acting is not None:
        boxes[facts.acting.address] = facts.acting
    if facts.principal is not None:
        writers = () if on_behalf(facts) else facts.sender_addresses
        named = (facts.sender, *facts.from_addresses, *writers)
        for address in named:
            box = facts.principal.acting_in(address) if address is not None else None
            if box is not None and box.address not in boxes:
                boxes[box.address] = box
    return tuple(boxes.values())


def on_behalf(facts: Facts) -> tuple[Bal, ...]:
    """Boxes that From names and that are lent to the login: it writes for their holders."""
    principal = facts.principal
    if principal is None or not principal.roles:
        return ()
    boxes = (principal.acting_in(address) for address in facts.from_addresses)
    return tuple(box for box in boxes if box is not None and principal.lent(box.id))


def candidates(facts: Facts) -> tuple[Bal, ...]:
    """The boxes a null reverse-path may still turn out to act in, before From is known."""
    if facts.sender is None and facts.stage is not Stage.CONTENT and facts.principal is not None:
        return facts.principal.bals
    return ()


def _bound(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.principal is None:
        return None
    if facts.sender is None:
        return accept("sender.bound", "null reverse-path of a login; From decides (MDN)")
    box = facts.principal.acting_in(facts.sender)
    shown = tables.shown(facts.sender)
    if box is None and facts.door is Door.GATEWAY:
        because = f"{shown} is no box behind {facts.principal.login}"
        return refuse("sender.bound", refusals.SENDER_NOT_BEHIND.reply(address=shown), because)
    if box is None or (facts.acting is not None and facts.acting.address != box.address):
        owned = _owned(facts.principal, tables)
        return refuse(
            "sender.bound",
            refusals.SENDER_UNBOUND.reply(),
            f"{shown} is not a box of the login, which has {owned}",
        )
    return accept("sender.bound", f"{shown} is the login's {box.type} box")


def _owned(principal: Principal, tables: Tables) -> str:
    return ", ".join(tables.shown(box.address) for box in principal.bals) or "none"


def _operator(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.operator is None:
        return None
    if facts.sender is None:
        return accept("sender.operator", "null reverse-path from a listed peer (OP-14)")
    domain = facts.sender.domain
    if domain in facts.operator.domains:
        return accept("sender.operator", f"{domain} is listed for the peer's certificate")
    return refuse(
        "sender.operator",
        refusals.SENDER_FOREIGN.reply(),
        f"{domain} is not listed for {facts.operator.dn_text}",
    )


def _internal(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.sender is None or facts.sender_is_local:
        return accept("sender.internal", "made by this server")
    return refuse(
        "sender.internal",
        refusals.SENDER_NOT_OURS.reply(),
        f"{tables.shown(facts.sender)} is outside the domains served here",
    )


def _not_yet(facts: Facts, tables: Tables) -> Verdict | None:
    """OP-101: two operators at once would be two half mailboxes."""
    if facts.sender is None:
        return None
    domain = facts.sender.domain
    coming = tables.moves.coming_at(domain, facts.now)
    if coming is None:
        return None
    reply = refusals.SENDER_NOT_YET.reply(domain=domain, date=tables.moves.shown(coming))
    return refuse("sender.not-yet", reply, f"{domain} is served here from {coming:%Y-%m-%d}")


def _rate(facts: Facts, tables: Tables) -> Verdict | None:
    """A box that was taken over, or a program gone wild, reaches few before somebody looks."""
    if not facts.wait_s:
        return None
    minutes = str(-(-facts.wait_s // 60))
    box = facts.acting.address if facts.acting is not None else facts.sender
    because = f"{tables.shown(box)} has written to too many; {facts.wait_s} s to wait"
    return refuse("sender.rate", refusals.SENDER_TOO_FAST.reply(minutes=minutes), because)


def _state(facts: Facts, tables: Tables) -> Verdict | None:
    for box in boxes_acted_in(facts):
        shown = tables.shown(box.address)
        if box.state is BalState.CLOSED:
            return refuse("bal.state", refusals.BOX_CLOSED.reply(), f"{shown} is closed")
        if box.state is BalState.SUSPENDED:
            return refuse("bal.state", refusals.BOX_SUSPENDED.reply(), f"{shown} is suspended")
        if box.person is PersonState.PRE_REGISTERED:
            because = f"the holder of {shown} is pre-registered"
            return refuse("bal.state", refusals.BOX_PRE_REGISTERED.reply(), because)
    return None


RULES = (
    Rule("sender.bound", ("OP-86", "ATT-42"), _ASKED, SUBMISSION, _bound, must=True, grants=True),
    Rule("sender.operator", ("OP-10", "OP-14"), _ASKED, OPERATOR, _operator, grants=True),
    Rule("sender.internal", ("OP-19",), _ASKED, INTERNAL, _internal, grants=True),
    Rule("sender.rate", ("OP-86",), frozenset({Stage.RECIPIENT}), SUBMISSION, _rate),
    Rule("sender.not-yet", ("OP-101",), _ASKED, SUBMISSION, _not_yet),
    Rule(
        "bal.state",
        ("OP-50", "SEED-37"),
        frozenset({Stage.SENDER, Stage.RECIPIENT, Stage.CONTENT}),
        SUBMISSION,
        _state,
        must=True,
    ),
)
