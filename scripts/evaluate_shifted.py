"""What the shipped networks do on the phantom's hidden domain: vertebrae, fractures, where they point, shortcuts.

Declared before each look: so many studies of a seed that no look was taken at before, drawn from ``DOMAINS["shifted"]``
as it stands, the weights that come with cspine, nothing chosen by any of it. Fractures count by the words that their
visibility had before any network was trained (`cspine.phantom.study.visibility_word`). Looks: 200 studies of seed 9090
at level weights 8f5f45409868; `STUDIES` studies of seed `SEED` at 213e9542a07f, both on 26 November 2026. Later weights
take a ``--seed`` of their own.

Run: ``python -m benchmarks.hidden --work DIR``; interrupted, it goes on where it stopped. The tables go to standard
output and ``DIR/tables``, the numbers to ``DIR/hidden.json``.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.tables import keep, side_by_side
from cspine.classification.level_classifier import LevelClassifier, Scores
from cspine.classification.predict_dataset import read_views
from cspine.classification.saliency import strongest_point
from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import read_json
from cspine.core.identifiers import study_key
from cspine.core.parallel import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.study_collection import TRUTH_FOLDER
from cspine.localization.compiler import Compiler
from cspine.metrics.bootstrap import Interval, bootstrap_auc, bootstrap_ratio, patient_weights, percentile_interval
from cspine.metrics.froc import froc
from cspine.metrics.scores import auc
from cspine.phantom import DOMAINS
from cspine.phantom.scanner.dicom import Identity
from cspine.reports.evaluation.sections import Table
from cspine.spine.spine_map import coverage_of
from cspine.training.levels.phantom_dataset import write_phantom_dataset
from cspine.views.level_views import LevelViews

STUDIES, SEED = 300, 9091
NEAR_MM: Final = 5.0
CLEAR: Final = ("clear", "obvious")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Neck:
    """One study: its truth and what was found in it; arrays are of C1 to C7."""

    uid: str
    truth: dict[str, Any]
    rows: dict[str, dict[Any, Any]]
    views: tuple[LevelViews, ...]
    slices: int
    not_assessable: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=STUDIES, help="fewer, for a trial: never of this seed")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--domain", choices=list(DOMAINS), default="shifted")
    options = parser.parse_args()
    classifier = LevelClassifier.load()
    store = write_phantom_dataset(
        options.work / f"hidden-{options.seed}",
        Compiler(classifier.metadata.images, classifier.localizer),
        studies=options.studies,
        seed=options.seed,
        settings=DOMAINS[options.domain],
        workers=default_workers(),
        progress=tell,
    )
    necks = list(read(store, [Identity(options.seed, n, options.domain).study_uid for n in range(options.studies)]))
    found = {"vertebrae": vertebrae(necks), **fractures(necks, classifier)}
    (options.work / "hidden.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
    for name, table in tables(found).items():
        keep(options.work, name, table)


def tell(stage: str, done: int, total: int, /) -> None:
    if done % max(total // 20, 1) == 0:
        print(f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}", file=sys.stderr, flush=True)


def read(store: CompiledDataset, studies: list[str]) -> Iterator[Neck]:
    """Yield these studies, of a store that may hold others too."""
    tables = {str(uid): rows for uid, rows in store.levels().groupby("study_instance_uid")}
    for uid in sorted(studies):
        truth = read_json(store.folder / TRUTH_FOLDER / f"{study_key(uid)}.json")
        record = store.record(study_key(uid)) or {}
        rows = tables.get(uid, pd.DataFrame())
        views = read_views(store, rows) if len(rows) else ()
        by_level = {str(row["level"]): dict(row) for _, row in rows.iterrows()}
        yield Neck(uid, truth, by_level, views, int(record.get("slices", 0)), record.get("status") != "compiled")


# --- vertebrae -------------------------------------------------------------------------------------------------------


def vertebrae(necks: list[Neck]) -> dict[str, Any]:
    """Judge levels, centroids and coverage, over every vertebra of which the scan shows something."""
    right, covered, stated, all_stated, off = [], [], [], [], []
    for neck in necks:
        shares = {level: float(neck.truth["coverage"][level]) for level in VERTEBRAE}
        there = [level for level in VERTEBRAE if coverage_of(shares[level]) != "absent"]
        misses = [_miss_mm(neck, level) for level in there]
        right.append(sum(miss <= NEAR_MM for miss in misses))
        covered.append(len(there))
        off += [miss for miss in misses if np.isfinite(miss)]
        words = [
            coverage_of(float(neck.rows[level]["scanned_fraction"])) if level in neck.rows else "absent"
            for level in VERTEBRAE
        ]
        stated.append(sum(word == coverage_of(shares[level]) for word, level in zip(words, VERTEBRAE, strict=True)))
        all_stated.append(len(VERTEBRAE))
    weights = patient_weights([neck.uid for neck in necks])
    return {
        "studies": len(necks),
        "not_assessable": sum(neck.not_assessable for neck in necks),
        "covered": sum(covered),
        "right level, centroid within 5 mm": asdict(_ratio(right, covered, weights)),
        "median error, mm": float(np.median(off)),
        "95th percentile, mm": float(np.percentile(off, 95)),
        "coverage stated rightly": asdict(_ratio(stated, all_stated, weights)),
    }


def _miss_mm(neck: Neck, level: str) -> float:
    """Return how far off a vertebra's middle was found; infinite where it was not."""
    if level not in neck.rows or level not in neck.truth["centroids"]:
        return float("inf")
    return float(np.linalg.norm(np.subtract(neck.rows[level]["centroid_lps_mm"], neck.truth["centroids"][level])))


