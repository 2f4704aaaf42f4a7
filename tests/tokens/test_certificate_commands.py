"""`mssmtp bal certificate`: the table that opens APP boxes, kept by administrators (CL-15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.admin import certificates
from mssmtp.demo.authority import CLIENT_ONLY, EMAIL_ONLY, Authority, Identity, Make
from mssmtp.errors import ConfigError
from mssmtp.mail import Structure, StructureId
from tests.authority import A_DOMAIN
from tests.home import Home, make_home
from tests.tokens.house import DPI, OTHER_DPI

BOX = "dpi@hopital-a.test"


@pytest.fixture(scope="module")
def home(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    home = make_home(tmp_path_factory.mktemp("table") / "home", authority, healthy[A_DOMAIN])
    assert home.mssmtp("bal", "add", BOX, "--type", "APP").code == 0
    assert home.mssmtp("bal", "add", "accueil@hopital-a.test", "--type", "ORG").code == 0
    return home


def pem(identity: Identity, directory: Path) -> str:
    return str(identity.write(directory, "dpi").certificate_file)


@pytest.mark.requirement("CL-15")
def test_a_certificate_is_added_listed_and_removed(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    file = pem(authority.issue(DPI, Make(usages=CLIENT_ONLY)), tmp_path)
    added = home.mssmtp("bal", "certificate", "add", BOX, file, "--label", "DPI", "--json")
    assert added.code == 0, added.err
    named = home.mssmtp("bal", "certificate", "add", BOX, "--name", DPI.text, "--json")
    assert named.code == 0, named.err
    (first, second) = home.mssmtp("bal", "certificate", "list", BOX, "--json").json
    assert (first["label"], first["kind"], first["ended"]) == ("DPI", "certificate", None)
    assert second["certificate"].startswith("CN=")
    assert first["holder"] == second["holder"] == second["certificate"]
    assert home.mssmtp("bal", "certificate", "remove", BOX, str(first["number"])).code == 0
    (first, _) = home.mssmtp("bal", "certificate", "list", BOX, "--json").json
    assert first["ended"] is not None
    shown = home.mssmtp("bal", "certificate", "list", BOX).out
    assert "DPI" in shown
    folded = "".join(shown.split())
    assert folded.count("OU=1990000017") == 2, shown
    assert home.mssmtp("bal", "certificate", "remove", BOX, "999").code == 2


def test_what_would_be_refused_at_login_is_refused_here(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    bad = pem(authority.issue(DPI, Make(usages=EMAIL_ONLY)), tmp_path)
    good = pem(authority.issue(DPI, Make(usages=CLIENT_ONLY)), tmp_path / "good")
    key = str(tmp_path / "dpi.key")
    for arguments in (
        (BOX, bad),
        (BOX, key),
        (BOX, str(tmp_path / "none.pem")),
        (BOX,),
        (BOX, good, "--name", DPI.text),
        (BOX, "--name", "no name"),
        ("accueil@hopital-a.test", good),
        ("nobody@hopital-a.test", good),
    ):
        typed = home.mssmtp("bal", "certificate", "add", *arguments)
        assert typed.code == 2, (arguments, typed.out, typed.err)
        assert "Traceback" not in typed.err


def test_a_certificate_of_another_organisation_is_refused(authority: Authority) -> None:
    """OU is 1 + FINESS or 3 + SIRET of its holder (IGC-Santé)."""
    ours = Structure(StructureId(1), "CH de Valmont", "990000017", "19900001700017", "84")
    check = certificates._check_organisation
    units = certificates._units
    check(units(authority.issue(DPI, Make(usages=CLIENT_ONLY)).certificate), ours)
    with pytest.raises(ConfigError, match="une autre organisation"):
        check(units(authority.issue(OTHER_DPI, Make(usages=CLIENT_ONLY)).certificate), ours)
