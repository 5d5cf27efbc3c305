"""Evaluation of level networks on the views of a run: seconds, once the views are there."""

from typing import Any

from benchmarks.real_texture.measures import measure_intact, measure_virtual
from benchmarks.real_texture.must_hold import check
from benchmarks.real_texture.predictions import predict_scans
from benchmarks.real_texture.report import to_json
from benchmarks.real_texture.run import SEED, TextureRun
from cspine.core.progress import Progress, silent


def evaluate_run(run: TextureRun, *, progress: Progress = silent) -> dict[str, Any]:
    """Return the results of the level networks of a run, as JSON can hold them.

    Parameters
    ----------
    run : TextureRun
        The run; `benchmarks.real_texture.views.prepare` has compiled its views.
    progress : Progress
        Called with the number of studies that are classified.
    """
    predictions = predict_scans(run, progress=progress)
    intact = [measures for each in predictions if (measures := measure_intact(each)) is not None]
    virtual = measure_virtual(predictions)
    results = to_json(intact, virtual, check(intact, virtual))
    return {
        "weights": {each.scan: each.weights_sha256 for each in predictions},
        "localizers": {each.scan: run.load_localizer(each.scan).sha256 for each in predictions},
        "seed": SEED,
        "copies": run.copies,
        **results,
    }
