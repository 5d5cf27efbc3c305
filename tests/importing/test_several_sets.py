"""Imported data sets are compiled, split and evaluated together; a scan in two of them is recognized."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from tests.support.layouts import (
    CUT,
    fractured,
    fractured_levels,
    write_ctspine1k,
    write_hdn,
    write_rsna,
    write_verse,
)
from tests.support.segmentations import phantom as intact
from tests.support.segmentations import volume

from cspine.core.anatomy import SEGMENT_NUMBERS, TARGETS
from cspine.core.errors import LabelError
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import read_split, select_part
from cspine.datasets.reference_standard import read_reference_standard
from cspine.datasets.rsna2022_labels import read_labels
from cspine.importing.data_source import KNOWN_SOURCES
from cspine.importing.scan_hash import canonical, hash_scan
from cspine.pipelines.compile import compile_dataset
from cspine.pipelines.import_dataset import import_dataset
from cspine.pipelines.split import split_sets
from cspine.training.localizer.examples import UNKNOWN_LABEL, LocalizerSample, write_segmented_set
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

SETTINGS = CompileSettings(spine_aligned=False, sagittal=SagittalSettings(count=2), levels=None)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data sets in four layouts, each beside those before; their scans are of two phantoms."""
    folder, imported = tmp_path_factory.mktemp("sets"), dict[str, Path]()
    sources = {
        "rsna": write_rsna(folder / "a", {"1.2.3.1": fractured(), "1.2.3.2": intact()}),
        "hdn": write_hdn(folder / "b").folder,
        "verse": write_verse(folder / "c"),
        "ctspine1k": write_ctspine1k(folder / "d"),
    }
    for layout, source in sources.items():
        out = folder / layout
        import_dataset(layout, source, out, KNOWN_SOURCES[layout], beside=list(imported.values()))  # type: ignore[arg-type, index]
        imported[layout] = out
    return imported


def test_one_scan_is_recognized_as_slices_frames_and_nifti_of_any_orientation(sets: dict[str, Path]) -> None:
    folder = sets["verse"].parent
    summary = import_dataset("verse", folder / "c", folder / "again", KNOWN_SOURCES["verse"], beside=[sets["rsna"]])

    (duplicate,) = summary.duplicates
    assert (duplicate.first.study, duplicate.evidence) == ("1.2.3.2", "same voxels")
    manifests = {name: (path / "manifest.csv").read_text(encoding="utf-8") for name, path in sets.items()}
    patient = duplicate.first.patient
    assert all(patient in text for text in manifests.values())


def test_imported_labels_are_those_of_the_compiled_data_set(sets: dict[str, Path], tmp_path: Path) -> None:
    summary = compile_dataset(sets["rsna"], tmp_path / "compiled", SETTINGS)

    assert (summary.compiled, summary.failed) == (2, ())
    reference = read_reference_standard(tmp_path / "compiled")
    labels = read_labels(sets["rsna"].parent / "a" / "train.csv")
    assert reference.labels.astype("int8").equals(labels.loc[reference.labels.index])
    split_sets([sets["rsna"], sets["hdn"]], tmp_path / "split.json")
    split = read_split(tmp_path / "split.json")
    parts = [part for part, studies in split.parts.items() if set(studies) & set(reference.labels.index)]
    assert sum(len(select_part(reference, split, part).labels) for part in parts) == 2
    imported = read_reference_standard(sets["rsna"])
    assert reference.patients.to_dict() == imported.patients.to_dict()


def test_masks_take_the_localizers_place(sets: dict[str, Path], tmp_path: Path) -> None:
    compile_dataset(sets["verse"], tmp_path / "compiled", CompileSettings(), vertebrae=sets["verse"] / "segmentations")

    levels = CompiledDataset.open(tmp_path / "compiled").levels()
    assert list(levels["level"]) == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]


def test_a_localizer_is_trained_on_imported_masks(sets: dict[str, Path], tmp_path: Path) -> None:
    labels = {}
    for name in ("verse", "ctspine1k"):
        (path,) = write_segmented_set(tmp_path / name, sets[name])
        labels[name] = LocalizerSample.load(path).labels

    assert set(range(1, 9)) < set(np.unique(labels["ctspine1k"]).tolist())
    assert UNKNOWN_LABEL not in labels["ctspine1k"]
    below = (labels["ctspine1k"] == SEGMENT_NUMBERS[CUT]) & (labels["verse"] != 0)
    assert (labels["verse"][below] == UNKNOWN_LABEL).all()  # what VerSe leaves out is not background
    assert below.any()


def test_a_split_of_several_sets_selects_parts_of_each(sets: dict[str, Path], tmp_path: Path) -> None:
    fractions = {"train": 0.5, "test": 0.5}

    split_sets(list(sets.values()), tmp_path / "split.json", fractions)

    split = read_split(tmp_path / "split.json")
    part_of = {study: part for part, studies in split.parts.items() for study in studies}
    assert part_of["1.2.3.1"] == part_of["1.2.840.1.1"]
    assert part_of["1.2.3.2"] == part_of["1.2.840.1.2"] == part_of["ctspine1k-HN_P001_pre"]
    assert part_of["1.2.3.1"] != part_of["1.2.3.2"]
    reference = read_reference_standard(sets["rsna"])
    selected = select_part(reference, split, part_of["1.2.3.1"])
    assert list(selected.labels.index) == ["1.2.3.1"]
    assert selected.labels.loc["1.2.3.1", list(TARGETS)].sum() == 1 + len(fractured_levels(fractured()))
    with pytest.raises(LabelError, match="are not the labels that were split"):
        select_part(reference.select(reference.labels.index[:1]), split, "train")


def test_hashes_do_not_depend_on_the_order_of_axes_and_on_padding() -> None:
    scan = volume()
    array = np.array(scan.array)
    array[array <= -1000] = -2000

    turned = highdicom.Volume(array, scan.affine, "PATIENT").to_patient_orientation("AFR")

    assert hash_scan(canonical(turned)) == hash_scan(canonical(scan))
    cropped = hash_scan(canonical(scan[5:40]))
    assert cropped.content_sha256 != hash_scan(canonical(scan)).content_sha256
    assert set(cropped.planes) < set(hash_scan(canonical(scan)).planes)
