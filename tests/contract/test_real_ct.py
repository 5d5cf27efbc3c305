"""What must hold on real CT: the folders that CSPINE_REAL_DATA names."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its own custom
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.findings import Findings, Spine
from cspine.dicom import discover, load_volume, select_series
from cspine.spine.bone_trace import trace_spine
from cspine.views.sagittal import SagittalSettings, compile_sagittal

pytestmark = pytest.mark.real_data


def predict(path: Path, out: Path) -> tuple[int, str, Findings]:
    result = CliRunner().invoke(app, ["predict", str(path), "--out", str(out)], catch_exceptions=False)
    return result.exit_code, result.output, Findings.model_validate_json((out / "findings.json").read_text())


def test_vtk_head_is_read_and_its_midline_found(real_data: Path, tmp_path: Path) -> None:
    code, _, findings = predict(real_data / "vtk-head", tmp_path / "out")

    assert code == 0
    assert findings.not_assessable is None
    html = (tmp_path / "out" / "report.html").read_text()
    suspicious = sum("triage" in vertebra.operating_points_reached for vertebra in findings.vertebrae)
    shown = max(suspicious, 1)  # the most probable vertebra where none is suspicious
    assert html.count("data:image/jpeg;base64,") == 10 + 4 * shown  # sagittal ones; three views and a slice of each
    assert "VTK^HEAD" not in html
    assert "VTK-HEAD" not in html


def located(path: Path, out: Path, *more: str) -> tuple[int, Spine]:
    result = CliRunner().invoke(app, ["localize", str(path), "--out", str(out), *more], catch_exceptions=False)
    return result.exit_code, Spine.model_validate_json((out / "spine.json").read_text())


# Middles of vtk-head's bodies (of C1: where the dens stands), read off its midsagittal plane, column 126.
BODIES = {"C1": (53, 152), "C2": (42, 152), "C3": (30, 158), "C4": (20, 160), "C5": (10, 162), "C6": (2, 165)}
"""Slice and row, in voxels."""


def test_vtk_head_has_c1_to_c6_in_order_and_c6_is_cut(real_data: Path, tmp_path: Path) -> None:
    code, spine = located(real_data / "vtk-head", tmp_path / "out")
    volume = load_volume(real_data / "vtk-head")

    assert code == 0
    assert [vertebra.level for vertebra in spine.vertebrae] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    assert {level: spine.coverage[level] for level in ("C1", "C2", "C3", "C4", "C5")} == dict.fromkeys(
        ("C1", "C2", "C3", "C4", "C5"), "complete"
    )
    assert (spine.coverage["C6"], spine.coverage["C7"]) == ("partial", "absent")
    assert (tmp_path / "out" / "spine.png").stat().st_size > 50_000
    bodies = {level: (volume.affine @ [*at, 126.0, 1.0])[:3] for level, at in BODIES.items()}
    to_frame = {vertebra.level: np.linalg.inv(np.array(vertebra.frame_lps)) for vertebra in spine.vertebrae}
    for vertebra in spine.vertebrae:
        own = to_frame[vertebra.level] @ [*vertebra.centroid_lps_mm, 1.0]
        low, high = np.array(vertebra.box_mm)
        assert ((own[:3] > low) & (own[:3] < high)).all(), vertebra.level
        middle = np.array(vertebra.frame_lps)[:3, 3]
        off = {level: float(np.linalg.norm(middle - body)) for level, body in bodies.items()}
        assert min(off, key=lambda level: off[level]) == vertebra.level  # nearer to its own body than to any other
        assert off[vertebra.level] < 7.5, vertebra.level  # half of what lies between neighbours


def test_ge_tilt_shows_no_more_than_the_upper_two(real_data: Path, tmp_path: Path) -> None:
    _, spine = located(real_data / "ge-tilt", tmp_path / "out", "--max-gap-mm", "7")

    assert {vertebra.level for vertebra in spine.vertebrae} <= {"C1", "C2"}
    assert (spine.not_assessable is None) == bool(spine.vertebrae)


def test_scans_without_a_neck_are_refused(real_data: Path, tmp_path: Path) -> None:
    for name in ("chest-thick", "philips-study"):
        code, spine = located(real_data / name, tmp_path / name)

        assert code == 0
        assert spine.not_assessable is not None
        assert spine.not_assessable.code == "no-cervical-spine", name


def test_vtk_head_sagittal_images_show_the_dens_in_the_midline(real_data: Path) -> None:
    volume = load_volume(real_data / "vtk-head")
    spine = trace_spine(volume)
    sagittal = compile_sagittal(volume, spine, SagittalSettings())

    # The dens' midline was read off the axial slices: x = -1 mm, within two pixels.
    assert spine.center_lps_mm[0] == pytest.approx(-1.0, abs=2.5)
    middle = sagittal.images[4]
    assert sagittal.pixel_mm == pytest.approx(0.75)
    bone = middle > 255 * (300 + 500) / 2000
    assert bone[36:110].any(axis=0).nonzero()[0].min() < 60  # jaw and palate in front, on the left
    assert not middle[:34].any()  # above the scan is black, so the head end is up
    assert middle[40:215].max() == 255


def test_voxels_and_place_are_those_of_simpleitk(real_data: Path) -> None:
    for name in ("vtk-head", "chest-thick"):
        volume = load_volume(real_data / name)
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(real_data / name))
        image = sitk.ReadImage(list(files))

        np.testing.assert_array_equal(volume.array, np.clip(sitk.GetArrayFromImage(image), -1024, None), err_msg=name)
        corner = volume.affine @ [5, 6, 7, 1]
        np.testing.assert_allclose(corner[:3], image.TransformIndexToPhysicalPoint((7, 6, 5)), atol=1e-3)


def test_ge_tilt_is_refused_for_its_thick_slices(real_data: Path, tmp_path: Path) -> None:
    code, _, findings = predict(real_data / "ge-tilt", tmp_path / "out")

    assert code == 0
    assert findings.not_assessable is not None
    assert findings.not_assessable.code == "too-thick"
    assert "slices 4.0 mm apart; at most 3 mm can be assessed" in findings.not_assessable.reason


def test_slices_of_two_thicknesses_are_two_stacks_and_straightened(real_data: Path) -> None:
    volume = load_volume(real_data / "ge-tilt")

    assert [len(series.headers) for series in discover(real_data / "ge-tilt").studies[0].series] == [14, 14]
    assert volume.provenance is not None
    assert "tilted by 18.5 degrees; resampled straight" in volume.provenance.repairs
    assert volume.array.min() >= -1024  # the padding of -1500 is air


def test_chest_thick_is_refused_for_its_slices(real_data: Path, tmp_path: Path) -> None:
    code, output, findings = predict(real_data / "chest-thick", tmp_path / "out")

    assert code == 0
    assert findings.not_assessable is not None
    assert findings.not_assessable.code == "too-thick"
    assert "slices 8.0 mm apart; at most 3 mm can be assessed" in output


def test_philips_study_says_which_series_it_read_and_why_not_the_others(real_data: Path, tmp_path: Path) -> None:
    study = discover(real_data / "philips-study").studies[0]

    selection = select_series(study)

    assert selection.reasons == ("140 axial slices 1.00 mm apart", "140 mm long", "sharp kernel YA")
    assert {rejection.reason for rejection in selection.rejected} >= {
        "a scout image (DICOM: LOCALIZER)", "slices 5.00 mm apart, coarser than the selected 1.00 mm",
    }  # fmt: skip
    _, output, findings = predict(real_data / "philips-study", tmp_path / "out")
    assert findings.not_assessable is not None
    assert findings.not_assessable.code == "no-cervical-spine"
    assert "no cervical vertebra was found in the scan" in output
    assert findings.series_instance_uid == selection.selected.series_instance_uid


def test_inspect_shows_every_folder_as_json(real_data: Path) -> None:
    for name in ("vtk-head", "ge-tilt", "chest-thick", "philips-study"):
        result = CliRunner().invoke(app, ["inspect", str(real_data / name), "--json"], catch_exceptions=False)

        report = json.loads(result.stdout)
        (chosen,) = [series for study in report["studies"] for series in study["series"] if series["selected"]]
        assert chosen["geometry"]["plane"] == "axial"
        assert result.exit_code == 0


def test_a_real_directory_file_gives_the_files_it_lists(real_data: Path) -> None:
    volume = load_volume(real_data / "philips-study" / "S2030" / "DIRFILE")

    np.testing.assert_array_equal(volume.array, load_volume(real_data / "philips-study").array)
