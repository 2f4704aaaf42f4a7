"""docs/stories.md, command by command: what the page says can be typed, and does what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mssmtp import pki
from mssmtp.config import load
from mssmtp.mail import Address, BalState, BalType, PersonState, Role
from mssmtp.storage import Store
from tests.home import CLOCK, ENTROPY, Typed, typed

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "stories.md"
_BLOCK = re.compile(r"^```(sh|csv)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSWORD = "Medecin1\nMedecin1\n"
ZOE = Address.parse("zoe.tartempion@chezelle.example")
LEA = Address.parse("lea.quidam@chezelle.example")
MARIUS = Address.parse("marius.tartempion@chezlui.example")
ORG = Address.parse("secretariat.cardio@ch-valmont.mssante.example")
APP = Address.parse("noreply@ch-valmont.mssante.example")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("stories")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MSSMTP_CONFIG", str(place / "home" / "mssmtp.toml"))
        yield place


@contextmanager
def store_in(place: Path) -> Iterator[Store]:
    store = Store(load(place / "home" / "mssmtp.toml").store, CLOCK, ENTROPY, worker="story")
    try:
        yield store
    finally:
        store.close()


def told(place: Path, usual: Address) -> str:
    """The secret of the link in this person's mail, and a password twice."""
    with store_in(place) as store:
        waiting = store.read(lambda r: r.waiting_notices()).result()
    link = next(str(each.values["link"]) for each in reversed(waiting) if each.to == usual)
    return f"{link.partition('#')[2]}\n{PASSWORD}"


def run(place: Path, command: str) -> Typed:
    _, *arguments = shlex.split(command)
    stdin = ""
    if arguments[:2] == ["person", "finalise"]:
        stdin = told(place, LEA if "--attests" in arguments else ZOE)
    return typed(*arguments, stdin=stdin)


def with_a_relay(place: Path) -> None:
    file = place / "home" / "mssmtp.toml"
    relay = '[notices]\nrelay_host = "127.0.0.1"\nrelay_tls = "none"\n'
    file.write_text(file.read_text("utf-8").replace("[notices]\n", relay, 1), "utf-8")


@pytest.mark.timeout(180)
@pytest.mark.requirement("SEED-39", "SEED-40", "DEF-10", "DEF-11")
def test_the_three_stories_can_be_typed_as_they_stand(place: Path) -> None:
    for kind, text in _BLOCK.findall(PAGE.read_text("utf-8")):
        if kind == "csv":
            (place / "comptes.csv").write_text(text, "utf-8")
            continue
        for command in text.splitlines():
            answer = run(place, command)
            assert answer.code == 0, f"{command}\n{answer.out}\n{answer.err}"
            if command.startswith("mssmtp init"):
                with_a_relay(place)
    report = (place / "rapport.csv").read_text("utf-8-sig")
    assert report.count("créée") == 5
    with store_in(place) as store:
        as_the_page_says(store)


def as_the_page_says(store: Store) -> None:
    """What the three people have in the end."""

    def read(address: Address) -> tuple[BalType, BalState]:
        box = store.read(lambda r: r.bal(address)).result()
        assert box is not None
        return box.type, box.state

    assert read(ORG) == (BalType.ORG, BalState.ACTIVE)
    assert read(APP) == (BalType.APP, BalState.ACTIVE)
    assert read(Address.parse(f"marius.tartempion@{ORG.domain}"))[1] is BalState.CLOSED
    lea = store.read(lambda r: r.person(LEA)).result()
    assert lea is not None
    assert lea.state is PersonState.CERTIFIED
    principal = store.read(lambda r: r.principal(lea.account)).result()
    assert [box.type for box in principal.bals] == [BalType.MED, BalType.ORG]
    assert list(principal.roles.values()) == [Role.SECRETAIRE]
    devices = store.read(lambda r: r.app_passwords(lea.account)).result()
    assert [(each.name, each.box) for each in devices if each.box is None] == [
        ("Thunderbird, accueil", None)
    ]
    assert [each.name for each in devices if each.box] == ["Logiciel d'accueil"]
    key = pki.listed_name("CN=dpi.ch-valmont.example,OU=1990000010,O=CH DE VALMONT,C=FR") or ()
    name = pki.name_text(key)
    app = store.read(lambda r: r.bal(APP)).result()
    assert app is not None
    assert store.read(lambda r: r.bound_boxes("name", name)).result() == (app.id,)
