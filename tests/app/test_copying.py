"""A worker dies in the middle of a long COPY: nothing of it is left (RFC 9051 6.4.7)."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from mssmtp.storage import Writing
from tests.app.server import Site, letter, serving, until
from tests.home import ZOE

pytestmark = pytest.mark.timeout(90)

LETTERS = 400
ONE_BY_ONE = (
    "from mssmtp.imap.commands import copy\ncopy.BATCH = 1\nfrom mssmtp.cli import main\nmain()\n"
)
"""A build that commits after every letter, so that there is time to kill it."""


def fill(site: Site) -> None:
    """Zoé has letters to copy."""
    with site.home.store() as store:
        sealed = [store.seal(letter(f"lettre {number}")) for number in range(LETTERS)]

        def job(writing: Writing) -> None:
            bal = writing.bal(ZOE)
            assert bal is not None
            inbox = writing.mailbox(bal.id, "INBOX")
            assert inbox is not None
            for each in sealed:
                writing.append(inbox.id, each, frozenset(), datetime.now(UTC))

        store.write(job).result()


def status(site: Site) -> dict[bytes, int]:
    """Of the destination; nothing while no worker answers."""
    try:
        with site.reading() as client:
            told: dict[bytes, int] = client.folder_status("Archive", ["MESSAGES", "UIDNEXT"])
            return told
    except (IMAPClientError, OSError):
        return {}


def test_a_killed_worker_leaves_nothing_of_a_copy_that_was_under_way(site: Site) -> None:
    fill(site)
    ended = threading.Event()

    def copy(client: IMAPClient) -> None:
        try:
            client.copy("1:*", "Archive")
        except (IMAPClientError, OSError):
            ended.set()

    with serving(site, 1, code=ONE_BY_ONE) as server:
        with site.reading() as client:
            thread = threading.Thread(target=copy, args=(client,))
            thread.start()
            until(lambda: status(site).get(b"MESSAGES", 0) > 5, "some are copied")
            (worker,) = server.workers
            os.kill(worker, signal.SIGKILL)
            thread.join(20)
        assert ended.is_set(), "the worker was killed before the end"
        until(lambda: status(site).get(b"MESSAGES") == 0, "all of it is undone", within_s=30.0)
        assert status(site)[b"UIDNEXT"] > 5, "UIDs are not given twice"
    with site.home.store() as store:
        report = store.check()
    assert report.problems == ()
    assert report.counted["copies under way"] == 0
