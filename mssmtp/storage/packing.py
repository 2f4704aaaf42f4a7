"""A recipient as JSON values: how envelopes, the queue and invitations keep one."""

from __future__ import annotations

from mssmtp.mail import Address, Recipient


def packed_recipient(recipient: Recipient) -> dict[str, object]:
    """A recipient as JSON values."""
    notify = recipient.notify
    return {
        "address": str(recipient.address),
        "typed": None if recipient.typed is None else str(recipient.typed),
        "notify": None if notify is None else sorted(notify),
        "orcpt": recipient.orcpt,
    }


def unpacked_recipient(value: dict[str, object]) -> Recipient:
    """The inverse of `packed_recipient`."""
    typed, notify, orcpt = value["typed"], value["notify"], value["orcpt"]
    return Recipient(
        Address.parse(str(value["address"])),
        None if typed is None else Address.parse(str(typed)),
        frozenset(map(str, notify)) if isinstance(notify, list) else None,
        None if orcpt is None else str(orcpt),
    )
