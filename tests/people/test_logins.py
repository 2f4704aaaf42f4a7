"""By which names a person logs in (SEED-22, SEED-49): the usual address, or that of the own box."""

from __future__ import annotations

import pytest

from mssmtp.identity import Authenticator, BadCredentials
from mssmtp.identity.app_password import verifiers
from mssmtp.mail import BalState, Role
from mssmtp.outside import SystemEntropy
from tests.people.conftest import World

SECRET = "un mot de passe assez long 42"
FOR_ORG = "celui du poste du secretariat 17"


@pytest.mark.requirement("SEED-22", "SEED-49")
def test_a_person_opens_the_own_box_by_either_address_and_an_org_box_by_a_password_for_it(
    world: World,
) -> None:
    structure, entropy = world.structure(), SystemEntropy()
    made = world.certified(structure)
    made_of = verifiers(SECRET, entropy)
    account = made.person.account
    world.write(lambda w: w.add_app_password(account, "tel", made_of.argon2, made_of.scram))
    org = world.org(
        structure,
        "secretariat",
        responsible=made.person.national_id,
        agreed_on=world.clock.now(),
    )
    assert org.state is BalState.ACTIVE
    world.write(lambda w: w.add_member(org.id, account, Role.SECRETAIRE))
    doors = Authenticator(world.store, world.clock, entropy)
    for login in (str(made.box.address), str(made.person.usual_address).upper()):
        assert doors.authenticate(login, SECRET).account == account
    hashed = verifiers(FOR_ORG, entropy)
    world.write(lambda w: w.add_app_password(account, "poste", hashed.argon2, hashed.scram, org.id))
    principal = doors.authenticate(str(org.address), FOR_ORG)
    assert (principal.account, principal.box) == (account, org.id)  # the person, in that box alone
    with pytest.raises(BadCredentials):
        doors.authenticate(str(org.address), SECRET)
