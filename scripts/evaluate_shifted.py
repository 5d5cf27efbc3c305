"""Evaluate the shipped networks on the phantom's shifted domain: vertebrae, fractures, lesion localization, shortcuts.

Declared before each evaluation: a number of studies of a seed that was never evaluated before, drawn from
``DOMAINS["shifted"]`` as it stands, and the weights that come with cspine; nothing is chosen on them. The visibility of
a fracture was defined before any network was trained (`cspine.phantom.visibility`). Evaluations so far:
200 studies of seed 9090 with level weights 8f5f45409868; `STUDIES` studies of seed `SEED` with 213e9542a07f, both on 26
November 2026. The latter were the weights of version 0.2, 09cb98a6090b since their metadata's fields were renamed. On
29 November 2026 300 studies of seed 9096, of generator 6, whose phantoms have mimics of fractures, were declared for
these weights (``--weights``) and for those that `scripts.level_folds` trained after them, 8d018409e044. On the same day
300 studies of seed 9101 were declared for 8d018409e044 and for the weights that `scripts.level_folds` trained next; on
30 November, drawn by generator 8, they were evaluated with 8d018409e044 alone, since the next ones did not ship. On 30
November 300 studies of seed 9111, of generator 9, were declared for the mean of two networks that `scripts.mean_folds`
made after them, 898386862f3f, and evaluated; on the same day they were drawn again, and evaluated with the same
parameters in a new file, for the false alarms by mimic. Later weights are to be given a ``--seed`` of their own.

Fractures are evaluated by `cspine.evaluation`. Two control models show what is predicted without looking at bone: the
network itself on views whose vertebrae are blanked out, and the number of slices alone.

Run: ``python -m scripts.evaluate_shifted --work DIR``; an interrupted run resumes. Tables go to standard output and
``DIR/tables``, all numbers to ``DIR/shifted.json``.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from benchmarks.progress import print_progress
from benchmarks.tables import join_columns, save_table

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import predict_dataset, read_views
from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.files import plain_json, read_json, write_json
from cspine.core.identifiers import study_key
from cspine.core.processors import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.lesion_reference import HIT_DISTANCE_MM
from cspine.datasets.phantom_records import VISIBILITY_GRADES
from cspine.datasets.reference_standard import ReferenceStandard, read_reference_standard
from cspine.dicom.study_collection import TRUTH_FOLDER
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, ModelResult, evaluate
from cspine.evaluation.localization import LesionLocalization
from cspine.evaluation.operating_points import DEFAULT_OPERATING_POINT, operating_points_of_weights
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.subgroups import BONE_LOST
from cspine.experiments.blanking import blank_views
from cspine.localization.compiler import Compiler
from cspine.metrics.bootstrap import N_RESAMPLES, Interval, proportion_interval
from cspine.metrics.stratified_auc import stratified_auc
from cspine.phantom import DOMAINS
from cspine.phantom.scanner.dicom import Identity
from cspine.reports.evaluation.location_sections import mimic_table
from cspine.reports.evaluation.sections import Table, format_interval
from cspine.spine.spine_map import coverage_of
from cspine.training.levels.phantom_dataset import write_phantom_dataset

STUDIES, SEED = 300, 9091
CLEAR_OR_OBVIOUS: Final = " or ".join(VISIBILITY_GRADES[2:])
TRIAGE: Final = "triage"
RESULT_FILE: Final = "shifted.json"

BLANKED, SLICES_ALONE = "vertebrae blanked out", "number of slices alone"
"""Names of the control models."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--studies", type=int, default=STUDIES, help="fewer, to try the script: never of this seed")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the studies")
    parser.add_argument("--domain", choices=list(DOMAINS), default="shifted")
    parser.add_argument("--weights", type=Path, help="level network; the one that ships by default")
    options = parser.parse_args()
    classifier = LevelClassifier.load(options.weights)
    store = write_phantom_dataset(
        options.work / f"{options.domain}-{options.seed}",
        Compiler(classifier.metadata.images, classifier.localizer),
        studies=options.studies,
        seed=options.seed,
        settings=DOMAINS[options.domain],
        workers=default_workers(),
        progress=print_progress,
    )
    studies = [Identity(options.seed, n, options.domain).study_uid for n in range(options.studies)]
    reference = select_studies(read_reference_standard(store.folder), studies)
    predictions = predict(store, classifier, reference, name=classifier.metadata.name)
    controls = [predict_blanked(store, classifier, reference), predict_from_slices(store, reference, predictions)]
    points = operating_points_of_weights(classifier.metadata) or DEFAULT_OPERATING_POINT
    settings = EvaluationSettings(operating_points=points)
    result = evaluate(reference, [predictions, *controls], settings, progress=print_progress)
    vertebrae = evaluate_vertebrae(store, studies)
    numbers = {"vertebrae": asdict(vertebrae), "evaluation": result.to_json()}
    write_json(options.work / RESULT_FILE, plain_json(numbers))
    for name, table in tables(result, vertebrae).items():
        save_table(options.work, name, table)


