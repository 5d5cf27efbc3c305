"""``cspine evaluate``: any systems' answers, or a run's, against truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, handle_errors, print_json, progress_bar, say, say_error, say_research_only
from cspine.cli.options import Json

if TYPE_CHECKING:
    from cspine.classification.baseline import Baseline
    from cspine.classification.level_classifier import LevelClassifier
    from cspine.core.progress import Progress
    from cspine.datasets.compiled import CompiledDataset
    from cspine.datasets.reference_standard import ReferenceStandard
    from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings
    from cspine.evaluation.operating_point_metrics import FixedOperatingPoints
    from cspine.evaluation.predictions import Predictions

_EPILOG = (
    "Examples:  cspine evaluate --truth train.csv --predictions A.csv --predictions B.csv --out evaluation   |   "
    "cspine evaluate --run runs/levels --data test-compiled"
)


@app.command("evaluate", epilog=_EPILOG)
@handle_errors
def evaluate_command(
    truth: Annotated[
        Path | None, typer.Option("--truth", help="A train.csv, a folder that holds one, or a compiled data set.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            help="A system's answers: a folder of findings, a table with a column per target, or a submission; again "
            "for each system.",
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A training run to judge instead, with --data.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The compiled data set to judge the run on.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report; of a run, inside of it if left out.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option("--operating-points", help="Operating points frozen before: points.json of another evaluation."),
    ] = None,
    split: Annotated[Path | None, typer.Option("--split", help="A split of cspine split.")] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="The part of the split to judge on; test if left out.")
    ] = None,
    boxes: Annotated[Path | None, typer.Option("--boxes", help="The challenge's train_bounding_boxes.csv.")] = None,
    groups: Annotated[
        Path | None, typer.Option("--subgroups", help="A CSV of what studies differ in, by StudyInstanceUID.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--gallery-data", help="A compiled data set that shows what predictions got wrong.")
    ] = None,
    draws: Annotated[int, typer.Option("--bootstrap-samples", min=100, help="Bootstrap draws.")] = 2000,
    as_json: Json = False,
) -> None:
    """Judge systems' answers by what is true: ranking, calibration, thresholds, pointing, parts, with intervals."""
    from dataclasses import replace

    from cspine.core.errors import InputError
    from cspine.datasets.locked_split import HOLDOUT, read_split, take_part
    from cspine.evaluation.cases import match
    from cspine.evaluation.evaluate import Protocol, judge
    from cspine.evaluation.holdout_access_log import record_holdout_access
    from cspine.evaluation.operating_point_metrics import read_points

    if (run is None) != (data is None) or (run is None) == (not predictions):
        raise InputError("give --truth and --predictions, or --run and --data")
    if run is None and (truth is None or out is None):
        raise InputError("--predictions needs --truth to be judged by, and --out for the report")
    if run is not None and (truth is not None or boxes is not None):
        raise InputError("--run is judged by what --data holds; give neither --truth nor --boxes")
    if run is not None and images is not None:
        raise InputError("--images: a run's pictures are those of --data; leave it out")
    if part is not None and split is None:
        raise InputError(f"--part {part}: is a part of a split; give --split too")
    frozen = read_points(points) if points else None
    parts = read_split(split) if split else None
    chosen = (part or "test") if parts else ""
    with progress_bar() as progress:
        if run and data:
            asked = _of_run(run, data, groups, progress)
        else:
            asked = _of_files(truth, predictions, boxes, groups, images)
        known = take_part(asked.truth, parts, chosen) if parts else asked.truth
        settings = replace(asked.settings, draws=draws, points=frozen or asked.settings.points)
        seen = _seen_in_training(asked, match(known, asked.systems).truth)  # names what does not fit
        folder = out or _inside(run, data)
        _claim(folder, known, asked, settings, chosen)
        looks = record_holdout_access(split, parts, asked.systems) if split and parts and chosen == HOLDOUT else None
        protocol = Protocol(chosen, parts.sha256 if parts else "", looks, seen)
        judgement = judge(known, asked.systems, replace(settings, protocol=protocol), progress=progress)
    _write(folder, judgement, asked)
    if as_json:
        print_json(judgement.to_json())
    else:
        _tell(judgement, folder)
    if seen:
        say_error(f"{seen} of these studies were used in training: the numbers are too good; use other studies")
    say_research_only()


@dataclass(frozen=True)
class _Asked:
    """What is judged: truth, systems, and of a run its weights and its images."""

    truth: "ReferenceStandard"
    systems: "list[Predictions]"
    settings: "EvaluationSettings"
    weights: "Baseline | LevelClassifier | None" = None
    store: "CompiledDataset | None" = None
    run: Path | None = None


