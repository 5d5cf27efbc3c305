"""``cspine evaluate``: any systems' answers, or a run's, against truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, print_json, progress_bar, say, say_error, say_research_only, sentences
from cspine.cli.options import Json

if TYPE_CHECKING:
    from cspine.detect.baseline import Baseline
    from cspine.detect.level_reader import LevelReader
    from cspine.evaluate.answers import Answers
    from cspine.evaluate.judge import Judgement, JudgeSettings
    from cspine.evaluate.operating import FrozenPoints
    from cspine.evaluate.truths import Truth
    from cspine.progress import Progress
    from cspine.reformat.store import CompiledStore

_EPILOG = (
    "Examples:  cspine evaluate --truth train.csv --predictions A.csv --predictions B.csv --out evaluation   |   "
    "cspine evaluate --run runs/levels --data test-compiled"
)


@app.command("evaluate", epilog=_EPILOG)
@sentences
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
        Path | None, typer.Option("--points", help="Operating points frozen before: points.json of another evaluation.")
    ] = None,
    split: Annotated[Path | None, typer.Option("--split", help="A split of cspine split.")] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="The part of the split to judge on; test if left out.")
    ] = None,
    boxes: Annotated[Path | None, typer.Option("--boxes", help="The challenge's train_bounding_boxes.csv.")] = None,
    groups: Annotated[
        Path | None, typer.Option("--groups", help="A CSV of what studies differ in, by StudyInstanceUID.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="A compiled data set that shows what predictions got wrong.")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=100, help="Bootstrap draws.")] = 2000,
    as_json: Json = False,
) -> None:
    """Judge systems' answers by what is true: ranking, calibration, thresholds, pointing, parts, with intervals."""
    from dataclasses import replace

    from cspine.errors import InputError
    from cspine.evaluate.cases import match
    from cspine.evaluate.frozen import HIDDEN, read_split, record_look, take_part
    from cspine.evaluate.judge import Protocol, judge
    from cspine.evaluate.operating import read_points

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
        looks = record_look(split, parts, asked.systems) if split and parts and chosen == HIDDEN else None
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

    truth: "Truth"
    systems: "list[Answers]"
    settings: "JudgeSettings"
    weights: "Baseline | LevelReader | None" = None
    store: "CompiledStore | None" = None
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
    from cspine.evaluate.answers import read_answers
    from cspine.evaluate.judge import JudgeSettings
    from cspine.evaluate.truths import read_truth
    from cspine.reformat.store import CompiledStore

    if truth is None or predictions is None:  # pragma: no cover - the command has checked it
        raise AssertionError("nothing to judge")
    names = _names(predictions)
    systems = [read_answers(path, name=name) for path, name in zip(predictions, names, strict=True)]
    store = CompiledStore.open(images) if images else None
    return _Asked(read_truth(truth, boxes=boxes, groups=groups), systems, JudgeSettings(), store=store)