def _ratio(above: list[int], below: list[int], weights: npt.NDArray[np.int32]) -> Interval:
    return percentile_interval(sum(above) / max(sum(below), 1), bootstrap_ratio(above, below, weights))


# --- fractures -------------------------------------------------------------------------------------------------------


def fractures(necks: list[Neck], classifier: LevelClassifier) -> dict[str, Any]:
    """Judge probabilities, where they point to, and what is left of them without the vertebrae."""
    said = [classifier.scores(neck.views) for neck in necks]
    calibrated = [classifier.calibrated(scores) for scores in said]
    levels, overall = np.array([found for found, _ in calibrated]), np.array([found for _, found in calibrated])
    blank = [classifier.scores(tuple(_blanked(views) for views in neck.views)) for neck in necks]
    cases, blanked = cases_of(necks, levels), cases_of(necks, np.array([scores.levels for scores in blank]))
    patients = patients_of(necks, overall)
    result = {
        "levels": {name: asdict(interval_of(cases, chosen)) for name, chosen in groups_of(cases).items()},
        "levels, each against its own": {
            name: asdict(_own_auc(cases[groups_of(cases)[name]])) for name in ("clear or obvious", "all")
        },
        "patients": {
            "clear or obvious": asdict(interval_of(patients, patients["best"].isin([*CLEAR, "none"]))),
            "all": asdict(interval_of(patients, patients["best"] != "")),
        },
        "pointing": _pointing(necks, classifier, said, levels),
        "shortcuts": {
            "vertebrae blanked out, levels": asdict(interval_of(blanked)),
            "vertebrae blanked out, levels each against its own": asdict(_own_auc(blanked)),
            "vertebrae blanked out, patients": asdict(
                interval_of(patients_of(necks, np.array([s.overall for s in blank])))
            ),
            "number of slices alone, patients": asdict(
                interval_of(patients_of(necks, np.array([n.slices for n in necks])))
            ),
        },
    }
    return result | {"mix": {str(word): int(count) for word, count in cases["word"].value_counts().items()}}


def _blanked(views: LevelViews) -> LevelViews:
    """Return a vertebra's views with their inner three quarters black, all of the bone."""
    images, edge = views.images.copy(), views.settings.pixels // 8
    images[:, edge:-edge, edge:-edge] = 0
    return replace(views, images=images)


