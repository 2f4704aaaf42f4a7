"""`mssmtp store migrate`: the settings name the database, the command fills it."""

from __future__ import annotations

from tests.home import Home
from tests.postgres import Cluster


def name_database(home: Home, url: str) -> None:
    """As the administrator does, before the move."""
    home.edit("# database = (none)", f'database = "{url}"')


def test_the_store_moves_and_every_command_finds_it_there(home: Home, postgres: Cluster) -> None:
    before = home.mssmtp("bal", "list", "--json").json
    url = postgres.new_database()
    name_database(home, url)
    refused = home.mssmtp("bal", "list")
    assert refused.code == 2
    assert "mssmtp store migrate" in refused.err
    answer = home.mssmtp("store", "migrate", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["sound"] is True
    rows = {table["name"]: table["rows"] for table in answer.json["tables"]}
    assert rows["bals"] == len(before)
    assert home.mssmtp("bal", "list", "--json").json == before
    again = home.mssmtp("store", "migrate")
    assert again.code == 2
    assert "holds the rows already" in again.err
    home.edit(f'database = "{url}"', "# database = (none)")
    assert "were moved to" in home.mssmtp("bal", "list").err
    undone = home.mssmtp("store", "migrate", "--undo")
    assert undone.code == 0
    assert "Take store.database out" in undone.out
    assert home.mssmtp("bal", "list", "--json").json == before


def test_without_a_database_named_it_says_where_to_name_one(home: Home) -> None:
    refused = home.mssmtp("store", "migrate")
    assert refused.code == 2
    assert "store.database" in refused.err


def test_people_see_what_was_moved(home: Home, postgres: Cluster) -> None:
    name_database(home, postgres.new_database())
    shown = home.mssmtp("store", "migrate")
    assert shown.code == 0, shown.err
    assert "messages" in shown.out
    assert "Every invariant holds" in shown.out
