"""``cspine monitor``: whether recent findings look like a reference's."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.app import SOME_FAILED, app, handle_errors, print_json, say, say_research_only
from cspine.cli.options import Json

_EPILOG = "Example:  cspine monitor --reference findings-2025 --recent findings-march --out drift"


@app.command("monitor", epilog=_EPILOG)
@handle_errors
def monitor_command(
    reference: Annotated[Path, typer.Option("--reference", help="A folder of findings to compare with.")],
    recent: Annotated[Path, typer.Option("--recent", help="A folder of recent findings.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for a report; none if left out.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 where anything moved.")] = False,
    as_json: Json = False,
) -> int:
    """Say whether probabilities, coverage, refusals or scanners have moved, with intervals."""
    from dataclasses import asdict

    from cspine.core.files import open_run_directory, plain_json, write_json
    from cspine.evaluation.drift import find_shifts
    from cspine.evaluation.holdout_access_log import predictions_hash
    from cspine.evaluation.predictions import read_predictions
    from cspine.reports.evaluation.drift_report import drift_figure, drift_sections, verdict
    from cspine.reports.evaluation.sections_page import write_sections

    before, now = read_predictions(reference, name="reference"), read_predictions(recent, name="recent")
    shifts = find_shifts(before, now)
    told = {
        "moved": any(shift.moved for shift in shifts),
        "shifts": [plain_json(asdict(shift)) for shift in shifts],
    }
    if out is not None:
        identity = {"kind": "drift", "reference": predictions_hash(before), "recent": predictions_hash(now)}
        open_run_directory(out, "monitor.json", identity, remedy="choose another --out, or delete it")
        phantom = before.phantom_only and now.phantom_only
        sections, figure = drift_sections(shifts, before, now), drift_figure(before, now, phantom=phantom)
        write_json(out / "drift.json", told)
        write_sections(out, "drift", sections, figure, title="Drift of findings", phantom=phantom, markdown=False)
    if as_json:
        print_json(told)
    else:
        say(verdict(shifts))
        if out is not None:
            say(f"Open the report:  {out / 'drift.html'}")
        say_research_only()
    return SOME_FAILED if check and told["moved"] else 0
