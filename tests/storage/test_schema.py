"""Schema versions (D8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import bindparam, create_engine, select

from mssmtp.errors import ConfigError
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, database, postgres, schema
from tests.schema_once import MIGRATIONS
from tests.storage.support import (
    SteppingClock,
    behind,
    database_file,
    open_new,
    reopen,
    settings,
)


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ones, each time."""
    for module in (database, postgres):
        monkeypatch.setattr(module, "run_migrations", MIGRATIONS)


def everything(home: Path) -> list[str]:
    """Tables, columns, types, defaults, indexes and rules of a store, as the engine tells them."""
    db = behind(home)
    try:
        if not database_file(home).exists():
            return sorted(map(str, db.execute("SELECT type, name, sql FROM sqlite_schema")))
        told = []
        for statement in (
            "SELECT table_name, ordinal_position, column_name, data_type, column_default,"
            " is_nullable, is_identity FROM information_schema.columns"
            " WHERE table_schema = 'public'",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint",
            "SELECT version_num FROM alembic_version",
        ):
            told += sorted(map(str, db.execute(statement)))
        return told
    finally:
        db.close()


def test_what_is_remembered_of_the_migrations_is_what_they_make(
    home: Path, request: pytest.FixtureRequest
) -> None:
    open_new(home).close()
    remembered = everything(home)
    assert len(remembered) > 20
    request.getfixturevalue("migrations")
    other = home.with_name("other")
    if database_file(home).exists():
        url = request.getfixturevalue("postgres").new_database()
        database_file(other).write_text(url, encoding="utf-8")
    open_new(other).close()
    assert remembered == everything(other)


@pytest.mark.usefixtures("migrations")
def test_the_migrations_make_the_tables_of_the_code(home: Path) -> None:
    open_new(home).close()
    url = settings(home).database or f"sqlite:///{home / 'store.db'}"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_a_newer_schema_is_refused(home: Path) -> None:
    open_new(home).close()
    db = behind(home)
    db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()
    with pytest.raises(ConfigError, match="newer release"):
        reopen(home)


def test_no_store_no_open_and_no_second_creation(home: Path) -> None:
    with pytest.raises(ConfigError, match="no store"):
        reopen(home)
    open_new(home).close()
    with pytest.raises(ConfigError, match="already"):
        Store.create(settings(home), SteppingClock(), SystemEntropy())
    home.chmod(0o755)
    with pytest.raises(ConfigError, match="0700"):
        reopen(home)


@pytest.mark.attack
def test_att_22_only_parameters_reach_a_statement() -> None:
    statement = select(schema.meta.c.value)
    assert ":key" in schema.sql(statement.where(schema.meta.c.key == bindparam("key")))
    with pytest.raises(TypeError):
        schema.sql(statement.where(schema.meta.c.key == "' OR 1=1"))
