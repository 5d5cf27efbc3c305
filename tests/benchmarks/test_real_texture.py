"""The benchmark on real bone: what predictions amount to, and which cases are the worst."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from benchmarks.real_texture.measures import VISIBLE_NAME, measure_intact, measure_virtual
from benchmarks.real_texture.must_hold import check
from benchmarks.real_texture.pictures import worst_cases
from benchmarks.real_texture.predictions import ScanPredictions, Study, Vertebra
from benchmarks.real_texture.report import group_table, intact_table, level_table, overall_table, to_json
from benchmarks.real_texture.run import TextureRun
from benchmarks.real_texture.variants import NOISE_HU, VARIANTS, more_noise, shift_half

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError

THRESHOLD = 0.2


def study(kind: str, name: str, patient: float, **levels: float | Vertebra | None) -> Study:
    """Return a study whose other levels have a probability of 1 %."""
    vertebrae = []
    for level in VERTEBRAE:
        value = levels.get(level, 0.01)
        vertebrae.append(value if isinstance(value, Vertebra) else Vertebra(level=level, probability=value))
    return Study(uid=f"neck.{kind}-{name}", kind=kind, name=name, probability=patient, vertebrae=tuple(vertebrae))


def fractured(level: str, probability: float | None, grade: str = "obvious", place_mm: float | None = 2.0) -> Vertebra:
    return Vertebra(
        level=level,
        probability=probability,
        is_fractured=True,
        fracture_type="lamina",
        visibility=grade,
        place_mm=place_mm,
    )


def sham(level: str, probability: float) -> Vertebra:
    return Vertebra(level=level, probability=probability, is_sham=True)


def predictions(*studies: Study, scan: str = "weasis-neck") -> ScanPredictions:
    return ScanPredictions(
        scan=scan, weights_sha256="0" * 64, level_threshold=THRESHOLD, patient_threshold=0.5, studies=studies
    )


INTACT = (
    study("variant", "as-is", 0.6, C1=0.9, C7=None),
    study("variant", "slices-3mm", 0.3, C1=0.1, C7=None),
    study("variant", "hu-1.1", 0.9, C1=0.9, C7=None),
    study("variant", "noise-1", 0.6, C1=0.9, C2=0.3, C7=None),
    study("variant", "half-slice", 0.6, C1=0.9, C3=None, C7=None),
)


def test_intact_scan() -> None:
    intact = measure_intact(predictions(*INTACT))

    assert intact is not None
    assert intact.level_alarms == ["C1"]
    assert intact.is_patient_alarm
    assert intact.spread_points("sharpness") == pytest.approx(30.0)
    assert intact.spread_points("kernel") == pytest.approx(30.0)
    assert intact.kept["slices-3mm"] == (5, 6)
    assert intact.repeatability() == (10, 12), "C2 reaches the point by noise, C3 is lost half a slice further"


def test_scan_without_a_level_is_left_out() -> None:
    nothing = study("variant", "as-is", 0.1, **dict.fromkeys(VERTEBRAE))

    assert measure_intact(predictions(nothing)) is None


VIRTUAL = (
    study("fracture", "0", 0.9, C2=fractured("C2", 0.8), C3=0.4),
    study("sham", "0", 0.2, C2=sham("C2", 0.05)),
    study("fracture", "1", 0.4, C5=fractured("C5", 0.3, place_mm=25.0), C6=fractured("C6", 0.02, "occult")),
    study("sham", "1", 0.6, C5=sham("C5", 0.5), C6=sham("C6", 0.01)),
    study("fracture", "2", 0.1, C7=fractured("C7", None, "clear", None)),
    study("sham", "2", 0.1, C7=sham("C7", 0.01)),
)


def test_virtual_fractures() -> None:
    virtual = measure_virtual([predictions(*INTACT, *VIRTUAL)])

    assert virtual is not None
    visible = virtual.groups[VISIBLE_NAME]
    assert (visible.n_fractured, visible.n_detected) == (3, 2)
    assert visible.sensitivity.value == pytest.approx(2 / 3), "one that is not assessed is missed"
    assert visible.place.value == pytest.approx(1 / 2)
    assert virtual.groups["occult"].sensitivity.value == 0.0
    assert virtual.groups["all"].n_fractured == 4
    assert virtual.sham_alarms.value == pytest.approx(1 / 4)
    assert virtual.neighbor_alarms.value == pytest.approx(1 / 5), "C3; C1, C4, C7 and C6 are below"
    assert virtual.patient_sensitivity.value == pytest.approx(1 / 3)
    assert virtual.sham_patient_alarms.value == pytest.approx(1 / 3)
    assert virtual.neck_sensitivity.value == pytest.approx(2 / 3)
    assert np.isnan(virtual.neck_sensitivity.low), "one neck tells nothing of others"


def test_auc_within_the_same_vertebra_ignores_how_suspicious_it_looks() -> None:
    suspicious = (
        study("fracture", "0", 0.9, C1=fractured("C1", 0.95), C2=0.6),
        study("sham", "0", 0.9, C1=sham("C1", 0.9), C2=0.6),
        study("fracture", "1", 0.9, C1=0.9, C3=fractured("C3", 0.1)),
        study("sham", "1", 0.9, C1=0.9, C3=sham("C3", 0.05)),
    )

    group = measure_virtual([predictions(*suspicious)]).groups["all"]  # type: ignore[union-attr]  # there are some

    assert group.auc_within.value == 1.0
    assert group.auc.value < 1.0


def test_requirements_and_tables() -> None:
    quiet = predictions(study("variant", "as-is", 0.1), scan="vtk-head")
    intact = [measures for each in (predictions(*INTACT), quiet) if (measures := measure_intact(each))]
    virtual = measure_virtual([predictions(*VIRTUAL)])

    requirements = check(intact, virtual)
    results = to_json(intact, virtual, requirements)

    met = {each.text.split(":")[0]: each.is_met for each in requirements}
    assert met["weasis-neck"] is False
    assert met["vtk-head"] is None, "there are no variants of it"
    assert [each.result for each in requirements][:3] == ["1 of 13", "1 of 13", "1 of 2 (above: weasis-neck)"]
    assert intact_table(results, results).rows[0][1:3] == ("▲ 60 %", "▲ 60 %")
    assert level_table(results).rows[1][1] == "1 %"
    assert group_table(results, {}).rows[0][:2] == (f"{VISIBLE_NAME} *", "3")
    assert len(overall_table(results, {}).rows) == 10


def test_means_over_necks_of_results_without_them_are_those_of_their_groups() -> None:
    virtual = measure_virtual([predictions(*VIRTUAL), predictions(*VIRTUAL[:4], scan="vtk-head")])
    results = to_json([], virtual, [])
    early = {"virtual": {key: value for key, value in results["virtual"].items() if not key.startswith("neck_")}}

    rows = overall_table(results, early).rows

    assert rows[-2][1:] == ("0.83 (0.00 to 1.00)", "0.83 (0.00 to 1.00)"), "2 of 3, and 2 of 2"
    assert all(before == now != "-" for _, before, now in rows[-3:])
    assert {row[1] for row in overall_table(results, {}).rows} == {"-"}


def test_worst_cases() -> None:
    cases = worst_cases([predictions(*INTACT, *VIRTUAL)])

    named = [(case.study.kind, case.study.name, case.vertebra.level) for case in cases]
    assert named == [("variant", "as-is", "C1"), ("sham", "1", "C5"), ("fracture", "2", "C7")]


@pytest.mark.parametrize(
    ("n_alarms", "n_missed", "expected"), [(7, 7, (6, 6)), (4, 14, (4, 8)), (7, 2, (7, 2)), (7, 5, (7, 5))]
)
def test_worst_cases_fill_twelve_pictures(n_alarms: int, n_missed: int, expected: tuple[int, int]) -> None:
    alarms = study("variant", "as-is", 0.6, **dict.fromkeys(VERTEBRAE[:n_alarms], 0.9))
    missed = [study("fracture", str(number), 0.1, C2=fractured("C2", 0.1)) for number in range(n_missed)]

    cases = worst_cases([predictions(alarms, *missed)])

    is_missed = [case.vertebra.is_fractured for case in cases]
    assert is_missed == [False] * expected[0] + [True] * expected[1]


def test_unknown_scan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weasis-nek: no scans of the benchmark"):
        TextureRun(tmp_path, tmp_path, held_out={"weasis-nek": "weights.onnx"})


def test_names_of_variants_differ() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)


def noisy(seed: int) -> highdicom.Volume:
    affine = np.diag([1.0, 0.5, 0.5, 1.0])[[2, 1, 0, 3]]
    noise = np.random.default_rng(seed).normal(40.0, 20.0, (8, 64, 64))
    return highdicom.Volume(np.rint(noise).astype(np.int16), affine, "PATIENT")


def test_added_noise_has_its_standard_deviation() -> None:
    volume = noisy(0)

    first, second = (more_noise(draw)(volume, {}).array.astype(float) - volume.array for draw in (1, 2))

    assert first.std() == pytest.approx(NOISE_HU, rel=0.05)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_shift_keeps_noise_and_moves_the_grid() -> None:
    volume = noisy(1)

    shifted = shift_half(1, 2)(volume, {})

    inner = shifted.array[:, 8:-8, 8:-8].astype(float)
    assert inner.std() == pytest.approx(20.0, rel=0.2), "linear interpolation would leave half"
    assert (shifted.affine[:3, 3] - volume.affine[:3, 3]).tolist() == pytest.approx([0.25, 0.25, 0.0])
