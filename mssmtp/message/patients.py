"""Whether a message is from or to a patient (DEF-05)."""

from __future__ import annotations

from collections.abc import Collection

from mssmtp.message.summary import UnknownSummary, texts_of

PATIENTS = "Patients"
"""The mailbox they write to, when `imap.patient_tree` is `separate`."""


def concerns(summary: bytes, domains: Collection[str]) -> bool:
    """True when From, Sender, Reply-To, To, Cc or Bcc names an address of `domains`.

    Asked of the ENVELOPE that was made for IMAP already: the domain is the last string of each
    address in it (RFC 3501 7.4.2), and no other string is followed by `)`.
    """
    if not domains:
        return False
    try:
        envelope = texts_of(summary)[0].lower()
    except UnknownSummary:
        return False
    return any(b'"%b")' % domain.encode("ascii") in envelope for domain in domains)