# --- predictions -----------------------------------------------------------------------------------------------------


def select_studies(reference: ReferenceStandard, studies: list[str]) -> ReferenceStandard:
    """Return the reference standard of these studies alone; a data set may hold studies of earlier runs too."""
    return reference.select(reference.labels.index[reference.labels.index.isin(studies)])


def predict(
    store: CompiledDataset, classifier: LevelClassifier, reference: ReferenceStandard, *, name: str
) -> Predictions:
    """Return a classifier's predictions for the studies of the reference standard, with its marks.

    Parameters
    ----------
    store : CompiledDataset
        Compiled with the classifier's localizer.
    classifier : LevelClassifier
        The shipped classifier that is evaluated.
    reference : ReferenceStandard
        Reference standard of the studies to evaluate on.
    name : str
        Name of the model in tables.
    """
    probability, marks = predict_dataset(store, classifier, progress=print_progress)
    return _to_predictions(name, probability, reference, marks)


def predict_blanked(store: CompiledDataset, classifier: LevelClassifier, reference: ReferenceStandard) -> Predictions:
    """Return what the network predicts from views whose vertebrae are blacked out.

    Whatever it predicts better than at random then comes from the surroundings of the bone or from the data set, not
    from fractures.
    """
    studies = set(reference.labels.index)
    rows = {}
    for study, levels in store.levels().groupby("study_instance_uid"):
        if study in studies:
            views = tuple(blank_views(view) for view in read_views(store, levels))
            probability, overall = classifier.calibrate(classifier.predict_scores(views))
            rows[str(study)] = [overall, *probability.tolist()]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)
    return _to_predictions(BLANKED, table, reference)


def predict_from_slices(store: CompiledDataset, reference: ReferenceStandard, predictions: Predictions) -> Predictions:
    """Return the number of slices as if it were a probability: whether the length of a scan gives fractures away."""
    slices = store.studies().set_index("study_instance_uid")["slices"].astype(float)
    fraction = (slices / slices.max()).reindex(predictions.probability.index)
    return _to_predictions(SLICES_ALONE, pd.DataFrame(dict.fromkeys(TARGETS, fraction)), reference)


def _to_predictions(
    name: str, probability: pd.DataFrame, reference: ReferenceStandard, marks: pd.DataFrame | None = None
) -> Predictions:
    """Return predictions for the studies of the reference standard; those that are not compiled are not assessable."""
    kept = probability.loc[probability.index.isin(reference.labels.index)]
    not_assessable = {str(study): "not compiled" for study in reference.labels.index if study not in kept.index}
    return Predictions(name, kept, not_assessable, marks, phantom_only=True)


# --- vertebrae -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VertebraResult:
    """Accuracy of the localizer.

    Attributes
    ----------
    n_studies, n_covered : int
        Studies, and vertebrae that lie in the scan at least in part.
    correct_level : Interval
        Proportion of covered vertebrae whose centroid lies within `HIT_DISTANCE_MM` of that of the same level.
    median_error_mm, p95_error_mm : float
        Distances between centroids of those that were found.
    correct_coverage : Interval
        Proportion of C1 to C7 whose coverage is stated correctly, absent ones included.
    """

    n_studies: int
    n_covered: int
    correct_level: Interval
    median_error_mm: float
    p95_error_mm: float
    correct_coverage: Interval


def evaluate_vertebrae(store: CompiledDataset, studies: list[str]) -> VertebraResult:
    """Compare the vertebrae that the localizer found with the phantom's.

    Parameters
    ----------
    store : CompiledDataset
        Phantoms, with their truth.
    studies : list of str
        StudyInstanceUID of each study to evaluate.
    """
    localized = {(str(row["study_instance_uid"]), str(row["level"])): row for row in store.levels().to_dict("records")}
    rows = []
    for study in studies:
        truth = read_json(store.folder / TRUTH_FOLDER / f"{study_key(study)}.json")
        for level in VERTEBRAE:
            row, center = localized.get((study, level)), truth["centroids"].get(level)
            stated = coverage_of(float(row["scanned_fraction"])) if row else "absent"
            error = float(np.linalg.norm(np.subtract(row["centroid_lps_mm"], center))) if row and center else np.inf
            rows.append((study, coverage_of(float(truth["coverage"][level])), stated, error))
    table = pd.DataFrame(rows, columns=["study", "coverage", "stated", "error_mm"])
    covered = table[table["coverage"] != "absent"]
    found_mm = covered["error_mm"][np.isfinite(covered["error_mm"])]
    return VertebraResult(
        len(studies),
        len(covered),
        _proportion(covered["error_mm"] <= HIT_DISTANCE_MM, covered["study"]),
        float(found_mm.median()),
        float(found_mm.quantile(0.95)),
        _proportion(table["coverage"] == table["stated"], table["study"]),
    )


