"""``cspine robustness``: performance on perturbed scans, and of controls without bone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import WORKERS, Json, Workers

if TYPE_CHECKING:
    from cspine.experiments.robustness import RobustnessPoint

_EPILOG = "Example:  cspine robustness phantom-test --out robust --perturbation noise --perturbation thickness"


@app.command("robustness", epilog=_EPILOG)
@handle_errors
def robustness_command(
    data: Annotated[Path, typer.Argument(help="A folder in the challenge's layout, with train.csv.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions, curves and the report.")],
    perturbation: Annotated[
        list[str] | None,
        typer.Option(
            "--perturbation", help="noise, kernel, thickness, rotation, jpeg, missing or crop; all if left out."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="Names or files; the level network if left out.")
    ] = None,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> None:
    """Predict studies as they are and perturbed by increasing severity: accuracy, not assessable scans, shortcuts."""
    from cspine.pipelines.robustness import evaluate_robustness

    with progress_bar() as progress:
        run = evaluate_robustness(
            data, out, perturbations=perturbation or (), weights=weights or (), workers=workers, progress=progress
        )
    if as_json:
        print_json(run.summary)
        return
    for point in run.points:
        say(_describe(point))
    say(f"Open the report:  {run.report}")
    say_research_only()


def _describe(point: "RobustnessPoint") -> str:
    from cspine.reports.evaluation.robustness_report import format_severity
    from cspine.reports.evaluation.sections import format_interval

    not_assessable = f", {point.n_not_assessable} not assessable" if point.n_not_assessable else ""
    areas = f"patients {format_interval(point.patients, 2)}, levels {format_interval(point.levels, 2)}"
    return f"{point.perturbation:<11} {format_severity(point):<12} {areas}{not_assessable}"
