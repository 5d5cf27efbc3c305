"""``cspine tune``: a search over training settings."""

from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say, say_research_only
from cspine.cli.options import Data, Json
from cspine.core.extras import require_extra

_EPILOG = "Example:  cspine tune search.toml --data compiled --split split.json --out tuning"


@app.command("tune", epilog=_EPILOG)
@handle_errors
def tune_command(
    search_file: Annotated[Path, typer.Argument(help="The search in TOML: network, ranges, choices, trials.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder that all workers share; a search is resumed.")],
    split: Annotated[
        Path | None,
        typer.Option("--split", help="A split of cspine split, of which trials get the parts train and validation."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            envvar="CSPINE_TUNE_STORAGE",
            help="URL of a database for the study, such as postgresql+pg8000://user@host/name.",
            show_default="a journal in --out",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Search training settings by the validation set: learning rate, views, augmentation and the like.

    Start the same command several times, on any machines, for more workers on the same study. What a killed worker
    was training is trained on. Never reads studies outside the parts train and validation of --split. The best settings
    are written as best.toml, for cspine train --settings. Needs the extra: pip install "cspine\[tune]".
    """
    require_extra("tune")
    from cspine.experiments.tuning.search_space import read_search
    from cspine.pipelines.experiments.tune import tune
    from cspine.reports.evaluation.tuning_report import tuning_summary

    with progress_bar() as progress:
        run = tune(read_search(search_file), data, out, split=split, storage=storage, progress=progress)
    if as_json:
        print_json(run.summary)
        return
    say(tuning_summary(run.summary))
    if run.best is not None:
        say(f"best settings: {run.best}")
    say(f"Open the report:  {run.report}")
    say_research_only()