def _proportion(successes: "pd.Series[bool]", patients: "pd.Series[str]") -> Interval:
    everyone = np.ones(len(successes), bool)
    return proportion_interval(successes, everyone, patients, n_resamples=N_RESAMPLES)


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(result: EvaluationResult, vertebrae: VertebraResult) -> dict[str, Table]:
    """Return the tables of the benchmarks' page.

    Parameters
    ----------
    result : EvaluationResult
        Evaluation of the network and of two control models.
    vertebrae : VertebraResult
        Detection of vertebrae by the localizer, and its position errors.
    """
    model = result.models[0]
    if model.localization is None:
        raise ValueError(f"{model.name}: has no marks; evaluate weights that localize fractures")
    froc = tuple((f"{rate:g}", format_interval(value)) for rate, value in model.localization.sensitivity_at.items())
    return {
        "shifted-targets": _target_table(model, model.localization, vertebrae),
        "shifted-subgroups": _subgroup_table(result, model),
        "shifted-froc": Table(("false positives per study", "sensitivity, correctly localized"), froc),
        "shifted-shortcuts": _shortcut_table(result),
        "shifted-mimics": mimic_table(model.mimics),
    }


def _target_table(model: ModelResult, lesions: LesionLocalization, vertebrae: VertebraResult) -> Table:
    triage = next(point for point in lesions.operating_points if point.name == TRIAGE)
    level_auc, patient_auc = (subgroup_auc(model, CLEAR_OR_OBVIOUS, unit) for unit in ("vertebrae", "patients"))
    in_scan = f"{vertebrae.n_covered} vertebrae in the scans"
    rows = (
        (f"{in_scan}: correct level, centroid within {HIT_DISTANCE_MM:g} mm", "0.98",
         format_interval(vertebrae.correct_level)),
        ("median error of the centroid, mm", "2", f"{vertebrae.median_error_mm:.2f}"),
        ("95th percentile, mm", "", f"{vertebrae.p95_error_mm:.2f}"),
        ("coverage stated correctly", "0.97", format_interval(vertebrae.correct_coverage)),
        ("level AUC, clear or obvious fractures", "0.95", format_interval(level_auc)),
        ("patient AUC, clear or obvious fractures", "0.95", format_interval(patient_auc)),
        (f"detected fractures localized within {HIT_DISTANCE_MM:g} mm", "0.80",
         format_interval(triage.correct_location)),
        ("sensitivity for fractured vertebrae, triage operating point", "", format_interval(triage.sensitivity)),
        (f"studies not assessable, of {vertebrae.n_studies}", "", str(model.n_not_assessable)),
    )  # fmt: skip
    return Table(("measure", "target", "result"), rows)


def _subgroup_table(result: EvaluationResult, model: ModelResult) -> Table:
    visibility = [(word, format_interval(subgroup_auc(model, word, "vertebrae"))) for word in VISIBILITY_GRADES]
    by_level = [(f"of {level}", format_interval(model.target(level).auc)) for level in VERTEBRAE]
    left = [
        ("all", format_interval(model.target(LEVELS).auc)),
        ("all, within levels", format_interval(within_level_auc(result, model))),
        *visibility,
        *by_level,
        ("all, patient AUC", format_interval(model.target(OVERALL).auc)),
    ]
    right = [(row.value, format_interval(row.auc)) for row in model.subgroups if row.group == "fracture type"]
    right += [
        ("bone lost, of any type" if row.value == "yes" else "no bone lost", format_interval(row.auc))
        for row in model.subgroups
        if row.group == BONE_LOST
    ]
    header = ("fractures", "level AUC", "", "fracture type", "level AUC")
    return Table(header, join_columns(left, right))


def subgroup_auc(model: ModelResult, value: str, cases: str) -> Interval:
    """Return the AUC of fractures of one visibility against all intact cases."""
    rows = (row for row in model.subgroups if (row.group, row.value, row.unit) == ("visibility", value, cases))
    return next(rows).auc


def within_level_auc(result: EvaluationResult, model: ModelResult) -> Interval:
    """Return the AUC of vertebrae against those of the same level: how often each level fractures does not count."""
    cases = result.cases[model.name][LEVELS].ranked()
    return stratified_auc(cases.truth, cases.probability, cases.columns, cases.patients)


def _shortcut_table(result: EvaluationResult) -> Table:
    _, blanked, slices = result.models
    rows = (
        (f"{BLANKED}, levels", format_interval(blanked.target(LEVELS).auc)),
        (f"{BLANKED}, within levels", format_interval(within_level_auc(result, blanked))),
        (f"{BLANKED}, patients", format_interval(blanked.target(OVERALL).auc)),
        (f"{SLICES_ALONE}, patients", format_interval(slices.target(OVERALL).auc)),
    )
    return Table(("shortcut", "AUC"), rows)


if __name__ == "__main__":
    main()
