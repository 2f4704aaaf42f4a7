"""What rows of the store are called by: numbers and names that are not mixed up."""

from __future__ import annotations

from typing import NewType

BalId = NewType("BalId", int)
AccountId = NewType("AccountId", int)
PersonId = NewType("PersonId", int)
StructureId = NewType("StructureId", int)
MailboxId = NewType("MailboxId", int)
Uid = NewType("Uid", int)
UidValidity = NewType("UidValidity", int)
ModSeq = NewType("ModSeq", int)
EnvelopeId = NewType("EnvelopeId", str)
"""Queue id and envelope id are one: 26 characters, time-ordered, unique in the store."""
BlobId = NewType("BlobId", bytes)
