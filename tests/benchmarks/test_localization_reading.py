"""The reader's vertebrae, kept predictions, tables and pictures of the localizer's benchmark."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from benchmarks.localization.phantoms import (
    PhantomCase,
    PhantomRun,
    PhantomVertebra,
    read_phantom_scores,
    run_phantoms,
)
from benchmarks.localization.pictures import MAX_BYTES, draw_prediction, encode_small
from benchmarks.localization.prediction import NamedVertebra, Prediction
from benchmarks.localization.rates import summarize
from benchmarks.localization.real import RealCase, RealRun, read_scores
from benchmarks.localization.reliability import save_reliability
from benchmarks.localization.report import (
    describe_case,
    fraction_table,
    gallery,
    rate_table,
    requirement_table,
    scan_table,
    to_json,
)
from benchmarks.localization.scans import REAL_SCANS
from benchmarks.localization.truth import REFERENCE, read_truth
from PIL import Image

from cspine.core.errors import OutputTakenError
from cspine.core.files import read_json, write_json
from cspine.phantom.body.sampler import draw_kind
from cspine.phantom.body.settings import BODY_DOMAINS, OTHER_KINDS, body_stream

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def named(level: str, z_mm: float) -> NamedVertebra:
    origin = (0.0, 0.0, z_mm)
    return NamedVertebra(
        level=level, origin_lps_mm=origin, centroid_lps_mm=origin, axes_lps=AXES, coverage="complete", confidence=0.9
    )


def vertebra(z_mm: float | None, scanned: str = "complete", accuracy_mm: float = 1.0) -> dict[str, Any]:
    origin = None if z_mm is None else [0.0, 0.0, z_mm]
    return {"origin_lps_mm": origin, "axes": AXES, "scanned": scanned, "accuracy_mm": accuracy_mm}


@pytest.fixture
def run(tmp_path: Path) -> RealRun:
    """Return a run on a neck with C1 and C2, of which C2 is named too high, and on a planning CT."""
    vertebrae = {
        "C1": vertebra(40.0),
        "C2": vertebra(22.0),
        "C3": vertebra(5.0, "partial", 4.0),
        "C4": vertebra(None, "outside"),
    }
    scans = {
        "vtk-head": {"naming": {"certainty": "certain"}, "vertebrae": vertebrae},
        "pt_17": {"naming": {"certainty": "doubtful"}, "vertebrae": vertebrae},
    }
    write_json(tmp_path / "reference.json", {"scans": scans})
    write_json(tmp_path / "ct" / "openkbp" / "cord_lps_mm.json", {"pt_17": [[0.0, 20.0, z] for z in range(60)]})
    run = RealRun(tmp_path / "out", tmp_path / "ct", None, tmp_path / "reference.json")
    affine = ((0.0, 0.0, 1.0, -50.0), (0.0, 1.0, 0.0, -50.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    prediction = Prediction(vertebrae=(named("C1", 41.0), named("C2", 29.0)))
    for scan in REAL_SCANS:
        if scan.name in {"vtk-head", "openkbp-pt_17"}:
            case = RealCase(prediction=prediction, affine_lps=affine, shape=(60, 100, 100)).model_dump(mode="json")
            write_json(run.file(scan), {"landmarks": run.landmarks(scan), "cases": {"as-is": case}})
    return run


def test_reference_is_read_with_what_a_reader_can_tell(run: RealRun) -> None:
    truth = read_truth("vtk-head", run.real, run.reference)

    assert truth.vertebrae is not None
    assert {level: each.is_required for level, each in truth.vertebrae.items()} == {
        "C1": True, "C2": True, "C3": False, "C4": False,
    }  # fmt: skip
    assert truth.vertebrae["C3"].tolerance_mm > truth.vertebrae["C2"].tolerance_mm
    assert set(truth.landmarks()) == {"C1", "C2", "C3", "cord"}
    assert read_truth("openkbp-pt_17", run.real, run.reference).vertebrae is None


def test_the_reference_of_the_project_can_be_read() -> None:
    names = [scan.name for scan in REAL_SCANS]
    known = {name.removeprefix("openkbp-") for name in names} | set(names)

    assert set(read_json(REFERENCE)["scans"]) <= known
    for name in ("vtk-head", "weasis-neck", "visible-human", "weasis-rt", "acrin-ctc-lumbar"):
        vertebrae = read_truth(name, Path()).vertebrae
        assert vertebrae
        for each in vertebrae.values():
            assert each.axes_lps is not None
            assert np.linalg.det(each.axes_lps) == pytest.approx(1.0, abs=0.02)
            assert each.axes_lps[2, 2] > 0.5  # z points to the head


def test_kept_predictions_are_compared_and_tabulated_beside_earlier_ones(run: RealRun) -> None:
    neck, planning = read_scores(run)
    wrong = "C2 is 7.0 mm off"
    earlier = to_json([neck], [], {"necks": summarize([neck])})

    assert describe_case(neck) == wrong
    assert describe_case(planning) == "C1 0.90, C2 0.90 (not read by a reader)"
    assert planning.cord_distances_mm == {"C1": 20.0, "C2": 20.0}
    assert earlier["cases"] == {"vtk-head, as-is": wrong}
    assert f"0.1: {wrong}." in gallery([neck], earlier, "img")
    table = rate_table({"necks": summarize([neck])}, earlier)
    assert table.rows[0][:6] == ("necks", "1", "0.000", "0.000", "0.500", "0.500")
    assert json.loads(json.dumps(earlier)) == earlier


def test_the_table_of_scans_counts_levels_and_coverages(run: RealRun) -> None:
    table = scan_table(read_scores(run), {})

    (row,) = table.rows  # without the planning CT
    assert row[1:] == ("-", "C2 is 7.0 mm off", "1 of 2", "6 of 7", "4.0, 6.7, 7.0")


def test_a_level_that_need_not_be_named_and_is_right_is_in_the_outcome(run: RealRun) -> None:
    neck = read_scores(run)[0]
    levels = tuple(replace(each, is_required=False) for each in neck.levels if each.level != "C2")

    cut = replace(neck, levels=levels, prediction=Prediction(vertebrae=(named("C1", 41.0),)))

    assert describe_case(cut) == "right: C1 0.90"


def test_requirements_stand_beside_earlier_ones() -> None:
    from benchmarks.localization.must_hold import Requirement

    earlier = {"requirements": [["a", "0.5", False]]}
    table = requirement_table([Requirement("a", "0.9", True), Requirement("b", "not run", None)], earlier)

    assert table.rows == (("a", "0.5", "no", "0.9", "yes"), ("b", "-", "-", "not run", "-"))


def test_phantoms_require_five_percent_of_a_vertebra(tmp_path: Path) -> None:
    run = PhantomRun(tmp_path, 2, 5)
    parts = {"C1": (120.0, 0.01), "C2": (100.0, 0.03), "C3": (83.0, 0.06), "C4": (66.0, 1.0)}
    vertebrae = {
        level: PhantomVertebra(origin_lps_mm=(0.0, 0.0, z), axes_lps=AXES, scanned_fraction=fraction)
        for level, (z, fraction) in parts.items()
    }
    prediction = Prediction(vertebrae=(named("C2", 100.0), named("C3", 84.0), named("C4", 66.0)))
    case = PhantomCase(kind="neck", disorders=(), prediction=prediction, vertebrae=vertebrae)
    write_json(run.file(1), case.model_dump(mode="json"))
    (scored,) = read_phantom_scores(run)
    save_reliability([scored], tmp_path / "reliability.png")

    assert [level.level for level in scored.required] == ["C3", "C4"]
    assert scored.is_whole
    assert [level.level for level in scored.levels if not level.is_coverage_right] == ["C2", "C3"]
    assert (tmp_path / "reliability.png").stat().st_size > 10_000


def test_rates_depend_on_how_much_of_a_vertebra_was_scanned(tmp_path: Path) -> None:
    run = PhantomRun(tmp_path, 3, 5)
    heights = {"C3": 83.0, "C4": 66.0}
    for index, fractions in enumerate(({"C3": 0.06, "C4": 1.0}, {"C3": 0.06}, {"C3": 0.01})):
        vertebrae = {
            level: PhantomVertebra(origin_lps_mm=(0.0, 0.0, heights[level]), axes_lps=AXES, scanned_fraction=fraction)
            for level, fraction in fractions.items()
        }
        prediction = Prediction(vertebrae=(named("C4", 66.0),) if "C4" in fractions else ())
        case = PhantomCase(kind="neck", disorders=(), prediction=prediction, vertebrae=vertebrae)
        write_json(run.file(index), case.model_dump(mode="json"))

    scores = {fraction: read_phantom_scores(run, fraction) for fraction in (0.05, 0.2)}

    assert [[level.level for level in score.required] for score in scores[0.05]] == [["C3", "C4"], ["C3"], []]
    assert [[level.level for level in score.required] for score in scores[0.2]] == [["C4"], [], []]
    for fraction, expected in ((0.05, ["C3"]), (0.2, [])):
        assert [each.level for each in scores[fraction][0].levels if not each.is_coverage_right] == expected
    assert fraction_table(scores).rows == (
        ("5 %", "3", "0.000", "0.000", "0.333"),
        ("20 %", "1", "1.000", "1.000", "1.000"),
    )


def test_phantoms_of_other_kinds_are_drawn_as_asked(tmp_path: Path) -> None:
    assert PhantomRun(tmp_path, 2, 5).settings == BODY_DOMAINS["shifted"]
    asked = PhantomRun(tmp_path, 2, 5, kinds=OTHER_KINDS).settings

    assert {draw_kind(body_stream(5, index, asked), asked) for index in range(30)} == set(OTHER_KINDS)
    run_phantoms(PhantomRun(tmp_path, 0, 5))
    with pytest.raises(OutputTakenError):
        run_phantoms(PhantomRun(tmp_path, 0, 5, kinds=OTHER_KINDS))


def test_pictures_are_small_and_show_points_where_they_are(run: RealRun) -> None:
    affine = np.array([[0, 0, 1.0, -50], [0, 1.0, 0, -60], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    hu = np.full((60, 100, 100), -1000, np.int16)
    hu[20:25, 58:63, 48:53] = 2000  # about (0, 0, 22), where C2 belongs
    truth = read_truth("vtk-head", run.real, run.reference)
    picture = draw_prediction(
        highdicom.Volume(hu, affine, "PATIENT"), Prediction(vertebrae=(named("C1", 40.0),)), truth, title="a"
    )
    gray = np.asarray(picture.convert("RGB")).astype(int)
    bright = np.argwhere((gray.min(axis=2) > 250) & (np.arange(gray.shape[0]) > 40)[:, None])
    data = encode_small(picture)

    for column in (130, 392):  # the middles of both planes
        near = bright[np.abs(bright[:, 1] - column) < 12]
        assert near[:, 0].mean() == pytest.approx(34 + 2 * (59.5 - 22), abs=3)
    assert len(data) <= MAX_BYTES
    with Image.open(BytesIO(data)) as decoded:
        assert decoded.size == picture.size
