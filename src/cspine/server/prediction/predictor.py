"""The process that predicts, seen from its worker: started, asked, and ended where it takes too long."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

from cspine.core.errors import CspineError
from cspine.server.database.jobs import JobOutcome
from cspine.server.prediction.predict_task import AttemptError, PredictTask, log_options, serve_tasks
from cspine.server.settings import PredictionSettings

_TICK_S: Final = 0.5
_END_S: Final = 5.0


class CanceledError(Exception):
    """The task is no longer wanted."""


class Predictor:
    """A process that predicts one study after the other, with the weights loaded once.

    Parameters
    ----------
    settings : PredictionSettings
        Weights and time limit.
    """

    def __init__(self, settings: PredictionSettings) -> None:
        self._settings = settings
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self._process is not None and self._process.is_alive():
            return
        self.end()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        process = context.Process(target=serve_tasks, args=(theirs, self._settings, log_options()), daemon=True)
        process.start()
        theirs.close()
        self._process = process

    def predict(self, task: PredictTask, is_wanted: Callable[[], bool]) -> JobOutcome:
        """Return the outcome of a task.

        Parameters
        ----------
        task : PredictTask
            What is predicted.
        is_wanted : callable
            Asked twice a second; the process is ended where it returns False.

        Raises
        ------
        AttemptError
            The attempt failed: the process died, took too long or reported an error.
        DiskFullError
            No space is left for the results.
        CanceledError
            The task is no longer wanted.
        """
        self.start()
        connection, process = self._connection, self._process
        if connection is None or process is None:
            raise AttemptError("the process of the prediction could not be started")
        end = time.monotonic() + self._settings.timeout_s
        try:
            connection.send(task)
            while not connection.poll(_TICK_S):
                if not process.is_alive() and not connection.poll(0):
                    raise EOFError
                if not is_wanted():
                    self.end()
                    raise CanceledError
                if time.monotonic() > end:
                    self.end()
                    raise AttemptError(f"the prediction took longer than {self._settings.timeout_s:g} s")
            answer = connection.recv()
        except (EOFError, OSError) as error:
            self.end()
            raise AttemptError(
                "the process of the prediction died: out of memory, or a crash in native code"
            ) from error
        if isinstance(answer, CspineError):
            raise answer
        outcome: JobOutcome = answer
        return outcome

    def end(self) -> None:
        """End the process, at once."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(_END_S)
        self._process = self._connection = None
