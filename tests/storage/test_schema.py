"""Schema versions (D8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import bindparam, create_engine, select

from mssmtp.errors import ConfigError
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, schema
from tests.storage.support import SteppingClock, behind, open_new, reopen, settings


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
