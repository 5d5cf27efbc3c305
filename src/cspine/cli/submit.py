"""``cspine submit``: the challenge's CSV."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.app import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Data, Json, Run

_EPILOG = "Example:  cspine submit --data compiled --run runs/baseline --out submission.csv --transform study-optimal"


class Transform(StrEnum):
    """What is written: the probability itself, or the number that the challenge's metric rewards."""

    none = "none"
    metric_optimal = "metric-optimal"
    study_optimal = "study-optimal"


@app.command("submit", epilog=_EPILOG)
@handle_errors
def submit_command(
    data: Data,
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    transform: Annotated[
        Transform,
        typer.Option(
            "--transform",
            help="none: the plain p; metric-optimal: 2p/(1+p), best where the metric is normalised over all studies; "
            "study-optimal: best where it is normalised within each study.",
        ),
    ] = Transform.none,
    as_json: Json = False,
) -> None:
    """Write the challenge's submission file: row_id and fractured, eight rows per study."""
    from cspine.classification.loading import load_classifier
    from cspine.classification.predict_dataset import classify_dataset
    from cspine.core.files import write_text
    from cspine.datasets.compiled import CompiledDataset
    from cspine.metrics.rsna2022 import metric_optimal, study_optimal
    from cspine.datasets.submission import submission_table

    weights = load_classifier(run / "weights.onnx")
    with progress_bar() as progress:
        probability = classify_dataset(CompiledDataset.open(data), weights, progress=progress)
    values = probability.to_numpy()
    if transform is Transform.metric_optimal:
        values = metric_optimal(values)
    elif transform is Transform.study_optimal:
        values = study_optimal(values)
    table = submission_table(list(probability.index), values)
    write_text(out, table.to_csv(index=False))
    if as_json:
        print_json({"file": str(out), "studies": len(probability), "rows": len(table), "transform": transform.value})
    else:
        say(f"{len(probability)} studies, {len(table)} rows ({transform.value}): {out}")
        say_research_only()
