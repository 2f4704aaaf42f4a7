"""What the server's processes may do on this machine, and who may look into them."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys

logger = logging.getLogger(__name__)

_SWITCH_S = 0.0005
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """What the server's processes may do, whoever started them, and how threads take turns.

    As many connections as the system allows: with the usual soft limit of 1,024 one address could
    leave no descriptor for the store's own files (ATT-41). Whatever is made is ours alone to read
    (ATT-39), and a crash writes no keys nor mail to a core file.
    """
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    keep_memory_private()
    # The loop lets go of the interpreter at every call into OpenSSL, ten times a command; with the
    # usual 5 ms a thread that reads one large header section slowed everybody down (ATT-07).
    sys.setswitchinterval(_SWITCH_S)


def keep_memory_private() -> None:
    """No core file, and no debugger of the same user: keys and mail are in this memory (SEED-89).

    A worker is forked and inherits both; a program it starts does not, and holds no key. Only root
    can still look (docs/sealing.md).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logger.warning("memory can be read by the user's debuggers", extra={"why": "prctl"})
