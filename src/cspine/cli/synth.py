"""``cspine synth``: phantom studies with an exact reference standard."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cspine.cli.application import app, handle_errors, print_json, progress_bar, say
from cspine.cli.options import WORKERS, DaskOption, Json, ShardOption, Workers, execution, say_shard, settled
from cspine.core.extras import require_extra
from cspine.core.text import counted

_EPILOG = "Example:  cspine synth --out phantom --studies 20 --seed 1"


class Domain(StrEnum):
    """Distribution that phantoms are drawn from."""

    source = "source"
    shifted = "shifted"


@app.command("synth", epilog=_EPILOG)
@handle_errors
def synth_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data set; an interrupted run is resumed.")],
    studies: Annotated[int, typer.Option("--studies", min=1, help="Number of studies.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same studies.")] = 0,
    matrix: Annotated[int, typer.Option("--matrix", min=64, max=768, help="Rows and columns of a slice.")] = 512,
    domain: Annotated[
        Domain, typer.Option("--domain", help="shifted: other scanners, patients and fractures, for evaluation only.")
    ] = Domain.source,
    workers: Workers = WORKERS,
    shard: ShardOption = None,
    dask: DaskOption = None,
    as_json: Json = False,
) -> None:
    """Synthesize phantom studies in the challenge's layout: DICOM, labels, bounding boxes, segmentations.

    A phantom shows that the software works and compares methods; it is never clinical accuracy.
    """
    require_extra("evaluate")
    from cspine.phantom import DOMAINS, synthesize

    how = execution(workers, shard, dask)
    with progress_bar() as progress:
        settings = DOMAINS[domain.value].model_copy(update={"matrix": matrix})
        summary = synthesize(out, studies=studies, seed=seed, settings=settings, workers=how, progress=progress)
    how = settled(how, out)
    if as_json:
        print_json(vars(summary))
    else:
        say(f"{counted(summary.studies, 'phantom study', 'phantom studies')}: {out}")
        if not say_shard(how, out):
            say(f"Next:  cspine compile {out} --out {out}-compiled")
