"""What all commands share: the application, global options, errors as one sentence, progress, JSON."""

import functools
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cspine.cli.streams import OutputConsole, discard, prepare_streams, writing_output
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import (
    OUT_OF_MEMORY,
    CspineError,
    DiskFullError,
    NotAssessableError,
    OutOfMemoryError,
    OutputError,
    OutputTakenError,
    PreemptedError,
    is_memory_error,
)
from cspine.core.extras import missing_extra
from cspine.core.garbage import collect_less_often
from cspine.core.logging import configure_logging, logging_options
from cspine.core.processors import cpu_quota, default_workers, limit_native_threads
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.core.text import sanitize_text

DONE: Final = 0
SOME_FAILED: Final = 1
WRONG_CALL: Final = 2
INTERRUPTED: Final = 130
"""Exit code of a program that Ctrl-C ended, by the convention of shells."""

TERMINATED: Final = 143
"""Exit code of a program that SIGTERM ended, as a container's end or a batch system sends it."""

PREEMPTED: Final = 75
"""EX_TEMPFAIL of sysexits.h: training was stopped by a signal and wrote a checkpoint; the same command continues."""

DEBUG: Final = "CSPINE_DEBUG"
"""Environment variable; where it is set, unexpected errors keep their traceback."""

P = ParamSpec("P")

_LOGGER: Final = logging.getLogger(__name__)

out: Final = OutputConsole(highlight=False)
err: Final = Console(stderr=True, highlight=False)

app: Final = typer.Typer(
    name="cspine",
    help=f"Find cervical-spine fractures in CT. {RESEARCH_USE_ONLY}",
    epilog="Begin with:  cspine demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(requested: bool) -> None:
    if requested:
        from cspine import __version__

        out.print(f"cspine {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log every step on standard error; stands before the command.")
    ] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log every step as JSON lines on standard error.")
    ] = False,
) -> None:
    """Apply the options that stand before a command."""
    del version  # its callback has handled it
    configure_logging(verbose=verbose, json_lines=log_json)


class _Terminated(KeyboardInterrupt):
    """The program is asked to end by SIGTERM."""


def _terminate(*_: object) -> None:
    raise _Terminated


def run_application() -> None:
    """Run the command line on standard streams of any kind, within the processors of the container."""
    prepare_streams()
    collect_less_often()
    signal.signal(signal.SIGTERM, _terminate)  # it removes temporary files and ends the workers
    if cpu_quota() is not None:
        limit_native_threads(default_workers())  # BLAS and OpenMP know of the machine's processors only
    try:
        with writing_output():  # --help is no command
            app()
    except OutputError as error:
        say_error(str(error))
        sys.exit(SOME_FAILED)
    finally:
        gc.freeze()  # what is left ends with the process: looking through it for cycles would take 0.3 s


def handle_errors(command: Callable[P, int | None]) -> Callable[P, None]:
    """Make a command return an exit code and report an error as one sentence instead of a traceback.

    Its paths may be URLs of a store: ``s3://bucket/folder`` arrives as the path ``s3:/bucket/folder``.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            for name, value in kwargs.items():
                if isinstance(value, Path):
                    kwargs[name] = as_path(value)
                elif isinstance(value, list) and value and isinstance(value[0], Path):
                    kwargs[name] = [as_path(path) for path in value]
            code = command(*args, **kwargs) or DONE
            with writing_output():
                sys.stdout.flush()
        except KeyboardInterrupt as stop:
            say_error("interrupted; nothing is half-written, run the same command again: what it has finished is kept")
            code = TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
        except Exception as error:  # its traceback may quote the files, and so a patient
            sentence, code = _sentence(error)
            if sentence is None:
                raise
            say_error(sentence)
        raise typer.Exit(code)

    return run


def _sentence(error: Exception) -> tuple[str | None, int]:
    """Return the sentence that reports an error, None where its traceback is wanted, and the exit code."""
    if isinstance(error, CspineError) and (isinstance(error, OutOfMemoryError) or not is_memory_error(error)):
        return str(error), _exit_code(error)
    if is_memory_error(error):
        return OUT_OF_MEMORY, SOME_FAILED
    extra = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    if extra is not None:
        return str(extra), WRONG_CALL
    if os.environ.get(DEBUG):
        return None, SOME_FAILED
    kind = type(error).__name__
    return (
        f"unexpected {kind}; please report it, set {DEBUG}=1 for the traceback (it may hold personal data)",
        SOME_FAILED,
    )


def exit_code(*, complete: bool) -> int:
    """Return the exit code of a command that ran to its end: 1 where something could not be read or written."""
    return DONE if complete else SOME_FAILED


def _exit_code(error: CspineError) -> int:
    if isinstance(error, PreemptedError):
        return PREEMPTED
    if isinstance(error, (DiskFullError, NotAssessableError, OutOfMemoryError)):
        return SOME_FAILED
    if isinstance(error, OutputError) and not isinstance(error, OutputTakenError):
        return SOME_FAILED
    return WRONG_CALL


def escape_control_characters(text: str) -> str:
    r"""Return text from a file so that a terminal shows it and does nothing else: no markup, no control characters.

    >>> escape_control_characters("soft\x1b[2J")
    'soft?[2J'
    """
    return escape(sanitize_text(text))


def say(text: str) -> None:
    """Print text for people on standard output, line by line."""
    for line in text.split("\n"):
        out.print(escape_control_characters(line), soft_wrap=True)


def say_error(text: str) -> None:
    """Print a sentence on standard error; as a log record where the log is JSON."""
    if _logs_json():
        _LOGGER.error(sanitize_text(text))
        return
    _print_error(f"[bold red]cspine:[/] {escape_control_characters(text)}")


def _print_error(text: str) -> None:
    """Print a line on standard error, which may be full."""
    try:
        err.print(text, soft_wrap=True)
    except OSError:
        discard(sys.stderr)


def _logs_json() -> bool:
    options = logging_options()
    return options is not None and options["json_lines"]


def say_research_only() -> None:
    """Print the statement that every output carries; as a log record where the log is JSON."""
    if _logs_json():
        _LOGGER.info(RESEARCH_USE_ONLY)
        return
    _print_error(f"[dim]{RESEARCH_USE_ONLY}[/]")


def print_json(value: Any) -> None:  # noqa: ANN401 - anything JSON can hold
    """Print JSON for programs, and nothing else, on standard output."""
    with writing_output():
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress on standard error: bars on a terminal, a line every few seconds elsewhere."""
    if _logs_json():
        yield silent
        return
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left:"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int, /) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield update


class _Lines:
    """Progress as lines of text with the estimated time left, at most one per `EVERY_S` seconds and stage."""

    EVERY_S: Final = 5.0

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        if done == 0 or stage not in self._started:
            self._started[stage] = self._shown[stage] = now
            return
        if now - self._shown[stage] < self.EVERY_S or not done:
            return
        self._shown[stage] = now
        left = (now - self._started[stage]) / done * (total - done)
        _print_error(f"{stage}: {done} of {total}, about {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: float) -> str:
    """Format a number of bytes for people.

    >>> size(2_500_000)
    '2.5 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
