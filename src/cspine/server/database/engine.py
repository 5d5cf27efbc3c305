"""The connection to the server's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from cspine.core.errors import InputError
from cspine.server.database.migrate import REVISION, DatabaseError, migrate
from cspine.server.settings import ServerSettings, read_secret

DATABASE_FILE: Final = "cspine.sqlite"
"""Name of the SQLite database in the spool folder."""

_BUSY_TIMEOUT_S: Final = 30.0
_READS: Final = "cspine_reads"
_DURABLE: Final = "cspine_durable"


class Database:
    """The server's database.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE`` or ``postgresql+pg8000://USER@HOST/NAME``.
    password : str, optional
        Password of the user, which never appears in a message.

    Examples
    --------
    >>> database = Database("sqlite://")
    >>> database.upgrade()
    >>> database.is_current()
    True
    """

    def __init__(self, url: str, *, password: str | None = None) -> None:
        try:
            address = make_url(url)
        except SQLAlchemyError as error:
            raise InputError("the database's URL cannot be read; write it as sqlite:///FILE") from error
        if password is not None:
            address = address.set(password=password)
        self.is_sqlite: bool = address.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
        else:
            options.update(pool_pre_ping=True, pool_recycle=1800)
        try:
            self.engine: Engine = create_engine(address, **options)
        except ModuleNotFoundError as error:
            raise InputError(
                f'the database\'s driver {error.name} is not installed; run: pip install "cspine[postgresql]"'
            ) from error
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        self._readers = self.engine.execution_options(**{_READS: True})
        self._durable = self.engine.execution_options(**{_DURABLE: True})
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    def open(cls, settings: ServerSettings) -> Database:
        """Return the database that the settings name."""
        storage = settings.storage
        url = storage.database or f"sqlite:///{storage.spool.resolve() / DATABASE_FILE}"
        return cls(url, password=read_secret(storage.database_password))

    @contextmanager
    def session(self, *, is_durable: bool = False) -> Iterator[Session]:
        """Yield a session: one transaction, committed where the block succeeds and rolled back where it raises.

        SQLite's transactions begin with the lock for writing, so that what is read in one does not change until it is
        written.

        Parameters
        ----------
        is_durable : bool
            Whether a power failure after the block must not undo it, in SQLite, too.
        """
        with self._sessions(bind=self._durable if is_durable else self.engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that only reads, and waits for no writer."""
        with self._sessions(bind=self._readers) as session, session.begin():
            yield session

    def upgrade(self) -> None:
        """Create the tables, or bring them to this version (Alembic's migrations).

        Raises
        ------
        DatabaseError
            The database cannot be reached or written, or comes from a later version.
        """
        try:
            if self.is_current():  # Alembic's import takes longer than the rest of a start
                return
            migrate(self.engine)
        except SQLAlchemyError as error:
            raise DatabaseError(f"the database cannot be used ({type(error).__name__}); check its URL") from error

    def is_current(self) -> bool:
        """Return whether the tables are those of this version."""
        return self.revision() == REVISION

    def revision(self) -> str | None:
        """Return the version of the tables; None where there are none. Nothing is changed, and writing is tried."""
        with self.engine.begin() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return revision

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def utc_now() -> datetime:
    """Return the time, with its time zone."""
    return datetime.now(UTC)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
    """Set what SQLite needs for several processes: a write-ahead log, which readers and the writer share.

    With `synchronous=NORMAL` no commit is lost when a process is killed. When the power fails the last ones may be; the
    spool is then read anew (`cspine.server.spool.reconcile`).
    """
    connection.isolation_level = None  # transactions are begun by `_begin_immediate`
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's connection
    options = connection.get_execution_options()
    if options.get(_READS, False):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get(_DURABLE, False) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
