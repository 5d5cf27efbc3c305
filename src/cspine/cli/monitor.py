"""``cspine monitor``: drift of recent findings against a reference period."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import DONE, SOME_FAILED, app, handle_errors, print_json, say, say_research_only
from cspine.cli.options import Json

_EPILOG = "Example:  cspine monitor --reference findings-2025 --recent findings-march --out drift"


@app.command("monitor", epilog=_EPILOG)
@handle_errors
def monitor_command(
    reference: Annotated[Path, typer.Option("--reference", help="Folder of findings of the reference period.")],
    recent: Annotated[Path, typer.Option("--recent", help="Folder of recent findings.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of a report; none if omitted.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if drift is detected.")] = False,
    as_json: Json = False,
) -> int:
    """Detect drift of probabilities, coverage, rejections or scanners, with intervals."""
    from cspine.pipelines.monitor import monitor_findings
    from cspine.reports.evaluation.drift_report import drift_summary

    report = monitor_findings(reference, recent, out)
    if as_json:
        print_json(report.to_json())
    else:
        say(drift_summary(report.shifts))
        for warning in report.warnings:
            say(warning)
        if report.page is not None:
            say(f"Open the report:  {report.page}")
        say_research_only()
    return SOME_FAILED if check and report.is_drift_detected else DONE
