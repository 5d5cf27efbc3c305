"""The study that workers share: trials by Optuna, on a journal in a shared folder or in a database.

Optuna notices workers that died only in databases (its heartbeat), and not with a journal. Here every worker notes in
its trial when it was last alive, and any worker enqueues the trials of dead ones again; this works with both. Clocks of
the machines must agree to within the grace period.
"""

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from cspine.core.errors import InputError
from cspine.core.settings import digest
from cspine.experiments.tuning.search_space import Choices, Range, Search

JOURNAL_FILE: Final = "study.journal"
HEARTBEAT_S: Final = 20.0
GRACE_S: Final = 120.0
"""A trial whose worker gave no sign of life for this long is enqueued again."""

MAX_RETRIES: Final = 3

_MAX_ATTEMPTS: Final = 6
_RETRY_S: Final = 0.5
_COMPETING: Final = ("IntegrityError", "ProgrammingError", "StorageInternalError")
"""Errors of SQLAlchemy and Optuna where another worker is making the same tables, or the same study."""
_SEARCH, _WORKER, _ALIVE, _ORIGIN, _ERROR, _SURPLUS = "search", "worker", "alive", "origin", "error", "surplus"
_COUNTED: Final = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class SharedStudy:
    """A study of Optuna, with its search.

    Attributes
    ----------
    study : optuna.Study
        The study.
    search : Search
        What is searched.
    heartbeat_s, grace_s : float
        How often a worker notes that it is alive, and after which silence its trial is enqueued again.
    """

    study: optuna.Study
    search: Search
    heartbeat_s: float = HEARTBEAT_S
    grace_s: float = GRACE_S

    @classmethod
    def open(cls, folder: Path, search: Search, *, storage: str | None = None, data: str = "") -> "SharedStudy":
        """Open the study of a search, or create it.

        Parameters
        ----------
        folder : Path
            Folder that all workers share; holds the journal.
        search : Search
            What is searched.
        storage : str, optional
            URL of a database, such as ``postgresql+pg8000://user@host/name``; the journal where omitted.
        data : str
            Hash of data and split; a study of others is refused.

        Raises
        ------
        InputError
            The database cannot be used, or holds another search of the same name.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        identity = digest([search.model_dump(mode="json", exclude={"trials"}), data])
        try:
            study = _create_study(folder, search, storage)
        except Exception as error:  # of SQLAlchemy, the driver, or Optuna
            if isinstance(error, (OSError, MemoryError)):
                raise
            name = storage.rpartition("@")[2] if storage else str(folder / JOURNAL_FILE)
            raise InputError(f"{name}: cannot be used ({type(error).__name__}); check URL, user and rights") from error
        known = study.user_attrs.get(_SEARCH)
        if known is None:
            study.set_user_attr(_SEARCH, identity)
        elif known != identity:
            raise InputError(
                f"{folder}: the study searches something else (settings, bounds or data); choose another --out"
            )
        return cls(study, search)

    def ask(self) -> Trial | None:
        """Return the next trial; None where as many as wanted are finished or run by others."""
        self.enqueue_dead_trials()
        if not any(each.state is TrialState.WAITING for each in self.trials()) and self._n_counted() >= self._n_wanted:
            return None
        trial = self.study.ask()
        before = [each for each in self.trials() if each.number < trial.number and _is_counted(each)]
        if len(before) >= self._n_wanted and _ORIGIN not in trial.user_attrs:  # another worker was quicker
            trial.set_user_attr(_SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr(_WORKER, f"{socket.gethostname()}:{os.getpid()}")
        trial.set_user_attr(_ALIVE, time.time())
        return trial

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Return the searched settings of a trial; the draws depend on the seed, its number and earlier trials."""
        self.study.sampler = _make_sampler(self.search, trial.number)
        return {name: _suggest(trial, name, space) for name, space in self.search.search.items()}

    @contextmanager
    def heartbeat(self, trial: Trial) -> Iterator[None]:
        """Note that the trial's worker is alive, as long as the context lasts."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.heartbeat_s):
                trial.set_user_attr(_ALIVE, time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def finish(self, trial: Trial, value: float | None, *, is_pruned: bool = False, error: str = "") -> None:
        """Record the outcome of a trial: its value, that it was pruned, or why it failed."""
        if error:
            trial.set_user_attr(_ERROR, error)
        state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE if value is not None else TrialState.FAIL
        self.study.tell(trial, value if state is TrialState.COMPLETE else None, state=state, skip_if_finished=True)

    def enqueue_again(self, trial: Trial | FrozenTrial) -> bool:
        """End a trial that was interrupted, and enqueue its settings again; False where it was retried too often.

        The new trial has the folder of the first one, so that its training is resumed from the checkpoint.
        """
        try:
            self.study.tell(trial.number, state=TrialState.FAIL)
        except ValueError:  # finished meanwhile, or another worker was quicker
            return False
        origin = origin_of(trial)
        n_retries = sum(origin_of(each) == origin for each in self.trials()) - 1
        if n_retries >= MAX_RETRIES:
            return False
        self.study.enqueue_trial(trial.params, user_attrs={_ORIGIN: origin})
        return True

    def enqueue_dead_trials(self) -> int:
        """Enqueue the trials of workers that gave no sign of life; return how many."""
        silent_since = time.time() - self.grace_s
        return sum(
            self.enqueue_again(each)
            for each in self.trials()
            if each.state is TrialState.RUNNING and _last_sign(each) < silent_since
        )

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in the order of their numbers; not those that were given back at once."""
        return [each for each in self.study.get_trials(deepcopy=False) if _SURPLUS not in each.user_attrs]

    @property
    def best(self) -> FrozenTrial | None:
        """The finished trial of the best value; None where none is finished."""
        finished = [each for each in self.trials() if each.state is TrialState.COMPLETE and each.value is not None]
        sign = 1.0 if self.search.direction == "minimize" else -1.0
        return min(finished, key=lambda each: sign * float(each.value or 0.0), default=None)

    def importances(self) -> dict[str, float]:
        """Return how much of the variation of the metric each searched setting explains; empty with too few trials.

        The functional analysis of variance of a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014).
        """
        finished = [each for each in self.trials() if each.state is TrialState.COMPLETE]
        if len(finished) < 4 or len({each.value for each in finished}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.search.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Mapping[str, float] = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return dict(found)

    @property
    def _n_wanted(self) -> int:
        return self.search.trials

    def _n_counted(self) -> int:
        return sum(map(_is_counted, self.trials()))


def origin_of(trial: Trial | FrozenTrial) -> int:
    """Return the number of the first trial with the same settings, of which this one is a retry; or its own."""
    return int(trial.user_attrs.get(_ORIGIN, trial.number))


def error_of(trial: FrozenTrial) -> str:
    """Return why a trial failed; empty where it did not, or its worker died."""
    return str(trial.user_attrs.get(_ERROR, ""))


def _is_counted(trial: FrozenTrial) -> bool:
    """Return whether a trial is one of those wanted: not where its worker died, since it is then enqueued again."""
    return trial.state in _COUNTED or bool(error_of(trial))


def _last_sign(trial: FrozenTrial) -> float:
    """Return when the trial's worker was last alive, in seconds since the epoch."""
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return float(trial.user_attrs.get(_ALIVE, started))


def _open_storage(folder: Path, url: str | None) -> optuna.storages.BaseStorage:
    if url is not None:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE)))


