"""Migrations make the tables that the code has."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cspine.core.errors import InputError
from cspine.server.check import _check_database
from cspine.server.database.engine import Database
from cspine.server.database.migrate import REVISION, alembic_config
from cspine.server.database.tables import Base
from cspine.server.settings import ServerSettings


def test_the_revision_is_that_of_the_last_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == REVISION


def test_a_check_changes_no_table(tmp_path: Path) -> None:
    """The server of the version before may still run on them."""
    settings = ServerSettings.model_validate({"storage": {"spool": tmp_path}})
    database = Database.open(settings)

    assert "made at the start" in _check_database(settings)
    assert database.revision() is None
    database.upgrade()
    assert "is of this version" in _check_database(settings)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    assert "earlier version" in _check_database(settings)
    assert database.revision() == "0000"
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="later version"):
        _check_database(settings)
    database.close()


def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    assert not database.is_current()

    database.upgrade()

    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    assert database.is_current()
    database.close()
