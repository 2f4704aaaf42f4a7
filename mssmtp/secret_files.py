"""A password or secret that stands alone in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path

from mssmtp.errors import ConfigError

MAX_OCTETS = 4_096


def secret_in(path: Path, where: str) -> str:
    """The secret in `path`, which must be ours alone to read, without its end of line.

    Read at each use: it can be changed without a restart. Raises ConfigError, of `where`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(MAX_OCTETS).strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        remedy = "Write the secret alone into it, and set its mode to 0600."
        raise ConfigError(where, f"cannot be read ({why})", remedy) from error
    if mode & 0o077:
        raise ConfigError(where, "others may read the file", "Set its mode to 0600.")
    return secret
