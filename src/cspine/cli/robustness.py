"""``cspine robustness``: how a network does on scans that were made worse on purpose, and shortcuts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import WORKERS, Json, Workers

if TYPE_CHECKING:
    from cspine.experiments.robustness import RobustnessPoint

_EPILOG = "Example:  cspine robustness phantom-test --out robust --suite noise --suite thickness"


@app.command("robustness", epilog=_EPILOG)
@handle_errors
def robustness_command(
    data: Annotated[Path, typer.Argument(help="A folder in the challenge's layout, with train.csv.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for rows, curves and the report.")],
    suite: Annotated[
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
    """Read studies as they are and made worse by degrees: accuracy against severity, refusals, and shortcuts."""
    from dataclasses import asdict

    from cspine.core.files import plain_json, write_json, write_text
    from cspine.datasets.reference_standard import read_reference_standard
    from cspine.dicom.study_collection import open_collection
    from cspine.experiments.perturbations import SUITES
    from cspine.experiments.robustness import evaluate_perturbations, run_perturbations
    from cspine.reports.evaluation.robustness_report import trial_figure, trial_sections
    from cspine.reports.evaluation.sections_page import write_sections

    root, truth = open_collection(data), read_reference_standard(data)
    with progress_bar() as progress:
        chosen = tuple(suite or SUITES)
        rows = run_perturbations(root, out, suites=chosen, weights=weights or (), workers=workers, progress=progress)
    points = evaluate_perturbations(rows, truth)
    title = f"Robustness on {data.resolve().name}"
    told = [plain_json(asdict(point)) for point in points]
    write_text(out / "rows.csv", rows.to_csv(index=False))
    write_json(out / "curves.json", told)
    figure, phantom = trial_figure(points, phantom=truth.is_phantom), truth.is_phantom
    page = write_sections(out, "robustness", trial_sections(points), figure, title=title, phantom=phantom)
    if as_json:
        print_json(told)
        return
    _tell(points)
    say(f"Open the report:  {page}")
    say_research_only()


def _tell(points: "tuple[RobustnessPoint, ...]") -> None:
    from cspine.reports.evaluation.robustness_report import severity_of
    from cspine.reports.evaluation.sections import show

    for point in points:
        not_assessable = f", {point.not_assessable} refused" if point.not_assessable else ""
        areas = f"patients {show(point.patients, 2)}, levels {show(point.levels, 2)}"
        say(f"{point.suite:<10} {severity_of(point):<12} {areas}{not_assessable}")