def _names(paths: list[Path]) -> list[str]:
    """Return each file's own name, or its path where two have the same.

    >>> _names([Path("a/x.csv"), Path("b/x.csv"), Path("c.csv")])
    ['a/x.csv', 'b/x.csv', 'c']
    """
    stems = [path.resolve().stem for path in paths]
    return [str(path) if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def _of_run(run: Path, data: Path, groups: Path | None, progress: "Progress") -> _Asked:
    from cspine.detect.classify import answer_store
    from cspine.detect.readers import load_reader
    from cspine.evaluate.answers import Answers
    from cspine.evaluate.judge import JudgeSettings
    from cspine.evaluate.truths import read_truth
    from cspine.reformat.store import CompiledStore

    known, weights = read_truth(data, groups=groups), load_reader(run / "weights.onnx")
    store = CompiledStore.open(data)
    said, marks = answer_store(store, weights, progress=progress)
    name = f"{weights.card.name}, {run.resolve().name}"
    refused = {str(study): "not compiled" for study in known.labels.index if study not in said.index}
    answered = Answers(name, said, refused, marks, phantom_only=weights.card.phantom_only)
    baselines = _constants(weights)
    points = _card_points(weights)
    settings = JudgeSettings(baselines=baselines) if points is None else JudgeSettings(points, baselines)
    return _Asked(known, [answered], settings, weights, store, run)


def _constants(weights: "Baseline | LevelReader") -> dict[str, tuple[float, ...]]:
    """Return the answers that need no image, from the labels trained on."""
    from cspine.anatomy import TARGETS

    half = (0.5,) * len(TARGETS)
    return {
        "all 0.5": half,
        "training prevalence": weights.card.prevalence,
        "best in training": weights.card.best_constants,
    }


def _card_points(weights: "Baseline | LevelReader") -> "FrozenPoints | None":
    """Return the operating points that lie in the weights."""
    from cspine.detect.level_reader import LevelReader
    from cspine.evaluate.operating import FrozenPoint, FrozenPoints

    if not isinstance(weights, LevelReader):
        return None
    level = {point.name: point.threshold for point in weights.card.points_level}
    both = tuple(
        FrozenPoint(name=point.name, patient=point.threshold, level=level[point.name])
        for point in weights.card.points_overall
        if point.name in level
    )
    chosen_on = f"{weights.card.calibrated_on}, as the weights say"
    return FrozenPoints(chosen_on=chosen_on, points=both) if both else None


def _seen_in_training(asked: _Asked, judged: "Truth") -> int:
    """Count the judged studies of patients whom the run, or weights that it started from, has learnt from."""
    import pandas as pd

    from cspine.detect.card import LevelsCard, mark_of

    if asked.run is None or asked.weights is None:
        return 0
    path, studies = asked.run / "split.csv", judged.labels.index.astype(str)
    trained = set(pd.read_csv(path, dtype=str)["StudyInstanceUID"]) if path.is_file() else set()
    card = asked.weights.card
    marks = set(card.learnt_from) if isinstance(card, LevelsCard) else set()
    patients = {str(judged.patients[study]) for study in studies if study in trained}
    return sum(
        study in trained or str(judged.patients[study]) in patients or mark_of(str(judged.patients[study])) in marks
        for study in studies
    )


def _claim(out: Path, known: "Truth", asked: _Asked, settings: "JudgeSettings", part: str) -> None:
    """Take the folder for this evaluation and no other."""
    from cspine.evaluate.frozen import answers_hash, labels_hash
    from cspine.files import claim_folder
    from cspine.settings import digest

    identity = {
        "kind": "evaluation",
        "systems": {system.name: answers_hash(system) for system in asked.systems},
        "labels_sha256": labels_hash(known),
        "part": part,
        "points": digest(settings.points.model_dump(mode="json")),
        "draws": settings.draws,
    }
    claim_folder(out, "evaluate.json", identity, remedy="choose another --out, or delete it")


def _write(out: Path, judgement: "Judgement", asked: _Asked) -> None:
    from cspine.evaluate.canvas import save_figure
    from cspine.evaluate.failures import worst_failures
    from cspine.evaluate.judged_figures import judged_figures
    from cspine.evaluate.report import judgement_markdown
    from cspine.files import write_json, write_text
    from cspine.report.evaluation_page import ShownFailure, evaluation_page
    from cspine.report.failure_pictures import picture_failures
    from cspine.report.model_card import model_card

    title = ", ".join(system.name for system in judgement.systems)
    figures = judged_figures(judgement)
    for name, figure in figures.items():
        save_figure(figure, out / name)
    write_json(out / "evaluation.json", judgement.to_json())
    write_text(out / "evaluation.md", judgement_markdown(judgement, title=title))
    pictures = {name: (out / name).read_bytes() for name in figures}
    wrong = worst_failures(judgement.judged, judgement.cases[judgement.systems[0].name])
    shown = picture_failures(asked.store, wrong) if asked.store else [ShownFailure(one, None) for one in wrong]
    page = evaluation_page(judgement, title=title, figures=pictures, failures=shown)
    write_text(out / "evaluation.html", page)
    if asked.weights is not None and asked.run is not None:
        card = model_card(asked.weights.card, asked.weights.identity.sha256, judgement, wrong)
        write_text(asked.run / "weights.md", card)
    for number, system in enumerate(asked.systems):
        name = "probabilities.csv" if len(asked.systems) == 1 else f"probabilities-{number + 1}.csv"
        write_text(out / name, system.probability.to_csv())
    _freeze(out, judgement)


def _freeze(out: Path, judgement: "Judgement") -> None:
    """Write operating points for other studies, chosen on these; on what is hidden nothing is chosen."""
    from cspine.anatomy import OVERALL
    from cspine.errors import LabelError
    from cspine.evaluate.cases import LEVELS
    from cspine.evaluate.frozen import HIDDEN
    from cspine.evaluate.operating import freeze_points

    if judgement.protocol.part == HIDDEN:
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


def _tell(judgement: "Judgement", out: Path) -> None:
    from cspine.evaluate.report import PHANTOM_STATEMENT
    from cspine.evaluate.sections import headline, name_of

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
