"""Runs as a process of its own: begins a COPY of many commits and waits to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from mssmtp.mail import Address, MailboxId, Uid
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing
from mssmtp.storage.copying import CopyId
from tests.storage.support import settings


def commit(
    store: Store, source: MailboxId, uids: list[Uid], target: MailboxId, copy: CopyId | None
) -> tuple[CopyId, list[Uid]]:
    """One commit of a COPY that goes on, as IMAP makes it."""

    def job(writing: Writing) -> tuple[CopyId, list[Uid]]:
        made = [uid for _, uid in writing.copy(source, uids, target)]
        if copy is None:
            return writing.begin_copy(target, made), made
        writing.extend_copy(copy, made)
        return copy, made

    return store.write(job).result()


def main() -> None:
    """`copiers.py HOME WORKER COMMITS`: the UIDs made, a line for each commit acknowledged."""
    home, worker, commits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = Store(settings(home), SystemClock(), SystemEntropy(), worker=worker)
    bal = store.read(lambda r: r.bal(Address.parse("zoe@hopital-a.test"))).result()
    assert bal is not None
    source = store.read(lambda r: r.mailbox(bal.id, "INBOX")).result()
    target = store.read(lambda r: r.mailbox(bal.id, "Archive")).result()
    assert source is not None
    assert target is not None
    copy = None
    for number in range(commits):
        some = [Uid(2 * number + 1), Uid(2 * number + 2)]
        copy, made = commit(store, source.id, some, target.id, copy)
        print(*made, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
