"""Migrations make the tables that the code has."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cspine.server.database.engine import Database
from cspine.server.database.migrate import REVISION, alembic_config
from cspine.server.database.tables import Base


def test_the_revision_is_that_of_the_last_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == REVISION


def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    assert not database.is_current()

    database.upgrade()

    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    assert database.is_current()
    database.close()
