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

    from cspine.evaluate.canvas import save_figure
    from cspine.evaluate.report import sections_markdown
    from cspine.evaluate.truths import read_truth
    from cspine.files import plain_json, write_json, write_text
    from cspine.imaging.layout import open_root
    from cspine.report.sections_page import sections_page
    from cspine.trials.robustness import judge_trials, run_trials
    from cspine.trials.told import trial_figure, trial_sections
    from cspine.trials.worse import SUITES

    root, truth = open_root(data), read_truth(data)
    with progress_bar() as progress:
        chosen = tuple(suite or SUITES)
        rows = run_trials(root, out, suites=chosen, weights=weights or (), workers=workers, progress=progress)
    points = judge_trials(rows, truth)
    title = f"Robustness on {data.resolve().name}"
    save_figure(trial_figure(points, phantom=truth.is_phantom), out / "robustness.png")
    write_text(out / "rows.csv", rows.to_csv(index=False))
    write_json(out / "curves.json", [plain_json(asdict(point)) for point in points])
    sections = trial_sections(points)
    write_text(out / "robustness.md", sections_markdown(sections, title=title, phantom=truth.is_phantom))
    figures = {"robustness.png": (out / "robustness.png").read_bytes()}
    page = sections_page(sections, title=title, figures=figures, phantom=truth.is_phantom)
    write_text(out / "robustness.html", page)
    if as_json:
        print_json([plain_json(asdict(point)) for point in points])
        return
    _tell(points)
    say(f"Open the report:  {out / 'robustness.html'}")
    say_research_only()


def _tell(points: "tuple[TrialPoint, ...]") -> None:
    from cspine.evaluate.sections import show
    from cspine.trials.told import severity_of

    for point in points:
        refused = f", {point.refused} refused" if point.refused else ""
        areas = f"patients {show(point.patients, 2)}, levels {show(point.levels, 2)}"
        say(f"{point.suite:<10} {severity_of(point):<12} {areas}{refused}")
