"""What can be wrong with a Sieve script: said when it is stored, or when it runs."""

from __future__ import annotations


class BadScript(Exception):
    """The script does not conform (RFC 5228 2.10.4); `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"ligne {line} : {why}")
        self.line = line


class ScriptFailed(Exception):
    """The script was stopped while it ran (RFC 5228 2.10.6); the letter stays in INBOX."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"ligne {line} : {why}")
        self.line = line
