"""``cspine evaluate``: predictions of any models, or the weights of a training run, against a reference standard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_error, say_research_only
from cspine.cli.options import Json, ShardOption, explicit_shard, say_shard
from cspine.core.errors import InputError
from cspine.core.execution.execution import Execution

if TYPE_CHECKING:
    from cspine.evaluation.evaluate import EvaluationResult

_EPILOG = (
    "Examples:  cspine evaluate --truth train.csv --predictions A.csv --predictions B.csv --out evaluation   |   "
    "cspine evaluate --run runs/levels --data test-compiled"
)


Truth = Annotated[
    Path | None,
    typer.Option("--truth", help="Reference standard: train.csv, a folder with it, or a compiled data set."),
]
PredictionFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        help="Predictions of a model: a folder of findings, a table with a column per target, or a submission. Repeat "
        "for each model.",
    ),
]
Run = Annotated[Path | None, typer.Option("--run", help="Training run to evaluate instead, on --data.")]
Data = Annotated[Path | None, typer.Option("--data", help="Compiled data set to evaluate the run on.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the report; a folder within the run if omitted.")]
OperatingPoints = Annotated[
    Path | None,
    typer.Option("--operating-points", help="Fixed operating points: the points.json of another evaluation."),
]
Split = Annotated[Path | None, typer.Option("--split", help="Locked split (of cspine split).")]
Part = Annotated[str | None, typer.Option("--part", help="Part of the split to evaluate on; test if omitted.")]
Boxes = Annotated[Path | None, typer.Option("--boxes", help="The challenge's train_bounding_boxes.csv.")]
Subgroups = Annotated[Path | None, typer.Option("--subgroups", help="CSV of subgroup variables by StudyInstanceUID.")]
GalleryData = Annotated[
    Path | None,
    typer.Option("--gallery-data", help="Compiled data set that shows the worst failures of the predictions."),
]
BootstrapSamples = Annotated[int, typer.Option("--bootstrap-samples", min=100, help="Number of bootstrap resamples.")]


@app.command("evaluate", epilog=_EPILOG)
@handle_errors
def evaluate_command(
    truth: Truth = None,
    predictions: PredictionFiles = None,
    run: Run = None,
    data: Data = None,
    out: Out = None,
    operating_points: OperatingPoints = None,
    split: Split = None,
    part: Part = None,
    boxes: Boxes = None,
    subgroups: Subgroups = None,
    gallery_data: GalleryData = None,
    bootstrap_samples: BootstrapSamples = 2000,
    shard: ShardOption = None,
    as_json: Json = False,
) -> None:
    """Evaluate models against a reference standard.

    The report holds discrimination, calibration, operating points, lesion localization, subgroups and comparisons of
    models, with 95 % confidence intervals. With --shard, a run's weights classify only a part of the studies.
    """
    from cspine.pipelines.evaluate import PAGE_FILE, EvaluateSettings, evaluate_predictions, evaluate_run

    settings = EvaluateSettings(
        operating_points=operating_points,
        split=split,
        part=part,
        boxes=boxes,
        subgroups=subgroups,
        gallery_data=gallery_data,
        n_resamples=bootstrap_samples,
    )
    if (run is None) != (data is None) or (run is None) == (not predictions):
        raise InputError("give --truth and --predictions, or --run and --data")
    if shard is not None and run is None:
        raise InputError("--shard: predictions are evaluated by one calculation over all studies; leave it out")
    with progress_bar() as progress:
        if run is not None and data is not None:
            if truth is not None or boxes is not None:
                raise InputError("--run is evaluated by the labels of --data; give neither --truth nor --boxes")
            if gallery_data is not None:
                raise InputError("--gallery-data: the images of a run are those of --data; leave it out")
            how = Execution(shard=explicit_shard(shard))
            if how.shard is not None:
                from cspine.pipelines.cluster.classify import classify_shard

                say_shard(how, classify_shard(run, data, how.shard, out, settings, progress=progress))
                return
            report = evaluate_run(run, data, out, settings, progress=progress)
        elif truth is None or out is None or not predictions:
            raise InputError("--predictions needs --truth as the reference standard, and --out for the report")
        else:
            report = evaluate_predictions(truth, predictions, out, settings, progress=progress)
    if as_json:
        print_json(report.result.to_json())
    else:
        _show(report.result)
        say(f"Open the report:  {report.folder / PAGE_FILE if report.folder else ''}")
    leaks = report.result.protocol.n_training_leaks
    if leaks:
        say_error(
            f"{leaks} of these studies are of patients that the weights were trained on: the results are optimistic; "
            "evaluate on other patients"
        )
    say_research_only()


def _show(result: "EvaluationResult") -> None:
    """Print the AUC of each target, the comparisons of models, and the circumstances."""
    from cspine.reports.evaluation.evaluation_sections import target_name
    from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT
    from cspine.reports.evaluation.sections import format_interval

    for model in result.models:
        say(model.name)
        for row in model.targets:
            cases = f"{row.n_positives:>5} of {row.n_cases:<6}"
            say(f"  {target_name(row.target):<10} {cases} AUC {format_interval(row.auc)}")
        for note in model.notes:
            say(f"  {note}")
    for comparison in result.comparisons:
        difference = comparison.difference
        names = f"{comparison.model} vs. {comparison.other}, {target_name(comparison.target)}"
        say(f"{names}: difference in AUC {difference.interval.value:+.3f} (p {difference.p_value:.2g})")
    accesses = result.protocol.n_earlier_accesses
    if accesses is not None:
        earlier = f"{accesses} earlier ones, see the log beside the split" if accesses else "the first one"
        say(f"This evaluation on the holdout part is recorded; {earlier}.")
    if result.is_phantom:
        say(PHANTOM_STATEMENT)