def _create_study(folder: Path, search: Search, url: str | None) -> optuna.Study:
    """Create the study, or load it; workers that begin together compete for the making of a database's tables."""
    for attempt in range(_MAX_ATTEMPTS):
        try:
            return optuna.create_study(
                storage=_open_storage(folder, url),
                study_name=f"cspine-{folder.resolve().name}",
                direction=search.direction,
                load_if_exists=True,
                pruner=_make_pruner(search),
            )
        except Exception as error:
            if type(error).__name__ not in _COMPETING or attempt == _MAX_ATTEMPTS - 1:
                raise
            time.sleep(_RETRY_S * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _make_sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    seed = int(digest([search.seed, number])[:8], 16)
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar is experimental
        return optuna.samplers.TPESampler(n_startup_trials=search.startup_trials, constant_liar=True, seed=seed)


def _make_pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(search.startup_trials, search.warmup_epochs)
    if search.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(search.warmup_epochs, 1), reduction_factor=3)
    return optuna.pruners.NopPruner()


def _suggest(trial: Trial, name: str, space: Range | Choices) -> Any:  # noqa: ANN401 - a value of the setting
    if isinstance(space, Choices):
        if all(not isinstance(each, tuple) for each in space.choices):
            return trial.suggest_categorical(name, space.choices)  # type: ignore[arg-type]
        texts = [" ".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in space.choices]
        return space.choices[texts.index(trial.suggest_categorical(name, texts))]
    if space.is_whole:
        step = int(space.step or 1)
        return trial.suggest_int(name, int(space.low), int(space.high), step=step, log=space.log)
    return trial.suggest_float(name, float(space.low), float(space.high), step=space.step, log=space.log)
