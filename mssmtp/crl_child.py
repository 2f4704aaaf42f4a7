"""Reading of a big CRL in a process of its own: nobody waits for it, its memory goes with it.

20 MB with 100,000 entries hold the interpreter for half a second and take 130 MB. What comes back
are 2 MB of serial numbers. Small ones, which is all of them so far, are read where they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import mssmtp
from mssmtp import pki
from mssmtp.pki import Anchors
from mssmtp.revocation import BadRevocationList, Crl, Revocation, read_crls

TIMEOUT_S = 60.0
BIG_OCTETS = 262_144

_ACCEPTED, _REFUSED = b"A", b"R"


def read_apart(octets: bytes, anchors: Anchors) -> tuple[Crl, ...]:
    """`read_crls`, of a big file in a child process. Blocks; raises BadRevocationList."""
    if len(octets) < BIG_OCTETS:
        return read_crls(octets, anchors)
    pem = b"".join(c.public_bytes(pki.PEM) for c in anchors.certificates)
    # The environment is ours alone, and -P: nothing of the operator's shell reaches the child, nor
    # of the directory it was called in.
    environment = {"PYTHONPATH": str(Path(mssmtp.__file__).resolve().parent.parent)}
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module, no shell
            [sys.executable, "-P", "-m", "mssmtp.crl_child"],
            input=json.dumps(len(pem)).encode() + b"\n" + pem + octets,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadRevocationList(f"not read ({type(error).__name__})") from error
    kind, answer = done.stdout[:1], done.stdout[1:]
    if done.returncode == 0 and kind == _ACCEPTED:
        head, _, serials = answer.partition(b"\n")
        return Revocation.from_table((head, serials), anchors).crls
    if done.returncode == 0 and kind == _REFUSED:
        raise BadRevocationList(answer.decode())
    raise BadRevocationList(f"not read (child ended with {done.returncode})")


def answer(request: BinaryIO, reply: BinaryIO) -> None:
    """The child's work: one CRL in, one answer out."""
    anchors = Anchors.from_pem(request.read(int(json.loads(request.readline()))))
    try:
        crls = read_crls(request.read(), anchors)
    except BadRevocationList as error:
        reply.write(_REFUSED + str(error).encode())
        return
    reply.write(_ACCEPTED + b"\n".join(Revocation(crls).to_table(anchors)))


if __name__ == "__main__":
    os.nice(10)  # letters go first
    answer(sys.stdin.buffer, sys.stdout.buffer)
