"""A judgement as sections of text and tables, for whatever page they are set on."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, ModelResult
from cspine.evaluation.operating_point_metrics import HALF, PREVALENCES
from cspine.evaluation.subgroups import SubgroupRow
from cspine.evaluation.target_metrics import MIN_CASES, TargetRow
from cspine.metrics.bootstrap import Interval

Row = tuple[str, ...]

NOTHING: Final = "-"


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; all but the first column are numbers."""

    header: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """A part of a report: its heading, its sentences, its table, and the name of its figure."""

    title: str
    text: tuple[str, ...] = ()
    table: Table | None = None
    figure: str | None = None


def sections_of(judgement: EvaluationResult) -> tuple[Section, ...]:
    """Return everything that is told of a judgement, in the order in which a reviewer would ask."""
    made: list[Callable[[EvaluationResult], Iterable[Section]]] = [
        _studies, _ranking, _calibration, _points, _loss, _comparisons, _pointing, _confusion, _worth, _subgroups,
    ]  # fmt: skip
    return tuple(section for make in made for section in make(judgement))


def name_of(what: str) -> str:
    """Return what cases are called in tables.

    >>> name_of("patient_overall"), name_of("C3"), name_of("levels")
    ('patient', 'C3', 'all levels')
    """
    return {OVERALL: "patient", LEVELS: "all levels"}.get(what, what)


def show(interval: Interval, digits: int = 3, *, sign: str = "") -> str:
    """Return a number with its interval.

    >>> show(Interval(0.5, 0.25, 0.75), 2), show(Interval(float("nan"), 0.0, 0.0))
    ('0.50 (0.25 to 0.75)', '-')
    """
    if math.isnan(interval.value):
        return NOTHING
    form = f"{sign}.{digits}f"
    if math.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _plain(value: float, digits: int = 3) -> str:
    return NOTHING if math.isnan(value) else f"{value:.{digits}f}"


def _studies(judgement: EvaluationResult) -> Iterable[Section]:
    told = [
        *_circumstances(judgement),
        f"{judgement.studies:,} studies of {judgement.patients:,} patients, held against {judgement.truth}. Intervals: "
        "95 %. Areas: DeLong, of vertebrae of the same patient Obuchowski. Shares: Wilson; of vertebrae, and wherever "
        f"nothing else is said, the bootstrap over patients ({judgement.draws:,} draws). Without interval: calibration "
        "errors, label accuracies, counts and decision curves.",
    ]
    for system in judgement.systems:
        if system.phantom_only:
            told.append(f"{system.name} says that it has learnt from phantoms only.")
        if system.not_assessable:
            told.append(
                f"{system.name} refused {system.not_assessable} studies, {system.refused_fractured} of them fractured; no "
                "system is judged on them."
            )
        if system.unasked:
            told.append(f"{system.name} answered {system.unasked} studies that are not asked for.")
    silent = judgement.systems[0].silent
    if silent:
        told.append(f"Of {silent} vertebrae some system says nothing; none is judged on them.")
    yield Section("Studies", tuple(told))


def _circumstances(judgement: EvaluationResult) -> Iterable[str]:
    protocol = judgement.protocol
    if protocol.seen_in_training:
        yield f"{protocol.seen_in_training} of these studies were learnt from: the numbers are too good; use others."
    if protocol.part:
        yield f"The part '{protocol.part}' of the split {protocol.split_sha256[:16]}."
    if protocol.looks_before is not None:
        yield f"It was looked at {protocol.looks_before} times before; each look is recorded beside the split."


def _ranking(judgement: EvaluationResult) -> Iterable[Section]:
    header = ("cases", "fractured", *(f"{name}{part}" for name in _names(judgement) for part in ("AUC", "AP")))
    rows = []
    for number, row in enumerate(judgement.systems[0].rows):
        cells = [f"{name_of(row.what)}{' *' if row.few else ''}", f"{row.positives:,} of {row.cases:,}"]
        for system in judgement.systems:
            own = system.rows[number]
            cells += [show(own.auc), show(own.average_precision)]
        rows.append(tuple(cells))
    text = (
        "AUC: the chance that a fractured case is called likelier than a whole one. AP: average precision, to be held "
        "against the share that is fractured.",
        *_few(any(row.few for row in judgement.systems[0].rows)),
    )
    yield Section("Ranking", text, Table(header, tuple(rows)), "roc.png")


