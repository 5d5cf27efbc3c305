"""``cspine evaluate``: a run against labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, print_json, progress_bar, say, say_error, sentences
from cspine.cli.options import Data, Json, Run

if TYPE_CHECKING:
    import pandas as pd

    from cspine.detect.baseline import Baseline
    from cspine.detect.level_reader import LevelReader
    from cspine.evaluate.evaluation import Evaluation

_EPILOG = "Example:  cspine evaluate --run runs/baseline --data test-compiled --out evaluation"


@app.command("evaluate", epilog=_EPILOG)
@sentences
def evaluate_command(
    run: Run,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables and figures; inside the run if left out.")
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.0, max=1.0, help="Plain probability that counts as fractured.")
    ] = 0.5,
    draws: Annotated[int, typer.Option("--draws", min=100, help="Bootstrap draws.")] = 2000,
    as_json: Json = False,
) -> None:
    """Judge a run's weights on compiled studies: loss, AUC, sensitivity, specificity, with intervals and baselines."""
    from cspine.detect.classify import classify_store
    from cspine.detect.readers import load_reader
    from cspine.errors import LabelError
    from cspine.evaluate.evaluation import evaluate
    from cspine.files import claim_folder
    from cspine.reformat.store import CompiledStore

    out = out or run / f"evaluation-{data.resolve().name}"
    store, weights = CompiledStore.open(data), load_reader(run / "weights.onnx")
    truth, patients = _labels(store.manifest())
    if truth.empty:
        raise LabelError(f"{data}: no study has labels; compile a folder with train.csv")
    with progress_bar() as progress:
        probability = classify_store(store, weights, progress=progress).loc[truth.index]
    identity = {"kind": "evaluation", "weights": weights.identity.sha256, "data": str(data.resolve())}
    claim_folder(out, "evaluate.json", identity, remedy="choose another --out, or delete it")
    baselines = _constants(weights)
    evaluation = evaluate(truth, probability, patients, baselines=baselines, threshold=threshold, draws=draws)
    leaked = _also_trained_on(run, list(truth.index))
    text = _write(out, evaluation, truth, probability, weights, phantom=store.is_phantom)
    if as_json:
        print_json({**evaluation.to_json(), "studies_seen_in_training": leaked})
    else:
        say(text)
        say(f"figures: {out / 'roc.png'}, {out / 'reliability.png'}")
    if leaked:
        say_error(f"{leaked} of these studies were used in training: the numbers are too good; use other studies")


def _labels(manifest: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.Series[str]]":
    from cspine.anatomy import TARGETS

    studies = manifest.dropna(subset=list(TARGETS)).drop_duplicates("study_instance_uid")
    studies = studies.set_index("study_instance_uid").sort_index().rename_axis("StudyInstanceUID")
    return studies[list(TARGETS)].astype(int), studies["patient"]


def _constants(weights: "Baseline | LevelReader") -> dict[str, tuple[float, ...]]:
    """Return the answers that need no image, from the labels trained on."""
    from cspine.anatomy import TARGETS

    half = (0.5,) * len(TARGETS)
    return {
        "all 0.5": half,
        "training prevalence": weights.card.prevalence,
        "best in training": weights.card.best_constants,
    }


def _also_trained_on(run: Path, studies: list[str]) -> int:
    """Count the studies that the run has seen, from its split.csv."""
    import pandas as pd

    path = run / "split.csv"
    if not path.is_file():
        return 0
    seen = set(pd.read_csv(path, dtype=str)["StudyInstanceUID"])
    return len(seen & set(studies))


def _write(
    out: Path,
    evaluation: "Evaluation",
    truth: "pd.DataFrame",
    probability: "pd.DataFrame",
    weights: "Baseline | LevelReader",
    *,
    phantom: bool,
) -> str:
    from cspine.evaluate.figures import reliability_figure, roc_figure, save_figure
    from cspine.evaluate.report import evaluation_markdown
    from cspine.files import write_json, write_text

    text = evaluation_markdown(
        evaluation, phantom=phantom, weights=f"{weights.card.name} (trained on {weights.card.trained_on})"
    )
    write_text(out / "evaluation.md", text)
    write_text(out / "probabilities.csv", probability.to_csv())
    write_json(out / "evaluation.json", evaluation.to_json())
    save_figure(roc_figure(truth, probability, phantom=phantom), out / "roc.png")
    save_figure(reliability_figure(truth, probability, phantom=phantom), out / "reliability.png")
    return text
