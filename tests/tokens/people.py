"""People of a hospital on a real store, and what a subject opens there."""

from __future__ import annotations

import pytest

from mssmtp.identity.entitled import entitled
from mssmtp.identity.tokens import TokenRefused
from mssmtp.mail import Address, Bal, BalType, PersonState, Principal, Role
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson

ZOE, LUC, EVE = "899900000110", "899900000128", "899900000136"
AT = "@hopital-a.test"


class People:
    """Zoé and Luc with PER boxes; radiology's ORG box; MED, INT and APP boxes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.zoe = self._person("zoe", ZOE)
        self.luc = self._person("luc", LUC)
        self.radiology = self.box("radiologie", BalType.ORG)
        self.app = self.box("dpi", BalType.APP)
        self.assistant = self.box("secretaire", BalType.MED)
        self.engineer = self.box("ingenieur", BalType.INT)

    def _person(self, name: str, national_id: str) -> Bal:
        usual = Address.parse(f"{name}@ordinaire.example")

        def job(writing: Writing) -> Bal:
            person = writing.create_person(
                NewPerson(usual, name, name, PersonState.CERTIFIED, national_id=national_id)
            )
            made = writing.create_bal(
                Address.parse(name + AT), BalType.PER, national_id=national_id, usual_address=usual
            )
            writing.give_box(person.account, made.id)
            return made

        return self.store.write(job).result()

    def box(self, name: str, kind: BalType) -> Bal:
        address = Address.parse(name + AT)
        return self.store.write(lambda w: w.create_bal(address, kind, login=str(address))).result()

    def account(self, national_id: str) -> int:
        found = self.store.read(lambda r: r.person_by_national_id(national_id)).result()
        assert found is not None
        return found.account

    def share(self, national_id: str, role: Role = Role.SECRETAIRE) -> None:
        account = self.account(national_id)
        self.store.write(lambda w: w.add_member(self.radiology.id, account, role)).result()  # type: ignore[arg-type]

    def opens(self, national_id: str, box: str) -> Principal:
        return self.store.read(lambda r: entitled(r, national_id, box + AT)).result()

    def refuses(self, national_id: str, box: str) -> str:
        with pytest.raises(TokenRefused) as caught:
            self.opens(national_id, box)
        return caught.value.why
