"""Every operation there is, by name: what the doors serve and the matrix shows (ATT-38)."""

from __future__ import annotations

from mssmtp.admin import (
    activations,
    activity,
    administrators,
    boxes,
    certificates,
    confirming,
    delegations,
    devices,
    domains,
    identities,
    lifecycle,
    loading,
    making_boxes,
    members,
    notifications,
    persons,
    resets,
    structures,
    suspensions,
    wordings,
)
from mssmtp.admin.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *activations.OPERATIONS,
    *administrators.OPERATIONS,
    *boxes.OPERATIONS,
    *loading.OPERATIONS,
    *making_boxes.OPERATIONS,
    *members.OPERATIONS,
    *suspensions.OPERATIONS,
    *certificates.OPERATIONS,
    *structures.OPERATIONS,
    *domains.OPERATIONS,
    *persons.OPERATIONS,
    *activity.OPERATIONS,
    *identities.OPERATIONS,
    *devices.OPERATIONS,
    *wordings.OPERATIONS,
    *delegations.OPERATIONS,
    *notifications.OPERATIONS,
    *confirming.OPERATIONS,
    *resets.OPERATIONS,
    *lifecycle.OPERATIONS,
)

BY_NAME = {each.name: each for each in OPERATIONS}