def _few(any_few: bool) -> tuple[str, ...]:
    return (f"* fewer than {MIN_CASES} fractured or whole ones: too few to say much.",) if any_few else ()


def _calibration(judgement: EvaluationResult) -> Iterable[Section]:
    header = ("cases", "Brier", "calibration error", "slope", "intercept")
    rows = [
        (
            f"{_of(judgement, system)}{name_of(row.what)}",
            show(row.brier),
            _plain(row.calibration_error),
            show(row.line.slope, 2) if row.line else NOTHING,
            show(row.line.intercept, 2) if row.line else NOTHING,
        )
        for system in judgement.systems
        for row in system.rows
    ]
    text = (
        "Calibration error: mean distance between what is said and what happens, over ten bins of equally many cases. "
        "A slope of 1 and an intercept of 0 are right; below 1, probabilities are too extreme; above 0, too low. "
        "Intervals of slope and intercept take cases for independent.",
    )
    yield Section("Calibration", text, Table(header, tuple(rows)), "reliability.png")


def _points(judgement: EvaluationResult) -> Iterable[Section]:
    chosen = judgement.points.chosen_on
    frozen = "No operating points were given." if judgement.points == HALF else f"Chosen on: {chosen}."
    if judgement.thresholds_in_sample:
        frozen += " These are the very studies that they are judged on here: they flatter."
    header = ("cases, point", "threshold", "sensitivity", "specificity", "PPV", "NPV")
    rows = [
        (
            f"{_of(judgement, system)}{name_of(row.what)}, {point.name}",
            f"{point.threshold:.4g}",
            show(point.sensitivity),
            show(point.specificity),
            show(point.positive_value),
            show(point.negative_value),
        )
        for system in judgement.systems
        for row in system.rows
        for point in row.points
    ]
    yield Section("Operating points", (frozen,), Table(header, tuple(rows)))
    at = [f"{100 * prevalence:.0f} %" for prevalence in PREVALENCES]
    worth = [
        (
            f"{_of(judgement, system)}{point.name}",
            *(show(value) for part in point.reweighted for value in (part.positive, part.negative)),
        )
        for system in judgement.systems
        for point in system.row(OVERALL).points
    ]
    table = Table(("point", *(f"{value} at {share}" for share in at for value in ("PPV", "NPV"))), tuple(worth))
    text = "What patients' answers are worth where fewer are fractured (Bayes, from sensitivity and specificity above)."
    yield Section("Predictive values at stated prevalences", (text,), table)


def _loss(judgement: EvaluationResult) -> Iterable[Section]:
    header = ("answer", "per study", "less the first", "global", "less the first")
    rows = tuple(
        (
            row.name,
            show(row.per_study, 4),
            show(row.per_study_difference, 4, sign="+") if number else "",
            show(row.globally, 4),
            show(row.globally_difference, 4, sign="+") if number else "",
        )
        for number, row in enumerate(judgement.losses)
    )
    text = [
        "Lower is better; a difference above 0 is worse than the first row. Where p is calibrated, 2p/(1+p) is "
        "optimal for the global normalisation only.",
    ]
    text += [
        f"Mean label accuracy{_named(judgement, system)} {100 * system.accuracy:.1f} % with half as a threshold; "
        f"calling everything unbroken already gets {100 * system.all_negative_accuracy:.1f} %."
        for system in judgement.systems
    ]
    yield Section("Challenge log loss", tuple(text), Table(header, rows))


