"""``cspine robustness``: how a network does on scans that were made worse on purpose, and shortcuts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.app import app, print_json, progress_bar, say, say_research_only, sentences
from cspine.cli.options import WORKERS, Json, Workers

if TYPE_CHECKING:
    from cspine.trials.robustness import TrialPoint

_EPILOG = "Example:  cspine robustness phantom-test --out robust --suite noise --suite thickness"


@app.command("robustness", epilog=_EPILOG)
@sentences
def robustness_command(
    data: Annotated[Path, typer.Argument(help="A folder in the challenge's layout, with train.csv.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for rows, curves and the report.")],
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="noise, kernel, thickness, rotation, jpeg, missing or crop; all if left out."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="Names or files; the level network if left out.")
    ] = None,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> None:
    """Read studies as they are and made worse by degrees: accuracy against severity, refusals, and shortcuts."""
    from dataclasses import asdict

    from cspine.evaluate.truths import read_truth
    from cspine.files import plain_json, write_json, write_text
    from cspine.imaging.layout import open_root
    from cspine.report.sections_page import write_sections
    from cspine.trials.robustness import judge_trials, run_trials
    from cspine.trials.told import trial_figure, trial_sections
    from cspine.trials.worse import SUITES

    root, truth = open_root(data), read_truth(data)
    with progress_bar() as progress:
        chosen = tuple(suite or SUITES)
        rows = run_trials(root, out, suites=chosen, weights=weights or (), workers=workers, progress=progress)
    points = judge_trials(rows, truth)
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


def _tell(points: "tuple[TrialPoint, ...]") -> None:
    from cspine.evaluate.sections import show
    from cspine.trials.told import severity_of

    for point in points:
        refused = f", {point.refused} refused" if point.refused else ""
        areas = f"patients {show(point.patients, 2)}, levels {show(point.levels, 2)}"
        say(f"{point.suite:<10} {severity_of(point):<12} {areas}{refused}")
