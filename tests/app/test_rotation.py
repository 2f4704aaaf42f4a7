"""Keys are replaced under a running server of two workers (SEED-89, OP-77)."""

from __future__ import annotations

import threading

import pytest

from tests.app.server import Site, letter, serving
from tests.home import ZOE

pytestmark = pytest.mark.timeout(120)


@pytest.mark.requirement("SEED-89")
def test_mail_comes_in_and_is_read_while_every_key_is_replaced(site: Site) -> None:
    stop = threading.Event()
    answers: list[str] = []

    def keep_writing() -> None:
        while not stop.is_set():
            answers.append(site.receive(letter(f"essai {len(answers)}")))

    with serving(site) as server, site.reading() as session:
        session.select_folder("INBOX")  # open since before, with the old keys in its worker
        assert site.receive(letter("avant")).startswith("250 ")
        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            for what in (["all"], ["bal", str(ZOE)], ["master"], ["all", "--messages"]):
                done = site.home.mssmtp("store", "rotate", *what)
                assert done.code == 0, done.err + done.out
        finally:
            stop.set()
            writer.join()
        session.noop()
        assert len(session.search("ALL")) == len(answers) + 1
        assert b"avant" in session.fetch([1], ["BODY[]"])[1][b"BODY[]"]
        session.create_folder("Suivi")
        session.copy([1], "Suivi")
        assert answers
        assert all(answer.startswith("250 ") for answer in answers)
        assert len(site.subjects()) == len(answers) + 1
        assert len(server.workers) == 2
    assert server.end() == 0
    assert server.said("nothing was written") == 0
    assert server.said("a sealed value does not authenticate") == 0
    assert server.said("message damaged") == 0
    assert site.home.mssmtp("store", "check", "--contents").code == 0