def _comparisons(judgement: EvaluationResult) -> Iterable[Section]:
    if not judgement.comparisons:
        return
    rows = tuple(
        (
            f"{part.one} less {part.other}, {name_of(part.what)}",
            show(part.difference.interval, 3, sign="+"),
            NOTHING if math.isnan(part.difference.p) else f"{part.difference.p:.2g}",
        )
        for part in judgement.comparisons
    )
    text = (
        "Difference of areas on the same cases (DeLong; of vertebrae Obuchowski), and how likely it is by chance alone."
    )
    yield Section("Systems against each other", (text,), Table(("systems", "difference of AUC", "p"), rows))


def _pointing(judgement: EvaluationResult) -> Iterable[Section]:
    for system in judgement.systems:
        found = system.localisation
        if found is None:
            continue
        text = (
            f"{found.broken} broken vertebrae in {found.studies} studies whose fractures are known in place. A mark "
            f"hits {found.told}.",
            "Sensitivity at false alarms a study: "
            + ", ".join(f"{show(value, 2)} at {alarms:g}" for alarms, value in found.sensitivity.items())
            + ".",
        )
        rows = tuple(
            (part.name, f"{part.threshold:.4g}", show(part.called), show(part.right)) for part in found.detected
        )
        header = ("point", "threshold", "broken vertebrae called", "of them pointed at rightly")
        yield Section(f"Pointing{_named(judgement, system)}", text, Table(header, rows), "froc.png")


def _confusion(judgement: EvaluationResult) -> Iterable[Section]:
    for system in judgement.systems:
        total = int(system.confusion.sum())
        if not total:
            continue
        rows = tuple(
            (level, *(str(count) if count else "" for count in counts))
            for level, counts in zip(VERTEBRAE, system.confusion.tolist(), strict=True)
        )
        right = int(system.confusion.trace())
        text = f"Of {total} studies with one broken vertebra, it is the most suspicious one in {right}. Rows: truth."
        header = ("broken", *(f"named {level}" for level in VERTEBRAE))
        yield Section(f"Which vertebra is blamed{_named(judgement, system)}", (text,), Table(header, rows))


def _worth(judgement: EvaluationResult) -> Iterable[Section]:
    fractured = judgement.systems[0].row(OVERALL)
    text = (
        f"{fractured.positives:,} of {fractured.cases:,} patients are fractured here. Net benefit of acting on "
        "patients from each probability on, in true positives a patient, beside acting on everybody and on nobody "
        "(Vickers and Elkin 2006).",
    )
    yield Section("Decision curve", text, None, "decision.png")


def _subgroups(judgement: EvaluationResult) -> Iterable[Section]:
    for system in judgement.systems:
        groups = dict.fromkeys((row.of, row.group) for row in system.subgroups)
        if not groups:
            continue
        rows = tuple(_subgroup(row) for row in system.subgroups)
        point = judgement.points.points[-1]
        text = (
            f"Sensitivity at the point {point.name}. Parts by fracture hold their broken cases against all whole ones.",
            *_few(any(row.few for row in system.subgroups)),
        )
        header = ("part", "fractured", "AUC", "sensitivity")
        yield Section(f"Parts of the cases{_named(judgement, system)}", text, Table(header, rows), "subgroups.png")


def _subgroup(row: SubgroupRow) -> Row:
    name = f"{row.of}, {row.group}: {row.value}{' *' if row.few else ''}"
    return name, f"{row.positives:,} of {row.cases:,}", show(row.auc), show(row.sensitivity)


def _names(judgement: EvaluationResult) -> Sequence[str]:
    """Return the systems' names, to be put before what is told of each; of one alone none."""
    return [""] if len(judgement.systems) == 1 else [f"{system.name}, " for system in judgement.systems]


def _of(judgement: EvaluationResult, system: ModelResult) -> str:
    return f"{system.name}, " if len(judgement.systems) > 1 else ""


def _named(judgement: EvaluationResult, system: ModelResult) -> str:
    return f": {system.name}" if len(judgement.systems) > 1 else ""


def headline(row: TargetRow) -> str:
    """Return the one number that stands for a row."""
    return f"AUC {show(row.auc)}"
