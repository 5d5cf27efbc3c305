"""Tune: search the settings of a network, by any number of workers on one study; needs the extra ``tune``."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import CspineError, InputError, PreemptedError
from cspine.core.files import write_json, write_text
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest, write_toml
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, VALIDATION, read_split
from cspine.experiments.tuning.search_space import SETTINGS_OF, Search
from cspine.experiments.tuning.study import SharedStudy, error_of, origin_of
from cspine.pipelines.train import train_network
from cspine.plots.tuning_figures import tuning_figure
from cspine.reports.evaluation.sections_page import write_sections
from cspine.reports.evaluation.tuning_report import tuning_sections
from cspine.training.checkpoint import CHECKPOINT_FILE
from cspine.training.epoch_observers import MAIN_STAGE, observe_epochs
from cspine.training.preemption import signals_caught

MARKER: Final = "tune.json"
BEST_FILE: Final = "best.toml"
TRIALS_FILE: Final = "trials.csv"
RESULT_FILE: Final = "result.json"
TRIALS_FOLDER: Final = "trials"


@dataclass(frozen=True)
class TuningRun:
    """What a worker found when it ended.

    Attributes
    ----------
    table : DataFrame
        One row per trial: number, state, value, epochs, seconds, and the searched settings.
    summary : dict
        Best trial, numbers of trials and importances, as written to ``result.json``.
    report : Path
        The report, in HTML.
    best : Path or None
        The best settings as TOML; None where no trial is finished.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    report: Path
    best: Path | None


class _StopTrial(Exception):  # noqa: N818 - no error: the trial has its value, or is pruned
    """The training of a trial need not go on."""

    def __init__(self, *, is_pruned: bool) -> None:
        super().__init__("the trial ends")
        self.is_pruned = is_pruned


def tune(
    search: Search,
    data: str | Path,
    out: str | Path,
    *,
    split: str | Path | None = None,
    storage: str | None = None,
    progress: Progress = silent,
) -> TuningRun:
    """Work on the trials of a search until as many as wanted are finished or run by others; then write the results.

    Any number of processes, on any number of machines, may call this with the same arguments. With a split the trials
    get its training and validation studies and no others: a data set without the rows of the rest.

    Parameters
    ----------
    search : Search
        What is searched.
    data : str or Path
        The compiled data set.
    out : str or Path
        Folder that all workers share: journal, a run per trial, table, figures, and the best settings.
    split : str or Path, optional
        A file of `cspine split`; the network's own validation set where omitted.
    storage : str, optional
        URL of a database for the study, in place of a journal in `out`.
    progress : Progress
        Reports finished trials.

    Raises
    ------
    PreemptedError
        SIGTERM or SIGUSR1 arrived; a trial that is not finished has a checkpoint and is enqueued again.
    InputError
        No trial could be finished, or the study searches something else.
    CspineError
        As by `cspine.pipelines.train.train_network`.
    """
    out = Path(out)
    locked = read_split(Path(split)) if split is not None else None
    dataset = CompiledDataset.open(Path(data))
    if locked is not None:
        dataset = dataset.restrict({*locked.studies(TRAIN), *locked.studies(VALIDATION)})
    identity = {
        "kind": "tune",
        "model": search.model,
        "search": digest(search.model_dump(mode="json", exclude={"trials"})),
        "data": str(Path(data).resolve()),
        "split": locked.sha256 if locked else None,
    }
    ResumableJob(out, MARKER, identity).open()
    study = SharedStudy.open(out, search, storage=storage, data=digest([identity["data"], identity["split"]]))
    with signals_caught() as stop:
        while (trial := study.ask()) is not None:
            progress("trials", _n_finished(study), search.trials)
            _run_trial(study, trial, dataset, out, split)
            stop.check(str(out))  # what arrived as the trial ended stops the worker, not the next trial
    progress("trials", _n_finished(study), search.trials)
    return write_results(study, out)


def _run_trial(study: SharedStudy, trial: Trial, dataset: CompiledDataset, out: Path, split: str | Path | None) -> None:
    """Train with the settings of a trial and record its outcome."""
    search = study.search
    options = {**search.settings, **study.suggest(trial)}
    if split is not None:
        options["split"] = split
    folder = out / TRIALS_FOLDER / f"{origin_of(trial):04d}"
    epochs = int(options.get("epochs", SETTINGS_OF[search.model].model_fields["epochs"].default))
    values: list[float] = []
    try:
        with study.heartbeat(trial), observe_epochs(_observer(trial, search, values, epochs)):
            train_network(search.model, dataset, folder, **options)
    except _StopTrial as stop:
        _finish(study, trial, values, is_pruned=stop.is_pruned)
    except (PreemptedError, KeyboardInterrupt):
        study.enqueue_again(trial)
        raise
    except CspineError as error:
        study.finish(trial, None, error=str(error))
    except BaseException:
        study.finish(trial, None, error="crashed")
        raise
    else:
        _finish(study, trial, values)
    for path in folder.rglob(CHECKPOINT_FILE):  # of two networks and an optimizer: the table and curves are kept
        with suppress(OSError):
            path.unlink()


