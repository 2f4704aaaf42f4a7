"""A home ready to be served; each test gets a copy and ports of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.app.server import Site
from tests.authority import A_DOMAIN, B_DOMAIN
from tests.home import Home, make_home, put_boxes, put_list


@pytest.fixture(scope="session")
def template(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """A home with a list, CRLs and three boxes. Only to be copied."""
    home = make_home(tmp_path_factory.mktemp("app") / "home", authority, healthy[A_DOMAIN])
    put_list(home, authority)
    put_boxes(home)
    return home


@pytest.fixture
def site(
    template: Home, authority: Authority, healthy: dict[str, Identity], tmp_path: Path
) -> Site:
    site = Site(template.copy(tmp_path / "home"), authority, healthy[B_DOMAIN])
    site.write()
    return site
