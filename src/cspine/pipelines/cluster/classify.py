"""Evaluation of a run in shards: each classifies its studies, and the merge evaluates all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cspine.classification.loading import load_classifier
from cspine.classification.predict_dataset import Classified, predict_dataset
from cspine.core.anatomy import TARGETS
from cspine.core.columns import MARK_COLUMNS, STUDY
from cspine.core.errors import InputError
from cspine.core.execution.shard_records import SHARDS_FOLDER, ShardRecord, ShardRecords
from cspine.core.execution.shards import Shard
from cspine.core.files import plain_json, read_json
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.run_files import WEIGHTS_FILE
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import CompiledDataset
from cspine.models.providers import provider_of
from cspine.pipelines.evaluate import EvaluateSettings, EvaluationReport, default_folder, evaluate_run

SHARDED_MARKER: Final = f"{SHARDS_FOLDER}/evaluate.json"
"""File that holds what is evaluated, for the merge."""


def classify_shard(
    run: str | Path,
    data: str | Path,
    shard: Shard,
    out: str | Path | None = None,
    settings: EvaluateSettings | None = None,
    *,
    progress: Progress = silent,
) -> Path:
    """Classify the studies of a shard by the weights of a run; `merge_classified` evaluates them.

    Parameters
    ----------
    run, data, out, settings
        As of `cspine.pipelines.evaluate.evaluate_run`.
    shard : Shard
        Which studies.
    progress : Progress
        Called with the number of classified studies.

    Returns
    -------
    Path
        Folder of the report, which holds what the shards recorded.

    Raises
    ------
    WeightsError, SourceError, InputError
        As by `cspine.pipelines.evaluate.evaluate_run`.
    OutputTakenError
        The folder holds shards of another evaluation, or of another number of shards.
    DiskFullError, OutputError
        The folder cannot be written.
    """
    run, data = as_path(run), as_path(data)
    folder = as_path(out) if out is not None else default_folder(run, data)
    classifier, dataset = load_classifier(run / WEIGHTS_FILE), CompiledDataset.open(data)
    identity = {
        "kind": "evaluation in shards",
        "run": str(run.resolve()),
        "data": str(data.resolve()),
        "weights": classifier.identity.sha256,
        "data_sha256": dataset.sha256,
        **provider_of(classifier.identity),
        "settings": _resolved(settings or EvaluateSettings()).model_dump(mode="json"),
    }
    marker = folder / SHARDED_MARKER
    ResumableJob(marker.parent, marker.name, identity).open()
    record = ShardRecord.begin(folder, shard, sorted(set(dataset.manifest()["study_instance_uid"].astype(str))))
    probability, marks = predict_dataset(dataset, classifier, shard=shard, progress=progress)
    if record is not None:
        record.finish(folder, {"classified": _to_json(probability, marks)})
    return folder


def merge_classified(folder: Path, records: ShardRecords) -> EvaluationReport:
    """Evaluate what all shards classified, as `cspine.pipelines.evaluate.evaluate_run` does; raises as it does.

    Raises
    ------
    InputError
        The weights or the data set are no longer those that the shards used.
    """
    identity: dict[str, Any] = read_json(folder / SHARDED_MARKER)
    run, data = as_path(identity["run"]), as_path(identity["data"])
    now = {
        "weights": load_classifier(run / WEIGHTS_FILE).identity.sha256,
        "data_sha256": CompiledDataset.open(data).sha256,
    }
    for name, path in (("weights", run / WEIGHTS_FILE), ("data_sha256", data)):
        if identity.get(name) != now[name]:
            raise InputError(
                f"{path}: was changed since the shards used it; delete {SHARDS_FOLDER}/ in {folder} and run them again"
            )
    classified = _from_json([record.results["classified"] for record in records.finished])
    settings = EvaluateSettings.model_validate(identity["settings"])
    return evaluate_run(identity["run"], identity["data"], folder, settings, classified=classified)


def _resolved(settings: EvaluateSettings) -> EvaluateSettings:
    """Return settings whose paths mean the same in the folder of the process that merges."""
    paths = {name: value for name, value in dict(settings).items() if isinstance(value, Path)}
    return settings.model_copy(update={name: as_path(path).resolve() for name, path in paths.items()})


def _to_json(probability: pd.DataFrame, marks: pd.DataFrame | None) -> dict[str, Any]:
    """Return what a shard classified, without loss: JSON holds every digit of a number."""
    return {
        "dtypes": [str(dtype) for dtype in probability.dtypes],
        "probability": {str(uid): plain_json(row.tolist()) for uid, row in zip(*_rows(probability), strict=True)},
        "marks": None if marks is None else plain_json(marks.to_numpy(object).tolist()),
    }


def _rows(table: pd.DataFrame) -> tuple[pd.Index, np.ndarray[Any, Any]]:
    return table.index, table.to_numpy()


def _from_json(parts: Sequence[dict[str, Any]]) -> Classified:
    """Return what `cspine.classification.predict_dataset.predict_dataset` returns for the studies of all shards."""
    rows = {uid: row for part in parts for uid, row in part["probability"].items()}
    probability = pd.DataFrame.from_dict(
        {uid: rows[uid] for uid in sorted(rows)}, orient="index", columns=list(TARGETS)
    ).rename_axis(STUDY)
    dtypes = next((part["dtypes"] for part in parts if part["probability"]), ["float64"] * len(TARGETS))
    probability = probability.astype(dict(zip(TARGETS, dtypes, strict=True)))
    if parts[0]["marks"] is None:
        return probability, None
    marks = pd.DataFrame([row for part in parts for row in part["marks"]], columns=list(MARK_COLUMNS))
    order = marks[STUDY].map({uid: number for number, uid in enumerate(sorted(rows))})
    marks = marks.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    return probability, marks.astype(dict.fromkeys(list(MARK_COLUMNS)[2:], "float64"))
