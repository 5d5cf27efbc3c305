"""The version of the tables, and the way there by Alembic's migrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cspine.core.errors import CspineError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

REVISION: Final = "0001"
"""Revision of the last migration in ``migrations/versions``."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class DatabaseError(CspineError):
    """The database cannot be used."""


def migrate(engine: Engine) -> None:
    """Run the migrations that a database lacks, in one transaction.

    Raises
    ------
    DatabaseError
        The database comes from a later version.
    """
    from alembic import command  # noqa: PLC0415 - takes 0.3 s, and most starts need no migration
    from alembic.util import CommandError  # noqa: PLC0415

    config = alembic_config()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError("the database is of a later version of cspine; upgrade cspine") from error


def alembic_config() -> Config:
    """Return Alembic's configuration, which needs no file."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
