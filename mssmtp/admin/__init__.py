"""Administration: one table of operations, who may do what, and how a call is answered.

Above storage, below the doors; no sockets. `admin_server` and the commands bring the calls.
"""

from mssmtp.admin.answering import Answered, answer, listed, perform, refusal
from mssmtp.admin.authority import Denied, Place, Unknown
from mssmtp.admin.operation import MOST_OCTETS, Office, Operation
from mssmtp.admin.table import OPERATIONS

__all__ = [
    "MOST_OCTETS",
    "OPERATIONS",
    "Answered",
    "Denied",
    "Office",
    "Operation",
    "Place",
    "Unknown",
    "answer",
    "listed",
    "perform",
    "refusal",
]
