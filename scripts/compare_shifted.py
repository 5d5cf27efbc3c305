"""Compare two evaluations of `scripts.evaluate_shifted` on the same studies: of new weights and of those before.

Run: ``python -m scripts.compare_shifted --before DIR --after DIR --out DIR`` with the run folders of both. Tables go to
standard output and ``OUT/tables``: AUC and operating points of both.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import save_table

from cspine.core.anatomy import OVERALL
from cspine.core.files import read_json
from cspine.datasets.lesion_reference import HIT_DISTANCE_MM
from cspine.evaluation.cases import LEVELS
from cspine.metrics.bootstrap import Interval
from cspine.reports.evaluation.sections import Table, format_interval
from scripts.evaluate_shifted import CLEAR_OR_OBVIOUS, RESULT_FILE, TRIAGE

Evaluation = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="run folder of the earlier weights")
    parser.add_argument("--after", type=Path, required=True, help="run folder of the later weights")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    options = parser.parse_args()
    before, after = (read_json(folder / RESULT_FILE) for folder in (options.before, options.after))
    save_table(options.out, "shifted-weights", weights_table(before, after))


def weights_table(before: Evaluation, after: Evaluation) -> Table:
    """Return AUC, specificity and sensitivity of two weights on the same studies.

    Parameters
    ----------
    before, after : dict
        Contents of `RESULT_FILE`.

    Raises
    ------
    ValueError
        They are evaluations of different studies.
    """
    if len({each["evaluation"]["studies_sha256"] for each in (before, after)}) > 1:
        raise ValueError("the evaluations are of different studies")
    columns = [_measures(each) for each in (before, after)]
    rows = tuple((name, *(column[name] for column in columns)) for name in columns[0])
    return Table(("measure", "earlier weights", "later weights"), rows)


def _measures(result: Evaluation) -> dict[str, str]:
    """Return names and values of the rows of a column."""
    model = result["evaluation"]["models"][0]
    vertebrae = result["vertebrae"]
    measures: dict[str, str] = {}
    for name, target, unit in (("level", LEVELS, "vertebrae"), ("patient", OVERALL, "patients")):
        whole = next(each for each in model["targets"] if each["target"] == target)
        point = next(each for each in whole["operating_points"] if each["name"] == TRIAGE)
        visible = next(
            each
            for each in model["subgroups"]
            if (each["group"], each["value"], each["unit"]) == ("visibility", CLEAR_OR_OBVIOUS, unit)
        )
        measures |= {
            f"{name} AUC, clear or obvious fractures": _interval(visible["auc"]),
            f"{name} AUC, all fractures": _interval(whole["auc"]),
            f"specificity at the triage point, {name}s": _interval(point["specificity"]),
            f"sensitivity at the triage point, {name}s": _interval(point["sensitivity"]),
        }
    triage = next(each for each in model["localization"]["operating_points"] if each["name"] == TRIAGE)
    return measures | {
        f"detected fractures localized within {HIT_DISTANCE_MM:g} mm": _interval(triage["correct_location"]),
        f"{vertebrae['n_covered']} vertebrae in the scans: correct level, centroid within {HIT_DISTANCE_MM:g} mm": (
            _interval(vertebrae["correct_level"])
        ),
        f"studies not assessable, of {vertebrae['n_studies']}": str(model["n_not_assessable"]),
    }


def _interval(value: Mapping[str, float]) -> str:
    return format_interval(Interval(value["value"], value["low"], value["high"]))


if __name__ == "__main__":
    main()
