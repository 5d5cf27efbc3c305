"""Logging by the standard library: the loggers ``cspine.*``, silent until a program configures them.

The library only emits records; it adds no handler, no filter and changes no level. Records hold counts, stages,
settings and hashes, never names, identifiers or paths of patients.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TextIO

ROOT: Final = "cspine"
"""Name of the logger above all of ours."""


def configure_logging(*, verbose: bool = False, json_lines: bool = False, stream: TextIO | None = None) -> None:
    """Let the records of ``cspine.*`` be written; for programs, such as the command line, not for libraries.

    Parameters
    ----------
    verbose : bool
        Write records from INFO up; so do JSON lines. From WARNING up otherwise.
    json_lines : bool
        Write one JSON object per line (``time``, ``level``, ``logger``, ``message``) instead of text.
    stream : text stream, optional
        Where to write; standard error where omitted.
    """
    logger = logging.getLogger(ROOT)
    for handler in [each for each in logger.handlers if isinstance(each, _Handler)]:
        logger.removeHandler(handler)  # configured before in this process
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_lines else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose or json_lines else logging.WARNING)
    logger.propagate = False


@contextmanager
def quiet_logger(name: str, level: int) -> Iterator[None]:
    """Raise the level of another library's logger for the block, and restore it.

    Parameters
    ----------
    name : str
        Name of the other library's logger.
    level : int
        Records below this level are dropped.
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def logging_options() -> dict[str, bool] | None:
    """Return the options that `configure_logging` was last called with in this process; None where it was not."""
    handler = next((each for each in logging.getLogger(ROOT).handlers if isinstance(each, _Handler)), None)
    if handler is None:
        return None
    verbose = logging.getLogger(ROOT).level <= logging.INFO
    return {"verbose": verbose, "json_lines": isinstance(handler.formatter, _JsonFormatter)}


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` adds and replaces."""


class _JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of JSON; only the type of an exception is logged: its text may name a patient."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            entry["exception"] = record.exc_info[0].__name__
        return json.dumps(entry, ensure_ascii=False)