def _inside(run: Path | None, data: Path | None) -> Path:
    """Return where a run's evaluation goes."""
    if run is None or data is None:  # pragma: no cover - the command has asked for --out
        raise AssertionError("nowhere to write")
    return run / f"evaluation-{data.resolve().name}"


def _of_files(
    truth: Path | None,
    predictions: list[Path] | None,
    boxes: Path | None,
    groups: Path | None,
    images: Path | None,
) -> _Asked:
    from cspine.datasets.compiled import CompiledDataset
    from cspine.datasets.reference_standard import read_reference_standard
    from cspine.evaluation.evaluate import EvaluationSettings
    from cspine.evaluation.predictions import read_predictions

    if truth is None or predictions is None:  # pragma: no cover - the command has checked it
        raise AssertionError("nothing to judge")
    names = _names(predictions)
    systems = [read_predictions(path, name=name) for path, name in zip(predictions, names, strict=True)]
    store = CompiledDataset.open(images) if images else None
    return _Asked(
        read_reference_standard(truth, boxes=boxes, groups=groups), systems, EvaluationSettings(), store=store
    )


def _names(paths: list[Path]) -> list[str]:
    """Return each file's own name, or its path where two have the same.

    >>> _names([Path("a/x.csv"), Path("b/x.csv"), Path("c.csv")])
    ['a/x.csv', 'b/x.csv', 'c']
    """
    stems = [path.resolve().stem for path in paths]
    return [str(path) if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def _of_run(run: Path, data: Path, groups: Path | None, progress: "Progress") -> _Asked:
    from cspine.classification.loading import load_classifier
    from cspine.classification.predict_dataset import predict_dataset
    from cspine.datasets.compiled import CompiledDataset
    from cspine.datasets.reference_standard import read_reference_standard
    from cspine.evaluation.evaluate import EvaluationSettings
    from cspine.evaluation.predictions import Predictions

    known, weights = read_reference_standard(data, groups=groups), load_classifier(run / "weights.onnx")
    store = CompiledDataset.open(data)
    said, marks = predict_dataset(store, weights, progress=progress)
    name = f"{weights.metadata.name}, {run.resolve().name}"
    not_assessable = {str(study): "not compiled" for study in known.labels.index if study not in said.index}
    answered = Predictions(name, said, not_assessable, marks, phantom_only=weights.metadata.phantom_only)
    baselines = _constants(weights)
    points = _card_points(weights)
    settings = EvaluationSettings(baselines=baselines) if points is None else EvaluationSettings(points, baselines)
    return _Asked(known, [answered], settings, weights, store, run)


def _constants(weights: "Baseline | LevelClassifier") -> dict[str, tuple[float, ...]]:
    """Return the answers that need no image, from the labels trained on."""
    from cspine.core.anatomy import TARGETS

    half = (0.5,) * len(TARGETS)
    return {
        "all 0.5": half,
        "training prevalence": weights.metadata.prevalence,
        "best in training": weights.metadata.best_constants,
    }


def _card_points(weights: "Baseline | LevelClassifier") -> "FixedOperatingPoints | None":
    """Return the operating points that lie in the weights."""
    from cspine.classification.level_classifier import LevelClassifier
    from cspine.evaluation.operating_point_metrics import FixedOperatingPoints, FrozenPoint

    if not isinstance(weights, LevelClassifier):
        return None
    level = {point.name: point.threshold for point in weights.metadata.operating_points_level}
    both = tuple(
        FrozenPoint(name=point.name, patient=point.threshold, level=level[point.name])
        for point in weights.metadata.operating_points_overall
        if point.name in level
    )
    chosen_on = f"{weights.metadata.calibration_data}, as the weights say"
    return FixedOperatingPoints(chosen_on=chosen_on, points=both) if both else None


def _seen_in_training(asked: _Asked, judged: "ReferenceStandard") -> int:
    """Count the judged studies of patients whom the run, or weights that it started from, has learnt from."""
    import pandas as pd

    from cspine.models.metadata import LevelsMetadata, patient_fingerprint

    if asked.run is None or asked.weights is None:
        return 0
    path, studies = asked.run / "split.csv", judged.labels.index.astype(str)
    trained = set(pd.read_csv(path, dtype=str)["StudyInstanceUID"]) if path.is_file() else set()
    metadata = asked.weights.metadata
    marks = set(metadata.training_patients) if isinstance(metadata, LevelsMetadata) else set()
    patients = {str(judged.patients[study]) for study in studies if study in trained}
    return sum(
        study in trained
        or str(judged.patients[study]) in patients
        or patient_fingerprint(str(judged.patients[study])) in marks
        for study in studies
    )


def _claim(out: Path, known: "ReferenceStandard", asked: _Asked, settings: "EvaluationSettings", part: str) -> None:
    """Take the folder for this evaluation and no other."""
    from cspine.core.files import open_run_directory
    from cspine.core.settings import digest
    from cspine.datasets.locked_split import labels_hash
    from cspine.evaluation.holdout_access_log import predictions_hash

    identity = {
        "kind": "evaluation",
        "systems": {system.name: predictions_hash(system) for system in asked.systems},
        "labels_sha256": labels_hash(known),
        "part": part,
        "points": digest(settings.points.model_dump(mode="json")),
        "draws": settings.draws,
    }
    open_run_directory(out, "evaluate.json", identity, remedy="choose another --out, or delete it")


def _write(out: Path, judgement: "EvaluationResult", asked: _Asked) -> None:
    from cspine.core.files import write_json, write_text
    from cspine.evaluation.failures import worst_failures
    from cspine.plots.figure_style import save_figure
    from cspine.reports.evaluation.failure_images import picture_failures
    from cspine.reports.evaluation.figures import judged_figures
    from cspine.reports.evaluation.markdown import evaluation_markdown
    from cspine.reports.evaluation.model_card import model_card
    from cspine.reports.evaluation.page import ShownFailure, evaluation_page

    title = ", ".join(system.name for system in judgement.systems)
    figures = judged_figures(judgement)
    for name, figure in figures.items():
        save_figure(figure, out / name)
    write_json(out / "evaluation.json", judgement.to_json())
    write_text(out / "evaluation.md", evaluation_markdown(judgement, title=title))
    pictures = {name: (out / name).read_bytes() for name in figures}
    wrong = worst_failures(judgement.judged, judgement.cases[judgement.systems[0].name])
    shown = picture_failures(asked.store, wrong) if asked.store else [ShownFailure(one, None) for one in wrong]
    page = evaluation_page(judgement, title=title, figures=pictures, failures=shown)
    write_text(out / "evaluation.html", page)
    if asked.weights is not None and asked.run is not None:
        metadata = model_card(asked.weights.metadata, asked.weights.identity.sha256, judgement, wrong)
        write_text(asked.run / "weights.md", metadata)
    for number, system in enumerate(asked.systems):
        name = "probabilities.csv" if len(asked.systems) == 1 else f"probabilities-{number + 1}.csv"
        write_text(out / name, system.probability.to_csv())
    _freeze(out, judgement)


def _freeze(out: Path, judgement: "EvaluationResult") -> None:
    """Write operating points for other studies, chosen on these; on what is hidden nothing is chosen."""
    from cspine.core.anatomy import OVERALL
    from cspine.core.errors import LabelError
    from cspine.datasets.locked_split import HOLDOUT
    from cspine.evaluation.cases import LEVELS
    from cspine.evaluation.operating_point_metrics import freeze_points

    if judgement.protocol.part == HOLDOUT:
        return
    name = judgement.systems[0].name
    cases, part = judgement.cases[name], judgement.protocol.part
    where = f"the part {part} of {judgement.truth}" if part else judgement.truth
    chosen_on = f"{judgement.studies} studies, {where}, by what {name} says"
    try:
        points = freeze_points(
            cases[OVERALL], cases[LEVELS], chosen_on=chosen_on, studies_sha256=judgement.judged.studies_sha256
        )
    except LabelError:  # one class only
        return
    points.write(out / "points.json")


def _tell(judgement: "EvaluationResult", out: Path) -> None:
    from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT
    from cspine.reports.evaluation.sections import headline, name_of

    for system in judgement.systems:
        say(system.name)
        for row in system.rows:
            say(f"  {name_of(row.what):<10} {row.positives:>5} of {row.cases:<6} {headline(row)}")
    for part in judgement.comparisons:
        gap = part.difference
        say(f"{part.one} less {part.other}, {name_of(part.what)}: {gap.interval.value:+.3f} of AUC (p {gap.p:.2g})")
    looks = judgement.protocol.looks_before
    if looks is not None:
        again = f"; there were {looks} before, see the record beside the split" if looks else ", the first one"
        say(f"This look at the hidden part is recorded{again}.")
    if judgement.is_phantom:
        say(PHANTOM_STATEMENT)
    say(f"Open the report:  {out / 'evaluation.html'}")
