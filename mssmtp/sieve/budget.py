"""What one run of a script may cost (ATT-28): counted work, so that the end is the same each time.

Time is not looked at: a script that is stopped on a busy day would have been stopped on any day.
"""

from __future__ import annotations

from mssmtp.sieve.faults import ScriptFailed

STEPS = 100_000
"""Of one run: a command or test is one, and so are 64 characters compared."""
_CHARACTERS = 64


class Budget:
    """Steps that are left."""

    __slots__ = ("_line", "left")

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps
        self._line = 1

    def step(self, line: int) -> None:
        """A command or test on `line` begins. Raises ScriptFailed."""
        self._line = line
        self.spend(1)

    def characters(self, count: int) -> None:
        """So many are looked at. Raises ScriptFailed."""
        self.spend(1 + count // _CHARACTERS)

    def spend(self, steps: int) -> None:
        """Raises ScriptFailed."""
        self.left -= steps
        if self.left < 0:
            raise ScriptFailed(self._line, "le script demande trop de travail pour ce message")
