"""Drift between two sets of findings: sensitivity, false alarms, intervals, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.support.predictions import make_findings, make_rejected_findings
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.findings import Acquisition
from cspine.evaluation.drift import Shift, find_shifts, stability_index
from cspine.evaluation.predictions import Predictions
from cspine.reports.evaluation.drift_report import drift_sections, drift_summary


def simulate_predictions(
    studies: int,
    seed: int,
    *,
    logit_shift: float = 0.0,
    manufacturers: tuple[str, ...] = ("A", "B"),
    n_rejected: int = 0,
) -> Predictions:
    rng = np.random.default_rng(seed)
    index = pd.Index([f"{seed}.{number}" for number in range(studies)])
    probability = pd.DataFrame(
        1 / (1 + np.exp(2 - logit_shift - rng.normal(size=(studies, 8)))), index=index, columns=list(TARGETS)
    )
    metadata = pd.DataFrame(
        {"manufacturer": rng.choice(manufacturers, studies), "slices": rng.integers(200, 400, studies)}, index=index
    )
    rejected = {f"{seed}.9{number}": "too-thick" for number in range(n_rejected)}
    return Predictions(f"of {seed}", probability, rejected, study_metadata=metadata)


def by_name(shifts: tuple[Shift, ...]) -> dict[str, Shift]:
    return {shift.variable: shift for shift in shifts}


def test_stability_index_of_example_worked_by_hand() -> None:
    # 20 and 80 of 100 against 50 and 50: (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5), nearly.
    exact = -0.3 * np.log(0.4) + 0.3 * np.log(1.6)
    assert stability_index([2000, 8000], [5000, 5000]) == pytest.approx(exact, rel=1e-3)
    assert stability_index([[10, 10], [0, 20]], [[10, 10], [20, 0]]).tolist() == [0.0, pytest.approx(7.07, abs=0.01)]


def test_shifted_variables_are_significant_and_others_are_not() -> None:
    before, now = (
        simulate_predictions(300, 1),
        simulate_predictions(200, 2, logit_shift=1.5, manufacturers=("A", "C"), n_rejected=30),
    )

    shifts = by_name(find_shifts(before, now, n_resamples=100))

    assert shifts["probability, patient"].is_significant
    assert shifts["manufacturer"].is_significant
    assert shifts["not assessable"].is_significant
    assert not shifts["slices"].is_significant
    assert shifts["manufacturer"].ks_distance is None
    assert "B: " in shifts["manufacturer"].detail
    assert shifts["not assessable"].detail.startswith("assessed: 100 %, now 86 %")
    patient = shifts["probability, patient"]
    known = stats.ks_2samp(before.probability[OVERALL], now.probability[OVERALL])
    assert patient.ks_distance is not None
    assert patient.ks_distance.value == pytest.approx(known.statistic)
    assert patient.p_value == pytest.approx(known.pvalue)
    assert patient.ks_distance.low < patient.ks_distance.value < patient.ks_distance.high
    assert patient.magnitude == "large"
    ordered = find_shifts(before, now, n_resamples=100)
    assert [shift.is_significant for shift in ordered] == sorted(
        (shift.is_significant for shift in ordered), reverse=True
    )
    assert "Significant drift in " in drift_summary(ordered)
    (section,) = drift_sections(ordered, before, now)
    assert section.table is not None
    assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_false_alarm_rate_without_drift_is_nominal() -> None:
    months = [
        find_shifts(simulate_predictions(120, 2 * n), simulate_predictions(60, 2 * n + 1), n_resamples=2)
        for n in range(60)
    ]

    has_alarm = [any(shift.is_significant for shift in shifts) for shifts in months]

    assert sum(has_alarm) <= 8  # of 60, three are expected
    assert drift_summary(months[has_alarm.index(False)]).startswith("No significant drift in 10")


def test_too_few_studies_raise() -> None:
    with pytest.raises(LabelError, match="of 2: 19 studies are too few to compare; give 20 at least"):
        find_shifts(simulate_predictions(50, 1), simulate_predictions(19, 2))


def write_findings(path: Path, count: int, probability: float, *, manufacturer: str, n_rejected: int = 0) -> Path:
    rng = np.random.default_rng(count)
    for number in range(count):
        probabilities = {OVERALL: float(np.clip(probability + rng.normal(0, 0.05), 0, 1))}
        acquisition = Acquisition(manufacturer=manufacturer, slices=200 + number, slice_spacing_mm=1.0)
        findings = make_findings(f"{path.name}.{number}", probabilities).model_copy(update={"acquisition": acquisition})
        write_text(path / str(number) / "findings.json", findings.model_dump_json())
    for number in range(n_rejected):
        findings = make_rejected_findings(f"{path.name}.r{number}")
        write_text(path / f"r{number}" / "findings.json", findings.model_dump_json())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_monitor_command_reports_drift_by_text_json_and_exit_code(tmp_path: Path) -> None:
    before = write_findings(tmp_path / "before", 40, 0.2, manufacturer="A")
    unchanged = write_findings(tmp_path / "quiet", 30, 0.2, manufacturer="A")
    shifted = write_findings(tmp_path / "shifted", 30, 0.6, manufacturer="<b>C", n_rejected=12)

    without_drift = run("monitor", "--reference", before, "--recent", unchanged, "--check")
    with_drift = run(
        "monitor", "--reference", before, "--recent", shifted, "--out", tmp_path / "out", "--check", "--json"
    )

    assert without_drift.exit_code == 0
    assert "No significant drift in" in without_drift.stdout
    assert with_drift.exit_code == 1
    report = json.loads(with_drift.stdout)
    assert report["is_drift_detected"]
    assert {shift["variable"] for shift in report["shifts"] if shift["is_significant"]} >= {
        "probability, patient",
        "manufacturer",
        "not assessable",
    }
    names = {"drift.html", "drift.json", "drift.png", "monitor.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "drift.html").read_text()
    assert "<b>C" not in page
    assert "&lt;b&gt;C" in page
    assert "Research use only" in page


@pytest.mark.parametrize(("before", "now"), [(1.0, 3.0), (3.0, 1.0)])
def test_change_of_a_constant_is_a_large_shift(before: float, now: float) -> None:
    first, second = simulate_predictions(60, 1), simulate_predictions(60, 2)
    one, other = (
        replace(predictions, study_metadata=predictions.study_metadata.assign(slice_thickness_mm=value))
        for predictions, value in ((first, before), (second, now))
    )

    shift = by_name(find_shifts(one, other, n_resamples=50))["slice thickness mm"]

    assert shift.is_significant
    assert shift.magnitude == "large"
    assert shift.stability_index.value > 5 > shift.null_p95


def test_intervals_contain_their_value() -> None:
    for seed in range(20):
        reference, recent = simulate_predictions(60, 2 * seed), simulate_predictions(40, 2 * seed + 1)
        for shift in find_shifts(reference, recent, n_resamples=200):
            stability, distance = shift.stability_index, shift.ks_distance
            assert stability.low <= stability.value <= stability.high
            assert distance is None or distance.low <= distance.value <= distance.high


def test_rejection_of_all_studies_is_the_largest_shift(tmp_path: Path) -> None:
    before = write_findings(tmp_path / "before", 40, 0.2, manufacturer="A")
    now = write_findings(tmp_path / "now", 0, 0.2, manufacturer="A", n_rejected=30)

    result = run("monitor", "--reference", before, "--recent", now, "--json")

    shifts = json.loads(result.stdout)["shifts"]
    assert {shift["variable"] for shift in shifts if shift["is_significant"]} == {"not assessable"}
