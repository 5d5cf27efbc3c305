"""Discovery of series, and selection of the one to read, with reasons."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import STUDY_UID, make_hu, write_series

from cspine.core.errors import DicomError, GeometryError, SourceError
from cspine.dicom import discover, load_volume, select_series
from cspine.dicom.inspection import inspect
from cspine.dicom.loading import LoadPolicy, open_series
from cspine.dicom.ranking.criteria import is_sharp

SMALL = make_hu((12, 16, 16))


def test_headers_without_modality_or_sop_class_are_selected(tmp_path: Path) -> None:
    write_series(tmp_path, SMALL)

    selection = select_series(discover(tmp_path).studies[0])

    assert len(selection.selected.headers) == 12
    assert selection.selected.headers[0].modality is None
    assert "12 axial slices 3.00 mm apart" in selection.reasons


def test_the_thin_sharp_original_series_is_selected_and_the_others_have_reasons(tmp_path: Path) -> None:
    def as_kind(kernel: str, *image_type: str) -> Callable[[Dataset, int], Dataset]:
        def change(dataset: Dataset, _: int) -> Dataset:
            dataset.Modality, dataset.ConvolutionKernel, dataset.ImageType = "CT", kernel, list(image_type)
            return dataset

        return change

    original = ("ORIGINAL", "PRIMARY", "AXIAL")
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(1, 1, 1), change=as_kind("B30f", *original))
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(1, 1, 1), change=as_kind("B70f", *original))
    write_series(tmp_path / "c", SMALL, series="1.3", spacing=(5, 1, 1), change=as_kind("B70f", *original))
    write_series(tmp_path / "d", SMALL, series="1.4", spacing=(1, 1, 1), change=as_kind("B70f", "DERIVED", "SECONDARY"))
    write_series(tmp_path / "e", SMALL, series="1.5", change=as_kind("B70f", "ORIGINAL", "PRIMARY", "LOCALIZER"))
    write_series(tmp_path / "f", SMALL[:2], series="1.6", change=as_kind("B70f", *original))

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.selected.series_instance_uid == "1.2"
    reasons = {rejection.series.series_instance_uid: rejection.reason for rejection in selection.rejected}
    assert "softer" in reasons["1.1"]
    assert "coarser" in reasons["1.3"]
    assert "derived" in reasons["1.4"]
    assert "scout image" in reasons["1.5"]
    assert "only 2 slices" in reasons["1.6"]


def test_a_requested_series_is_selected(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(1, 1, 1))
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(2, 1, 1))
    study = discover(tmp_path).studies[0]

    assert select_series(study).selected.series_instance_uid == "1.1"
    assert select_series(study, series_uid="1.2").selected.series_instance_uid == "1.2"
    with pytest.raises(DicomError, match=r"no series 9\.9"):
        select_series(study, series_uid="9.9")


def test_missing_pixel_spacing_is_named(tmp_path: Path) -> None:
    def drop(dataset: Dataset, _: int) -> Dataset:
        del dataset.PixelSpacing
        return dataset

    write_series(tmp_path, SMALL, change=drop)

    with pytest.raises(DicomError, match=r"\.dcm: PixelSpacing is missing"):
        select_series(discover(tmp_path).studies[0])


def test_text_named_dcm_is_skipped_with_a_reason(tmp_path: Path) -> None:
    write_series(tmp_path, SMALL)
    (tmp_path / "notes.dcm").write_text("not an image")

    discovery = discover(tmp_path)

    assert [skipped.name for skipped in discovery.skipped] == ["notes.dcm"]
    assert "is not a DICOM file" in discovery.skipped[0].reason


def test_a_folder_of_only_text_named_dcm_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_text("not an image")

    with pytest.raises(SourceError, match=r"1\.dcm: is not a DICOM file"):
        discover(tmp_path)


def test_studies_are_separated(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SMALL, study="1.1", series="1.1.1")
    write_series(tmp_path / "b", SMALL, study="1.2", series="1.2.1")

    assert {study.study_instance_uid for study in discover(tmp_path).studies} == {"1.1", "1.2"}


def test_rounded_headers_stay_one_series(tmp_path: Path) -> None:
    def jitter(dataset: Dataset, k: int) -> Dataset:
        dataset.PixelSpacing = ["1.00049", "1.00051"] if k % 2 else ["1.00051", "1.00049"]
        small_cosine = "0.0004999" if k % 2 else "0.0005001"
        dataset.ImageOrientationPatient = ["1", "0", small_cosine, "0", "1", "0"]
        return dataset

    write_series(tmp_path, SMALL, change=jitter)

    (series,) = discover(tmp_path).studies[0].series
    assert len(series.headers) == 12


def test_images_of_another_size_are_a_separate_part(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SMALL)
    write_series(tmp_path / "b", SMALL[:3, :8], origin=(-56, -48, 90))

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.selected.headers[0].rows == 16
    assert [(r.series.part, r.reason) for r in selection.rejected] == [(1, "only 3 slices, at least 10 are needed")]


def test_a_header_longer_than_the_first_read_is_complete(tmp_path: Path) -> None:
    def swell(dataset: Dataset, _: int) -> Dataset:
        dataset.add_new((0x0009, 0x0010), "LO", "TEST")
        dataset.add_new((0x0009, 0x1001), "OB", bytes(200_000))
        return dataset

    write_series(tmp_path, SMALL, change=swell)

    (series,) = discover(tmp_path).studies[0].series
    assert series.headers[0].rows == 16
    assert series.study_instance_uid == STUDY_UID


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    from pydicom import dcmread, dcmwrite

    for path in write_series(tmp_path, SMALL):
        dataset = dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)

    selection = select_series(discover(tmp_path).studies[0])

    assert len(selection.selected.headers) == 12


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        *[(name, True) for name in ("B70f", "I70f 3", "U70u", "BONE", "Br64d", "YA", "FC30")],
        *[(name, False) for name in ("B30s", "I31f 3", "STANDARD", "FC13", None, "UB")],
    ],
)
def test_sharp_kernels_are_recognized(kernel: str | None, sharp: bool) -> None:
    assert is_sharp(kernel) is sharp


def test_one_thread_and_many_read_the_same_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cspine.dicom import discovery

    write_series(tmp_path, make_hu((80, 8, 8)))
    (tmp_path / "0.txt").write_text("no image")
    updates: list[int] = []

    monkeypatch.setattr(discovery, "_MAX_CACHED_READ_S", 1e9)
    alone = discover(tmp_path)
    monkeypatch.setattr(discovery, "_MAX_CACHED_READ_S", 0.0)
    together = discover(tmp_path, progress=lambda _, done, __: updates.append(done))

    assert together == alone
    assert updates == [0, 32, 64, 81]


@pytest.mark.parametrize(
    ("modality", "message"), [("MR", "modality is MR, not CT"), ("DOE JANE", "modality is not CT")]
)
def test_only_known_modalities_are_quoted(tmp_path: Path, modality: str, message: str) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.Modality = modality
        return dataset

    write_series(tmp_path, make_hu((12, 20, 24)), change=change)

    with pytest.raises(DicomError, match=message) as caught:
        load_volume(tmp_path)
    assert "DOE" not in str(caught.value)


def _as(kernel: str = "Br40", *image_type: str, **tags: object) -> Callable[[Dataset, int], Dataset]:
    """Return a change that gives slices a kernel, an ImageType and other tags."""

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.Modality, dataset.ConvolutionKernel = "CT", kernel
        dataset.ImageType = list(image_type or ("ORIGINAL", "PRIMARY", "AXIAL"))
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        return dataset

    return change


SAGITTAL = ((1, 0, 0), (0, 0, -1), (0, 1, 0))
CORONAL = ((0, 1, 0), (0, 0, -1), (1, 0, 0))
OBLIQUE = ((0, -0.7071068, 0.7071068), (0, 0.7071068, 0.7071068), (1, 0, 0))


@pytest.mark.parametrize(("directions", "plane"), [(SAGITTAL, "sagittal"), (CORONAL, "coronal"), (OBLIQUE, "oblique")])
def test_a_stack_in_another_plane_alone_is_read_and_called_reformatted(
    tmp_path: Path, directions: tuple[tuple[float, float, float], ...], plane: str
) -> None:
    change = _as("Br40", "DERIVED", "SECONDARY", "MPR")
    write_series(tmp_path, SMALL, spacing=(1, 1, 1), directions=directions, change=change)

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.reasons[0] == f"12 {plane} slices 1.00 mm apart; reformatted"


def test_axial_slices_rank_before_reformatted_ones_of_similar_thickness_only(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(1, 0.5, 0.5), change=_as())
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(1, 0.5, 0.5), directions=SAGITTAL, change=_as("Br64"))
    write_series(tmp_path / "c", SMALL, series="1.3", spacing=(2, 0.5, 0.5), change=_as("Br64"))

    selection = select_series(discover(tmp_path).studies[0])

    assert [series.series_instance_uid for series in selection.candidates] == ["1.1", "1.2", "1.3"]
    assert "most likely reformatted" in selection.rejected[0].reason


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm"),
    [(5.0, 5.0), (3.2, 3.2), (1.0, 5.0)],
    ids=["thick", "over the limit", "overlapping slabs"],
)
def test_a_thin_derived_series_ranks_before_a_thick_original_one(
    tmp_path: Path, spacing_mm: float, thickness_mm: float
) -> None:
    thin = _as("Br36", "DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 DUAL", "MIXED", SliceThickness=2.0)
    thick = _as("Br64", SliceThickness=thickness_mm)
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(spacing_mm, 0.5, 0.5), change=thick)
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(2, 0.5, 0.5), change=thin)

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.selected.series_instance_uid == "1.2"


def test_a_complete_series_ranks_before_one_that_lacks_a_slice(tmp_path: Path) -> None:
    def without_one(dataset: Dataset, k: int) -> Dataset | None:
        return None if k == 5 else _as("Br64")(dataset, k)

    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(1, 0.5, 0.5), change=without_one)
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(1, 0.5, 0.5), change=_as("Br40"))

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.selected.series_instance_uid == "1.2"
    assert selection.rejected[0].reason == "lacks slices: a gap of 2.00 mm"


def test_a_narrow_field_of_view_ranks_before_a_sharp_kernel(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(0.6, 0.9, 0.9), change=_as("Bl64"))
    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(1, 0.5, 0.5), change=_as("Br40"))

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.selected.series_instance_uid == "1.2"
    assert selection.rejected[0].reason == "pixels of 0.90 mm, coarser than the selected 0.50 mm"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"), "projections"),
        (("DERIVED", "PRIMARY", "PROJECTION IMAGE"), "projections"),
        (("DERIVED", "SECONDARY", "REFORMATTED", "MINIP"), "projections"),
        (("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"), "projections"),
        (("DERIVED", "SECONDARY", "OTHER", "VRT"), "projections"),
        (("DERIVED", "SECONDARY", "SCREEN SAVE"), "screenshots"),
        (("DERIVED", "PRIMARY", "AXIAL", "IODINE_MAP"), "another quantity"),
        (("DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"), "another quantity"),
        (("DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM"), "another quantity"),
        (("DERIVED", "PRIMARY", "AXIAL", "CBF"), "another quantity"),
        (("DERIVED", "PRIMARY", "PERFUSION"), "perfusion maps"),
        (("DERIVED", "PRIMARY", "AXIAL", "BONE REMOVED"), "without bone"),
    ],
)
def test_what_shows_no_slices_of_attenuation_is_read_on_request_only(
    tmp_path: Path, values: tuple[str, ...], reason: str
) -> None:
    write_series(tmp_path, SMALL, series="1.1", spacing=(0.5, 0.5, 0.5), change=_as("Br64", *values))

    with pytest.raises(DicomError, match=reason):
        load_volume(tmp_path)

    plan = open_series(tmp_path, LoadPolicy(series_uid="1.1"))
    assert plan.series.series_instance_uid == "1.1"
    assert any(reason in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VNC"]},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MONOE", "40KEV"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "VMI"]},
        {"RescaleType": "HU_MOD"},
    ],
)
def test_values_of_a_virtual_energy_rank_after_measured_ones_and_are_told_from_them(
    tmp_path: Path, tags: dict[str, object]
) -> None:
    write_series(tmp_path / "a", SMALL, series="1.1", spacing=(0.5, 0.5, 0.5), change=_as("Br64", **tags))
    assert any("virtual energy" in warning for warning in open_series(tmp_path).warnings)

    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(1, 0.5, 0.5), change=_as("Br40"))
    plan = open_series(tmp_path)
    assert plan.series.series_instance_uid == "1.2"
    assert plan.warnings == ()


@pytest.mark.parametrize("value", ["MONOCHROME2", "AXIAL", "CT_SOM7 SPI", "CSA RESAMPLED", "MPR", "AVERAGE", "RIPPLE"])
def test_ordinary_image_types_are_ordinary(tmp_path: Path, value: str) -> None:
    write_series(tmp_path, SMALL, spacing=(1, 0.5, 0.5), change=_as("Br40", "DERIVED", "SECONDARY", value))

    assert open_series(tmp_path).warnings == ()


def test_the_next_series_is_read_where_the_headers_of_the_first_leave_a_gap(tmp_path: Path) -> None:
    def with_gap(dataset: Dataset, k: int) -> Dataset | None:
        return None if 5 <= k < 10 else _as("Br64")(dataset, k)

    write_series(tmp_path / "a", make_hu((24, 16, 16)), series="1.1", spacing=(1, 0.5, 0.5), change=with_gap)
    alone = open_series(tmp_path)
    with pytest.raises(GeometryError, match="gap"):
        alone.check()

    write_series(tmp_path / "b", SMALL, series="1.2", spacing=(2, 0.5, 0.5), change=_as("Br40"))
    plan = open_series(tmp_path)

    assert plan.series.series_instance_uid == "1.2"
    assert "gap" in plan.selection.rejected[0].reason
    assert len(plan.warnings) == 1
    report = inspect(tmp_path).studies[0]
    assert report.readable
    assert report.candidates == 1
