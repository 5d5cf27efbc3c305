"""Operating points and recalibration of a site as sentences, sections and a figure."""

from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.text import counted
from cspine.core.typing import Floats
from cspine.evaluation.site_calibration import SiteCalibration, TargetCalibration
from cspine.evaluation.site_scans import SiteScans
from cspine.metrics.bootstrap import Interval
from cspine.plots.figure_style import add_legend, new_panels
from cspine.reports.evaluation.sections import Section, Table, format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_SENSITIVITY: Final = (
    "These scans say nothing about sensitivity: a higher threshold finds fewer fractures. Evaluate the site's points "
    "on scans with known fractures (cspine evaluate)."
)
_PROBABILITIES: Final = (1e-4, 1 - 1e-4)
"""Probabilities that the figure shows, on an axis of log-odds."""

_TICKS: Final = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)

_ASSUMPTIONS: Final = {
    True: "All scans were stated to be intact; a fracture among them raises the points. The shift supposes that the "
    "site adds as much to the log-odds of fractured scans as to those of intact ones.",
    False: "The scans are unlabelled; a scan counts as intact with the complement of its recalibrated probability, so "
    "that the specificities are estimates that hold as far as the probabilities do.",
}


def calibration_summary(result: SiteCalibration) -> tuple[str, ...]:
    """Return the result as sentences: what the scans are, the points, how sure they are, and what limits them."""
    lines = [_scans_sentence(result)]
    for each in result.targets:
        before, after = each.before, each.after
        lines.append(
            f"{_name(each)}: triage from {_percent(after.threshold)}, log-odds shifted by "
            f"{format_interval(each.shift_logit, 2, sign='+')}; specificity {_percent(after.specificity)}, alarms in "
            f"{_percent(after.alarms)}. At the weights' own point ({100 * before.threshold.value:.1f} %): specificity "
            f"{_percent(before.specificity)}."
        )
    lines += [_needed_sentence(each) for each in result.targets]
    lines += _mixture_sentences(result)
    return (*lines, *(f"{warning}." for warning in result.warnings), _NO_SENSITIVITY)


def calibration_sections(result: SiteCalibration) -> tuple[Section, ...]:
    """Return the sections of the report: scans, operating points, recalibration, and scans needed."""
    points = Table(
        ("cases", "point", "threshold", "specificity", "alarms"),
        tuple(
            (_name(each), point, _percent(at.threshold), _percent(at.specificity), _percent(at.alarms))
            for each in result.targets
            for point, at in (("of the weights", each.before), ("of the site", each.after))
        ),
    )
    shifts = Table(
        ("cases", "number", "patients", "shift of the log-odds"),
        tuple(
            (_name(each), str(each.n_cases), str(each.n_patients), format_interval(each.shift_logit, 2, sign="+"))
            for each in result.targets
        ),
    )
    halves = [half for half, _ in result.targets[0].scans_needed]
    needed = Table(
        ("specificity of", *(f"within {100 * half:.0f} points" for half in halves)),
        tuple((_name(each), *(str(count) for _, count in each.scans_needed)) for each in result.targets),
    )
    intervals = (
        "95 % intervals: Wilson's of proportions with one case per patient, else of the bootstrap over patients. The "
        "thresholds were chosen on the scans whose specificity is stated."
    )
    scans = (_scans_sentence(result), *(f"{warning}." for warning in result.warnings), _ASSUMPTIONS[result.is_intact])
    return (
        Section("Scans", scans),
        Section("Operating points", (intervals, _NO_SENSITIVITY), points, "calibration.png"),
        Section("Recalibration", (_prevalence_sentence(result), *_mixture_sentences(result)), shifts),
        Section("Scans needed", ("Scans, one per patient, for a 95 % interval so narrow.",), needed),
    )


def calibration_figure(scans: SiteScans, result: SiteCalibration) -> "Figure":
    """Return the distributions of the probabilities before and after recalibration, with the triage points.

    Parameters
    ----------
    scans : SiteScans
        The scans that the site was calibrated on.
    result : SiteCalibration
        Their calibration.
    """
    recalibration = result.points.recalibration
    if recalibration is None:
        raise ValueError("the operating points of a site go with a recalibration")
    before = scans.probability[OVERALL].to_numpy(np.float64), scans.probability[list(VERTEBRAE)].to_numpy(np.float64)
    levels, patients = recalibration.apply(before[1], before[0])
    figure, panels = new_panels(2, is_phantom=False, width=4.5)
    for each, panel, own, shifted in zip(result.targets, panels, before, (patients, levels), strict=True):
        for values, point, color, label in (
            (own, each.before, "#4477AA", "weights"),
            (shifted, each.after, "#EE6677", "site"),
        ):
            _add_distribution(panel, values, color, label)
            panel.axvline(point.threshold.value, color=color, linestyle=":", label=f"triage, {label}")
        panel.set(title=_name(each), xscale="logit", xlim=_PROBABILITIES, ylim=(0, 1.02))
        panel.set(xlabel="probability", ylabel="cumulative fraction")
        panel.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        panel.minorticks_off()
    add_legend(panels[0], frameon=False, fontsize=7)
    return figure


def _add_distribution(panel: object, values: Floats, color: str, label: str) -> None:
    answered = np.sort(values[~np.isnan(values)])
    fractions = np.arange(1, len(answered) + 1) / len(answered)
    panel.step(answered, fractions, where="post", color=color, label=label)  # type: ignore[attr-defined]


def _name(target: TargetCalibration) -> str:
    return "Patients" if target.target == OVERALL else "Vertebrae"


def _percent(interval: Interval) -> str:
    """Return a proportion with its interval in percent."""
    value, low, high = (100 * each for each in (interval.value, interval.low, interval.high))
    return f"{format_interval(Interval(value, low, high), 1)} %"


def _scans_sentence(result: SiteCalibration) -> str:
    kind = "stated to be intact" if result.is_intact else f"unlabelled, of {100 * result.prevalence:g} % prevalence"
    scans, patients = counted(result.n_scans, "scan", "scans"), counted(result.n_patients, "patient", "patients")
    return f"{scans} of {patients}, {kind}."


def _prevalence_sentence(result: SiteCalibration) -> str:
    before, after = (f"{100 * each:.1f} %" for each in (result.weights_prevalence, result.prevalence))
    return (
        f"The weights' probabilities assume that {before} of patients have a fracture, the recalibrated ones {after}."
    )


def _needed_sentence(target: TargetCalibration) -> str:
    parts = ", ".join(f"{count} for {100 * half:.0f}" for half, count in target.scans_needed)
    return f"{_name(target)}: scans that it takes to know the specificity within so many percentage points: {parts}."


def _mixture_sentences(result: SiteCalibration) -> tuple[str, ...]:
    """Return what unlabelled scans say beyond the points; nothing of intact ones."""
    if result.estimated_prevalence is None or result.specificity_bounds is None:
        return ()
    low, high = (f"{100 * each:.1f}" for each in result.specificity_bounds)
    return (
        "If only the prevalence differed from the patients that the weights were calibrated on, it would be "
        f"{_percent(result.estimated_prevalence)}; as far as that is not the stated "
        f"{100 * result.prevalence:g} %, the scans look different.",
        "Whichever of these scans are the fractured ones, the specificity of the patients' point on them lies between "
        f"{low} and {high} %.",
    )