def _observer(
    trial: Trial, search: Search, values: list[float], epochs: int
) -> Callable[[str, Sequence[dict[str, float]]], None]:
    """Return the observer that reports a trial's epochs, and ends it when it is pruned or has its value."""

    def observe(stage: str, curve: Sequence[dict[str, float]]) -> None:
        if stage != MAIN_STAGE:
            return
        if search.metric not in curve[-1]:
            raise InputError(f"metric {search.metric}: is no column of curves.csv, which has {', '.join(curve[-1])}")
        for row in curve[len(values) :]:
            values.append(row[search.metric])
            if math.isfinite(row[search.metric]):
                trial.report(row[search.metric], int(row["epoch"]))
        if len(curve) >= epochs:
            raise _StopTrial(is_pruned=False)  # no network is exported
        if trial.should_prune():
            raise _StopTrial(is_pruned=True)

    return observe


def _finish(study: SharedStudy, trial: Trial, values: list[float], *, is_pruned: bool = False) -> None:
    """Record the best epoch's value of a trial, or that it was pruned."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        study.finish(trial, None, error=f"{study.search.metric} was NaN in every epoch")
        return
    best = min(finite) if study.search.direction == "minimize" else max(finite)
    study.finish(trial, best, is_pruned=is_pruned)


def _n_finished(study: SharedStudy) -> int:
    return sum(each.state in {TrialState.COMPLETE, TrialState.PRUNED} for each in study.trials())


def write_results(study: SharedStudy, out: Path) -> TuningRun:
    """Write the table of trials, the report with its figures, and the best settings.

    Parameters
    ----------
    study : SharedStudy
        The study, finished or not.
    out : Path
        Folder of the search.

    Raises
    ------
    InputError
        Every trial failed; the sentence names the first one's reason.
    """
    trials, best, search = study.trials(), study.best, study.search
    table = pd.DataFrame([_row(each, search) for each in trials])
    write_text(out / TRIALS_FILE, table.to_csv(index=False, lineterminator="\n"))
    failed = [error_of(each) for each in trials if error_of(each)]
    if best is None and failed and not any(not each.state.is_finished() for each in trials):
        raise InputError(f"{out}: no trial could be finished, the first one because: {failed[0]}")
    importances = study.importances()
    states = [each.state.name.lower() for each in trials]
    summary = {
        "statement": RESEARCH_USE_ONLY,
        "model": search.model,
        "metric": search.metric,
        "direction": search.direction,
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "best": _row(best, search) if best else None,
        "importances": importances,
    }
    write_json(out / RESULT_FILE, summary)
    if best is not None:
        _write_best(best, search, out)
    report = write_sections(
        out,
        "tuning",
        tuning_sections(table, summary),
        tuning_figure(table, importances, metric=search.metric, direction=search.direction),
        title=f"Search over the settings of {search.model}",
        is_phantom=False,
    )
    return TuningRun(table, summary, report, out / BEST_FILE if best else None)


def _row(trial: FrozenTrial, search: Search) -> dict[str, Any]:
    duration = trial.duration.total_seconds() if trial.duration else None
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "epochs": max(trial.intermediate_values, default=0),
        "seconds": None if duration is None else round(duration, 1),
        **{name: trial.params.get(name) for name in search.search},
        "retry_of": origin_of(trial) if origin_of(trial) != trial.number else None,
        "error": error_of(trial),
    }


def _write_best(best: FrozenTrial, search: Search, out: Path) -> None:
    """Write the best settings as `cspine train --settings` takes them."""
    values = {name: _value_of(search, name, value) for name, value in best.params.items()}
    comment = (
        f"Best of {search.trials} trials: {search.metric} {best.value:.6g} (trial {best.number}).\n"
        f"cspine train --settings {BEST_FILE} --data ... --out ...\n{RESEARCH_USE_ONLY}"
    )
    write_toml(out / BEST_FILE, {"model": search.model, **search.settings, **values}, comment=comment)


def _value_of(search: Search, name: str, value: Any) -> Any:  # noqa: ANN401 - a value of the setting
    """Return the value of a setting, of which the study holds tuples as text."""
    choices = getattr(search.search[name], "choices", ())
    texts = [" ".join(map(str, each)) if isinstance(each, tuple) else each for each in choices]
    return choices[texts.index(value)] if value in texts else value
