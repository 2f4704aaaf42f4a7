"""`mssmtp bal member`, `quota`, `readings`: who opens an organisation's box, its room, who read."""

from __future__ import annotations

import pytest

from mssmtp.identity import Authenticator
from mssmtp.storage import Writing
from tests.home import CLOCK, ENTROPY, SECRETARIAT, ZOE, Home
from tests.storage.support import message, read_by

ZOE_, ORG = str(ZOE), str(SECRETARIAT)


@pytest.mark.requirement("SEED-16")
def test_a_member_is_added_listed_given_another_role_and_removed(home: Home) -> None:
    home.mssmtp("bal", "member", "remove", ORG, ZOE_)
    added = home.mssmtp("bal", "member", "add", ORG, ZOE_, "--role", "lecteur", "--json")
    assert added.json == {"box": ORG, "person": ZOE_, "role": "lecteur", "rights": "lrs"}
    again = home.mssmtp("bal", "member", "add", ORG, ZOE_, "--role", "responsable")
    assert again.code == 2
    assert "est déjà membre de" in again.err
    assert home.mssmtp("bal", "member", "set", ORG, ZOE_, "--role", "secretaire").code == 0
    (row,) = home.mssmtp("bal", "member", "list", ORG, "--json").json
    assert (row["person"], row["role"], row["mailboxes"]) == (ZOE_, "secretaire", {})
    with home.store() as store:

        def hide(writing: Writing) -> None:
            bal, account = writing.bal(SECRETARIAT), writing.account(ZOE_)
            assert bal is not None
            assert account is not None
            trash = writing.mailbox(bal.id, "Trash")
            assert trash is not None
            writing.set_entry(trash.id, account.id, "")

        store.write(hide).result()
    assert "Trash (none)" in home.mssmtp("bal", "member", "list", ORG).out
    assert home.mssmtp("bal", "member", "remove", ORG, ZOE_).code == 0
    assert home.mssmtp("bal", "member", "list", ORG, "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", ZOE_, ORG), "est une boîte de type PER"),
        (("add", "personne@hopital-a.test", ZOE_), "n'existe pas ici"),
        (("add", ORG, "personne@hopital-a.test"), "n'existe pas ici"),
        (("add", ORG, ORG), "est la boîte elle-même"),
        (("set", ORG, "personne@hopital-a.test", "--role", "lecteur"), "n'existe pas ici"),
        (("add", ORG, ZOE_, "--role", "chef"), "chef"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    home: Home, arguments: tuple[str, ...], why: str
) -> None:
    answer = home.mssmtp("bal", "member", *arguments)
    assert answer.code == 2
    assert why in answer.err


@pytest.mark.requirement("CL-31")
def test_a_member_gets_a_password_for_the_box_and_no_other_person_does(home: Home) -> None:
    made = home.mssmtp("bal", "member", "password", ORG, ZOE_, "--json")
    assert (made.json["login"], made.json["person"]) == (ORG, ZOE_)
    with home.store() as store:
        session = Authenticator(store, CLOCK, ENTROPY).authenticate(ORG, made.json["password"])
    assert (session.login, [str(bal.address) for bal in session.bals]) == (ZOE_, [ORG])
    home.mssmtp("bal", "member", "remove", ORG, ZOE_)
    refused = home.mssmtp("bal", "member", "password", ORG, ZOE_)
    assert refused.code == 2
    assert "n'est pas membre" in refused.err


@pytest.mark.requirement("CL-35")
def test_room_is_given_and_told(home: Home) -> None:
    assert home.mssmtp("bal", "quota", ZOE_, "--json").json["most_octets"] == 2_147_483_648
    given = home.mssmtp("bal", "quota", ZOE_, "--octets", "5G", "--messages", "100", "--json").json
    assert (given["most_octets"], given["most_messages"]) == (5 * 1_024**3, 100)
    more = home.mssmtp("bal", "quota", ZOE_, "--messages", "none", "--json").json
    assert (more["most_octets"], more["most_messages"]) == (5 * 1_024**3, None)
    assert "no limit" in home.mssmtp("bal", "quota", ZOE_, "--octets", "none").out
    assert home.mssmtp("bal", "quota", ZOE_, "--octets", "beaucoup").code == 2


@pytest.mark.requirement("CL-80")
def test_a_box_is_told_whether_it_keeps_what_it_sends(home: Home) -> None:
    assert home.mssmtp("bal", "sent-copy", ZOE_, "--json").json["sent_copy"] is True
    off = home.mssmtp("bal", "sent-copy", ZOE_, "--off")
    assert off.out == f"What is sent from {ZOE_} is not kept.\n"
    assert home.mssmtp("bal", "sent-copy", ZOE_, "--json").json["sent_copy"] is False
    assert "is filed in Sent" in home.mssmtp("bal", "sent-copy", ZOE_, "--on").out
    assert home.mssmtp("bal", "sent-copy", "personne@hopital-a.test").code != 0


@pytest.mark.requirement("DEF-06")
def test_readings_are_shown(home: Home) -> None:
    assert "Nothing was read" in home.mssmtp("bal", "readings", ZOE_).out
    with home.store() as store:
        letter = store.seal(message())

        def append(writing: Writing) -> None:
            bal = writing.bal(ZOE)
            assert bal is not None
            box = writing.mailbox(bal.id, "INBOX")
            assert box is not None
            uid = writing.append(box.id, letter, frozenset(), CLOCK.now())
            read_by(writing, account, box.id, [uid], "lu")

        found = store.read(lambda r: r.account(ZOE_)).result()
        assert found is not None
        account = found.id
        store.write(append).result()
        store.write(lambda w: w.record_readings()).result()
    (row,) = home.mssmtp("bal", "readings", ZOE_, "--json").json
    assert (row["kind"], row["person"]) == ("lu", ZOE_)
    assert "lu" in home.mssmtp("bal", "readings", ZOE_).out
