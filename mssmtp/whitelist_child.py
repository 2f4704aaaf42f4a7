"""Verification of the list in a process of its own: its memory goes with it.

8,655 rows cost about 100 MB while they are verified; the server gets back a compact table. The
child reads one request from its standard input and writes one answer to its standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import BinaryIO

import mssmtp
from mssmtp import pki
from mssmtp.revocation import Revocation
from mssmtp.whitelist import ListRefused, ListRules, SignedList, Whitelist

TIMEOUT_S = 60.0
BREATH_S = 0.002
"""The thread that reads the answer stands back so often and so long: letters go first."""

_ACCEPTED, _REFUSED = b"A", b"R"


def verify_in_child(octets: bytes, rules: ListRules, now: datetime) -> Whitelist:
    """`whitelist_signature.verify` in a child process. Blocks; raises ListRefused.

    A child that dies, hangs or says something else refuses the list as well.
    """
    if len(octets) > rules.max_octets:
        raise ListRefused("too big", f"{len(octets)} octets")
    # The environment is ours alone, and -P: nothing of the operator's shell reaches the child, nor
    # of the directory it was called in.
    environment = {"PYTHONPATH": str(Path(mssmtp.__file__).resolve().parent.parent)}
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module, no shell
            [sys.executable, "-P", "-m", "mssmtp.whitelist_child"],
            input=_Request.of(octets, rules, now).to_bytes(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ListRefused("no verification", type(error).__name__) from error
    kind, answer = done.stdout[:1], done.stdout[1:]
    if done.returncode == 0 and kind == _ACCEPTED:
        return SignedList.from_table(answer, _breathe).indexed(_breathe)
    if done.returncode == 0 and kind == _REFUSED:
        reason, detail = json.loads(answer)
        raise ListRefused(reason, detail)
    raise ListRefused("no verification", f"child ended with {done.returncode}")


def _breathe() -> None:
    sleep(BREATH_S)


@dataclass(frozen=True, slots=True)
class _Request:
    """What the child needs: one line of JSON, then the octets it announces the sizes of."""

    pin: str
    now: datetime
    max_octets: int
    anchors: bytes
    crls: tuple[bytes, bytes] | None
    octets: bytes

    @classmethod
    def of(cls, octets: bytes, rules: ListRules, now: datetime) -> _Request:
        return cls(
            rules.pin,
            now,
            rules.max_octets,
            b"".join(c.public_bytes(pki.PEM) for c in rules.anchors.certificates),
            None if rules.revocation is None else rules.revocation.to_table(rules.anchors),
            octets,
        )

    def to_bytes(self) -> bytes:
        parts = (self.octets, self.anchors, *(self.crls or ()))
        head = [self.pin, self.now.isoformat(), self.max_octets, [len(part) for part in parts]]
        return json.dumps(head).encode() + b"\n" + b"".join(parts)

    @classmethod
    def read(cls, stream: BinaryIO) -> _Request:
        pin, now, max_octets, sizes = json.loads(stream.readline())
        octets, anchors, *crls = (stream.read(size) for size in sizes)
        moment = datetime.fromisoformat(now)
        table = (crls[0], crls[1]) if crls else None
        return cls(pin, moment, max_octets, anchors, table, octets)


def answer(request: BinaryIO, reply: BinaryIO) -> None:
    """The child's work: one request in, one answer out."""
    # Here and not above: the server, which imports this module, never loads the XML libraries.
    from mssmtp.whitelist_signature import signed_list

    wanted = _Request.read(request)
    try:
        listed = signed_list(wanted.octets, _rules(wanted), wanted.now)
    except ListRefused as error:
        reply.write(_REFUSED + json.dumps([error.reason, error.detail]).encode())
        return
    reply.write(_ACCEPTED + listed.to_table())


def _rules(wanted: _Request) -> ListRules:
    anchors = pki.Anchors.from_pem(wanted.anchors)
    known = None if wanted.crls is None else Revocation.from_table(wanted.crls, anchors)
    return ListRules(wanted.pin, anchors, known, wanted.max_octets)


if __name__ == "__main__":
    os.nice(10)  # letters go first
    answer(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.flush()
    os._exit(0)  # the trees go with the process: nobody has to take them apart
