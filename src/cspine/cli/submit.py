"""``cspine submit``: the submission file of the RSNA 2022 challenge."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_error, say_research_only
from cspine.cli.options import Data, Json, Run

_EPILOG = "Example:  cspine submit --data compiled --run runs/baseline --out submission.csv --transform study-optimal"

Transform = Literal["none", "metric-optimal", "study-optimal"]


@app.command("submit", epilog=_EPILOG)
@handle_errors
def submit_command(
    data: Data,
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="The CSV to write.")],
    transform: Annotated[
        Transform,
        typer.Option(
            "--transform",
            help="none: the probability p; metric-optimal: 2p/(1+p), best where the metric is normalized over all "
            "studies; study-optimal: best where it is normalized within each study.",
        ),
    ] = "none",
    as_json: Json = False,
) -> None:
    """Write the challenge's submission file: row_id and fractured, eight rows per study."""
    from cspine.pipelines.submit import write_submission

    with progress_bar() as progress:
        summary = write_submission(data, run, out, transform, progress=progress)
    if as_json:
        print_json(summary.to_json())
    else:
        say(f"{summary.n_studies} studies, {summary.n_rows} rows ({transform}): {out}")
        say_research_only()
    if summary.missing_studies:
        first = ", ".join(summary.missing_studies[:3])
        say_error(
            f"{len(summary.missing_studies)} studies of the data set have no images and therefore no rows (first: "
            f"{first}); the challenge requires rows of all of its studies"
        )
