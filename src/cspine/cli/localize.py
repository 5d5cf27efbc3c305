"""``cspine localize``: which vertebrae a scan shows, and where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import (
    app,
    exit_code,
    handle_errors,
    print_json,
    progress_bar,
    say,
    say_research_only,
)
from cspine.cli.options import (
    MAX_GAP,
    WORKERS,
    DaskOption,
    Json,
    Localizer,
    MaxGap,
    Provider,
    SeriesUid,
    ShardOption,
    Strict,
    Vertebrae,
    VertebraeLabels,
    Workers,
    execution,
    say_shard,
    settled,
)
from cspine.cli.tables import make_table, print_not_assessable, print_table, print_text, print_warnings

if TYPE_CHECKING:
    from cspine.core.findings import Spine

_EPILOG = "Examples:  cspine localize study/   |   cspine localize study.zip --out spine"


@app.command("localize", epilog=_EPILOG)
@handle_errors
def localize_command(
    path: Annotated[Path, typer.Argument(help="A study: a folder, a zip or a file; or a folder of many studies.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for spine.json and spine.png; one per study if many.")
    ] = None,
    localizer: Localizer = None,
    vertebrae: Vertebrae = None,
    vertebrae_labels: VertebraeLabels = "auto",
    provider: Provider = None,
    series: SeriesUid = None,
    max_gap_mm: MaxGap = MAX_GAP,
    workers: Workers = WORKERS,
    shard: ShardOption = None,
    dask: DaskOption = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Localize C1 to C7 and the vertebrae below: position, scanned fraction, confidence of the level.

    Only as many slices are decoded as the 3 mm volume of the localizer needs. A study that cannot be read or shows
    no cervical vertebra has an answer, too: why, and what would help. An interrupted run is resumed by the same
    command.
    """
    from cspine.dicom.loading import LoadPolicy
    from cspine.pipelines.localize_batch import LocalizeSettings, is_failed, localize_batch

    how = execution(workers, shard, dask)
    with progress_bar() as progress:
        policy = LoadPolicy(series_uid=series, max_gap_mm=max_gap_mm)
        spines = localize_batch(
            path,
            out_dir,
            LocalizeSettings(
                localizer=localizer,
                provider=provider,
                vertebrae=str(vertebrae) if vertebrae else None,
                vertebrae_labels=vertebrae_labels,
            ),
            policy=policy,
            workers=how,
            progress=progress,
        )
    how = settled(how, out_dir)
    if as_json:
        print_json([spine.model_dump(mode="json") for spine in spines])
    else:
        for spine in spines:
            _show(spine)
        if len(spines) > 1:
            n_not_assessable = sum(spine.not_assessable is not None for spine in spines)
            say(f"{len(spines)} studies, {n_not_assessable} not assessable")
        if out_dir is not None and not say_shard(how, out_dir):
            say(f"written: {out_dir}")
    say_research_only()
    is_wrong = is_failed if not strict else lambda spine: spine.not_assessable is not None
    return exit_code(complete=how.shard is not None or not any(map(is_wrong, spines)))


def _show(spine: "Spine") -> None:
    """Print the vertebrae of a study as a table, or why there are none."""
    from cspine.core.findings import level_label

    print_text("\n[bold]Study[/] ", spine.study_instance_uid)
    if spine.series_reasons:
        print_text("series: ", ", ".join(spine.series_reasons))
    if spine.not_assessable is not None:
        print_not_assessable(spine.not_assessable)
        return
    table = make_table("level", "coverage", ">scanned (%)", ">confidence (%)", ">centroid, LPS mm")
    located = {vertebra.level: vertebra for vertebra in spine.vertebrae}
    for level in dict.fromkeys([*spine.coverage, *located]):
        vertebra = located.get(level)
        if vertebra is None:
            table.add_row(level, "not found" if level in spine.not_found else "absent", "", "", "")
            continue
        x, y, z = vertebra.centroid_lps_mm
        scanned, confidence = f"{100 * vertebra.scanned_fraction:.0f}", f"{100 * vertebra.confidence:.0f}"
        label = level_label(vertebra.level, vertebra.alternatives)
        table.add_row(label, vertebra.coverage, scanned, confidence, f"{x:.1f}  {y:.1f}  {z:.1f}")
    print_table(table)
    print_warnings(spine.warnings)