def cases_of(necks: list[Neck], levels: Floats) -> pd.DataFrame:
    """Return a row for each vertebra that was looked at."""
    rows = []
    for number, neck in enumerate(necks):
        for column, level in enumerate(VERTEBRAE):
            own = [found for found in neck.truth["fractures"] if found["level"] == level]
            best = max(own, key=lambda found: found["visibility"], default=None)
            score = float(levels[number, column])
            if np.isnan(score) and best is None:
                continue
            rows.append(
                {
                    "patient": neck.uid, "level": level, "truth": int(best is not None),
                    "score": -1.0 if np.isnan(score) else score,  # what was not found is called whole
                    "word": best["visibility_word"] if best else "none", "kind": best["kind"] if best else "none",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def patients_of(necks: list[Neck], scores: Floats) -> pd.DataFrame:
    order = ["none", "occult", "subtle", "clear", "obvious"]
    best = [
        max((f["visibility_word"] for f in neck.truth["fractures"]), key=order.index, default="none") for neck in necks
    ]
    return pd.DataFrame(
        {
            "patient": [neck.uid for neck in necks],
            "truth": [int(word != "none") for word in best],
            "score": scores,
            "best": best,
        }
    )


def groups_of(cases: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """Return which cases are held against each other: some of the broken, and all that are whole."""
    whole = cases["truth"] == 0
    found = {"clear or obvious": whole | cases["word"].isin(CLEAR), "all": whole | ~whole}
    for word in ("occult", "subtle", "clear", "obvious"):
        found[word] = whole | (cases["word"] == word)
    for level in VERTEBRAE:
        found[level] = cases["level"] == level
    for kind in sorted(set(cases["kind"]) - {"none"}):
        found[kind] = whole | (cases["kind"] == kind)
    return found


def interval_of(cases: pd.DataFrame, chosen: "pd.Series[bool] | None" = None) -> Interval:
    part = cases if chosen is None else cases[chosen]
    truth, score = part["truth"].to_numpy(), part["score"].to_numpy(np.float64)
    return percentile_interval(auc(truth, score), bootstrap_auc(truth, score, patient_weights(part["patient"])))


def _own_auc(cases: pd.DataFrame) -> Interval:
    """Return how often a broken vertebra is called likelier than a whole one of the same level.

    That is each level's AUC, weighted by its pairs; how often a level breaks tells nothing then.
    """
    weights = patient_weights(cases["patient"])
    above = pairs = 0.0
    draws, drawn = np.zeros(len(weights)), np.zeros(len(weights))
    for level in VERTEBRAE:
        own = (cases["level"] == level).to_numpy()
        truth, score = cases["truth"].to_numpy()[own], cases["score"].to_numpy(np.float64)[own]
        count = float(truth.sum()) * float((1 - truth).sum())
        if not count:
            continue
        above, pairs = above + count * auc(truth, score), pairs + count
        of_draw = (weights[:, own] @ truth).astype(float) * (weights[:, own] @ (1 - truth))
        found = np.nan_to_num(bootstrap_auc(truth, score, weights[:, own]))
        draws, drawn = draws + of_draw * found, drawn + of_draw
    value = above / pairs if pairs else float("nan")
    return percentile_interval(value, draws / np.maximum(drawn, 1.0))


def _pointing(necks: list[Neck], classifier: LevelClassifier, said: list[Scores], levels: Floats) -> dict[str, Any]:
    """Judge whether the strongest place of each vertebra is where that vertebra is broken."""
    threshold = next(point.threshold for point in classifier.metadata.operating_points_level if point.name == "triage")
    strength, hits, uids, inside, detected, number = [], [], [], [], [], 0
    for neck, scores, chances in zip(necks, said, levels, strict=True):
        for views in neck.views:
            column = VERTEBRAE.index(views.level)
            point = strongest_point(views, *classifier.strongest(scores.evidence[column]))[2]
            broken = neck.truth["broken_lps_mm"].get(views.level)
            near = broken is not None and float(np.linalg.norm(np.array(broken) - point, axis=1).min()) <= NEAR_MM
            strength.append(float(chances[column]))
            hits.append(number if near else -1)
            number += 1
            if broken is not None:
                uids.append(neck.uid)
                detected.append(int(chances[column] >= threshold))
                inside.append(int(near and chances[column] >= threshold))
    weights = patient_weights(uids)
    curve = froc(strength, hits, broken=sum(len(n.truth["levels"]) for n in necks), studies=len(necks))
    return {
        "threshold": threshold,
        "broken vertebrae looked at": len(uids),
        "detected": asdict(_ratio(detected, [1] * len(detected), weights)),
        "place within 5 mm, of detected": asdict(_ratio(inside, detected, weights)),
        "froc": {f"{alarms} false alarms a study": curve.at(alarms) for alarms in (0.125, 0.25, 0.5, 1.0, 2.0)},
    }


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> dict[str, Table]:
    """Return what the benchmarks' page shows of the numbers."""
    bones, levels, patients = found["vertebrae"], found["levels"], found["patients"]
    pointing, near = found["pointing"], "right level, centroid within 5 mm"
    asked = [
        (f"vertebrae ({bones['covered']} covered ones): {near}", "0.98", _told(bones[near])),
        ("median of the centroid's error, mm", "2", f"{bones['median error, mm']:.2f}"),
        ("95th percentile, mm", "", f"{bones['95th percentile, mm']:.2f}"),
        ("coverage stated rightly", "0.97", _told(bones["coverage stated rightly"])),
        ("AUC of levels, clear or obvious fractures", "0.95", _told(levels["clear or obvious"])),
        ("AUC of patients, clear or obvious fractures", "0.95", _told(patients["clear or obvious"])),
        (f"place pointed to within {NEAR_MM:g} mm of the fracture, of detected ones", "0.80",
         _told(pointing["place within 5 mm, of detected"])),
        ("broken vertebrae detected at the triage point", "", _told(pointing["detected"])),
        (f"studies refused, of {bones['studies']}", "", str(bones["not_assessable"])),
    ]  # fmt: skip
    own, words = found["levels, each against its own"], ("occult", "subtle", "clear", "obvious")
    mix = [
        ("all", _told(levels["all"])),
        ("all, each level against its own", _told(own["all"])),
        ("clear or obvious, each level against its own", _told(own["clear or obvious"])),
        *((word, _told(levels[word])) for word in words),
        *((f"of {level}", _told(levels[level])) for level in VERTEBRAE),
        ("all, AUC of patients", _told(patients["all"])),
    ]
    known = {"clear or obvious", "all", *words, *VERTEBRAE}
    fracture_types = [(kind.replace("_", " "), _told(value)) for kind, value in levels.items() if kind not in known]
    header = ("fractures", "AUC of levels", "", "kinds", "AUC of levels")
    froc = tuple((name.split()[0], _told(scanned_fraction)) for name, scanned_fraction in pointing["froc"].items())
    return {
        "hidden-asked": Table(("what", "asked", "found"), tuple(asked)),
        "hidden-mix": Table(header, side_by_side(mix, fracture_types)),
        "hidden-froc": Table(("false alarms a study", "broken vertebrae found and pointed to"), froc),
        "hidden-shortcuts": Table(
            ("shortcut", "AUC"), tuple((name, _told(value)) for name, value in found["shortcuts"].items())
        ),
    }


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
