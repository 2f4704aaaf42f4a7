"""What Dovecot's `sieve-test` would do with a letter, in the words of our outcome."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mssmtp.sieve.outcome import Outcome

_CONFIGURATION = """
mail_uid = {uid}
mail_gid = {uid}
mail_home = {place}/home
mail_location = maildir:{place}/mail
log_path = {place}/log
"""
NOBODY = 65534
_STORE = re.compile(r" \* store message in folder: (.*)\n((?:        \+ .*\n)*)")
_FLAGS = re.compile(r"\+ add IMAP flags: (.*)")
_REDIRECT = re.compile(r" \* redirect message to: <(.*)>")
_VACATION = re.compile(
    r" \* send vacation message:\n    => seconds : (\d+)\n(?:    => subject : (.*)\n)?"
)


@dataclass(frozen=True, slots=True)
class Done:
    """Mailboxes with flags in lower case, addresses, days and subject of an answer."""

    filed: frozenset[tuple[str, frozenset[str]]]
    forwarded: frozenset[str]
    answered: tuple[int, str | None] | None

    @classmethod
    def of(cls, outcome: Outcome) -> Done:
        """Raises AssertionError when the script failed."""
        assert not outcome.failure, outcome.failure
        reply = outcome.reply
        return cls(
            frozenset((f.mailbox, frozenset(map(str.lower, f.flags))) for f in outcome.filings),
            frozenset(str(each.to) for each in outcome.forwards),
            None if reply is None else (reply.days or 7, reply.subject),
        )


class SieveTest:
    """One directory for all runs."""

    def __init__(self, place: Path) -> None:
        self._place = place
        for name in ("home", "mail"):
            (place / name).mkdir()
            shutil.chown(place / name, NOBODY, NOBODY)
        text = _CONFIGURATION.format(place=place, uid=NOBODY)
        (place / "dovecot.conf").write_text(text)
        shutil.chown(place, NOBODY, NOBODY)

    def run(self, script: bytes, letter: bytes, sender: str, recipient: str) -> Done | None:
        """None: it does not compile."""
        (self._place / "script.sieve").write_bytes(script)
        (self._place / "letter").write_bytes(letter)
        (self._place / "script.svbin").unlink(missing_ok=True)
        ended = subprocess.run(
            ["sieve-test", "-c", "dovecot.conf", "-f", sender, "-r", recipient, "-a", recipient]
            + ["script.sieve", "letter"],
            cwd=self._place,
            capture_output=True,
            timeout=50,
        )
        said = ended.stderr.decode()
        if "failed to compile" in said:
            assert ": error: " in said, said
            return None
        assert ended.returncode == 0, said
        return _done(ended.stdout.decode())


def _done(said: str) -> Done:
    filed = {}
    for mailbox, more in _STORE.findall(said):
        flags = _FLAGS.search(more)
        filed[mailbox] = frozenset(flags.group(1).lower().split()) if flags else frozenset()
    vacation = _VACATION.search(said)
    return Done(
        frozenset(filed.items()),
        frozenset(_REDIRECT.findall(said)),
        None if vacation is None else (int(vacation.group(1)) // 86_400, vacation.group(2) or None),
    )
