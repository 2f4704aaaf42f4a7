"""Messages read-only (RFC 5322, MIME): one bounded pass, nothing is ever rewritten."""

from mssmtp.message.headers import BadFrom, from_addresses, header_fields, message_id
from mssmtp.message.scanner import Part, Scan, ScanLimits, Scanner, TooComplex
from mssmtp.message.summary import Summary

__all__ = [
    "BadFrom",
    "Part",
    "Scan",
    "ScanLimits",
    "Scanner",
    "Summary",
    "TooComplex",
    "from_addresses",
    "header_fields",
    "message_id",
]
