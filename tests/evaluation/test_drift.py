"""What moved between two folders of findings, and what is said where nothing did."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.support.predictions import found, not_assessable
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.findings import Acquisition
from cspine.evaluation.drift import Shift, find_shifts, stability_index
from cspine.evaluation.predictions import Predictions
from cspine.reports.evaluation.drift_report import drift_sections, verdict


def answers(
    studies: int, seed: int, *, higher: float = 0.0, makers: tuple[str, ...] = ("A", "B"), refuse: int = 0
) -> Predictions:
    rng = np.random.default_rng(seed)
    index = pd.Index([f"{seed}.{number}" for number in range(studies)])
    said = pd.DataFrame(
        1 / (1 + np.exp(2 - higher - rng.normal(size=(studies, 8)))), index=index, columns=list(TARGETS)
    )
    about = pd.DataFrame(
        {"manufacturer": rng.choice(makers, studies), "slices": rng.integers(200, 400, studies)}, index=index
    )
    gone = {f"{seed}.9{number}": "too-thick" for number in range(refuse)}
    return Predictions(f"of {seed}", said, gone, about=about)


def by_name(shifts: tuple[Shift, ...]) -> dict[str, Shift]:
    return {shift.what: shift for shift in shifts}


def test_the_stability_index_is_that_of_a_case_worked_by_hand() -> None:
    # 20 and 80 of 100 against 50 and 50: (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5), nearly.
    exact = -0.3 * np.log(0.4) + 0.3 * np.log(1.6)
    assert stability_index([2000, 8000], [5000, 5000]) == pytest.approx(exact, rel=1e-3)
    assert stability_index([[10, 10], [0, 20]], [[10, 10], [20, 0]]).tolist() == [0.0, pytest.approx(7.07, abs=0.01)]


def test_what_moved_is_found_and_what_did_not_is_not() -> None:
    before, now = answers(300, 1), answers(200, 2, higher=1.5, makers=("A", "C"), refuse=30)

    shifts = by_name(find_shifts(before, now, draws=100))

    assert shifts["probability, patient"].moved
    assert shifts["manufacturer"].moved
    assert shifts["not_assessable"].moved
    assert not shifts["slices"].moved
    assert shifts["manufacturer"].distance is None
    assert "B: " in shifts["manufacturer"].detail
    assert shifts["not_assessable"].detail.startswith("answered: 100 %, now 86 %")
    patient = shifts["probability, patient"]
    known = stats.ks_2samp(before.probability[OVERALL], now.probability[OVERALL])
    assert patient.distance is not None
    assert patient.distance.value == pytest.approx(known.statistic)
    assert patient.p == pytest.approx(known.pvalue)
    assert patient.distance.low < patient.distance.value < patient.distance.high
    assert patient.size == "large"
    ordered = find_shifts(before, now, draws=100)
    assert [shift.moved for shift in ordered] == sorted((shift.moved for shift in ordered), reverse=True)
    assert "things compared moved: " in verdict(ordered)
    (section,) = drift_sections(ordered, before, now)
    assert section.table is not None
    assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_a_quiet_month_is_quiet_nineteen_times_in_twenty() -> None:
    months = [find_shifts(answers(120, 2 * n), answers(60, 2 * n + 1), draws=2) for n in range(60)]

    noisy = [any(shift.moved for shift in shifts) for shifts in months]

    assert sum(noisy) <= 8  # of 60, three are expected
    assert verdict(months[noisy.index(False)]).startswith("Nothing moved beyond chance, of 10")


def test_too_few_studies_say_nothing() -> None:
    with pytest.raises(LabelError, match="of 2: 19 studies are too few to compare; give 20 at least"):
        find_shifts(answers(50, 1), answers(19, 2))


def folder(path: Path, count: int, probability: float, *, maker: str, refuse: int = 0) -> Path:
    rng = np.random.default_rng(count)
    for number in range(count):
        said = {OVERALL: float(np.clip(probability + rng.normal(0, 0.05), 0, 1))}
        acquisition = Acquisition(manufacturer=maker, slices=200 + number, slice_spacing_mm=1.0)
        one = found(f"{path.name}.{number}", said).model_copy(update={"acquisition": acquisition})
        write_text(path / str(number) / "findings.json", one.model_dump_json())
    for number in range(refuse):
        write_text(path / f"r{number}" / "findings.json", not_assessable(f"{path.name}.r{number}").model_dump_json())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_says_whether_anything_moved(tmp_path: Path) -> None:
    before = folder(tmp_path / "before", 40, 0.2, maker="A")
    suppress_pydicom_warnings = folder(tmp_path / "quiet", 30, 0.2, maker="A")
    loud = folder(tmp_path / "loud", 30, 0.6, maker="<b>C", refuse=12)

    same = run("monitor", "--reference", before, "--recent", suppress_pydicom_warnings, "--check")
    moved = run("monitor", "--reference", before, "--recent", loud, "--out", tmp_path / "out", "--check", "--json")

    assert same.exit_code == 0
    assert "Nothing moved beyond chance" in same.stdout
    assert moved.exit_code == 1
    told = json.loads(moved.stdout)
    assert told["moved"]
    assert {shift["what"] for shift in told["shifts"] if shift["moved"]} >= {
        "probability, patient",
        "manufacturer",
        "not_assessable",
    }
    names = {"drift.html", "drift.json", "drift.png", "monitor.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "drift.html").read_text()
    assert "<b>C" not in page
    assert "&lt;b&gt;C" in page
    assert "Research use only" in page


@pytest.mark.parametrize(("before", "now"), [(1.0, 3.0), (3.0, 1.0)])
def test_a_constant_that_changes_either_way_is_a_large_shift(before: float, now: float) -> None:
    first, second = answers(60, 1), answers(60, 2)
    one, other = (
        replace(told, about=told.about.assign(slice_thickness_mm=value))
        for told, value in ((first, before), (second, now))
    )

    shift = by_name(find_shifts(one, other, draws=50))["slice thickness mm"]

    assert shift.moved
    assert shift.size == "large"
    assert shift.stability.value > 5 > shift.null_p95


def test_intervals_hold_the_value_that_they_are_of() -> None:
    for seed in range(20):
        for shift in find_shifts(answers(60, 2 * seed), answers(40, 2 * seed + 1), draws=200):
            assert shift.stability.low <= shift.stability.value <= shift.stability.high
            assert shift.distance is None or shift.distance.low <= shift.distance.value <= shift.distance.high


def test_a_month_in_which_all_was_refused_is_the_greatest_shift(tmp_path: Path) -> None:
    before = folder(tmp_path / "before", 40, 0.2, maker="A")
    now = folder(tmp_path / "now", 0, 0.2, maker="A", refuse=30)

    result = run("monitor", "--reference", before, "--recent", now, "--json")

    moved = {shift["what"] for shift in json.loads(result.stdout)["shifts"] if shift["moved"]}
    assert moved == {"not_assessable"}
