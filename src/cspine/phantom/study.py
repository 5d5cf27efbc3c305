"""A phantom study: a neck with its fractures, scanned, with its truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cspine.core.anatomy import FRACTURE_STEP
from cspine.core.typing import Floats, HounsfieldUnits, Labels
from cspine.phantom.sampler import draw_fractured_neck
from cspine.phantom.scanner.acquisition import acquire
from cspine.phantom.settings import PhantomSettings, random_stream
from cspine.phantom.truth import centroids, describe_fractures, describe_study


@dataclass(frozen=True)
class PhantomStudy:
    """A phantom study with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k from caudal to cranial, j to the back, i to the left.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8
        1-7 C1-C7, 8 T1, 9 T2, as in the challenge.
    thickness_mm : float
        Slice thickness of the reconstruction, in mm.
    round_field : bool
        Whether voxels outside the largest circle of a slice are padding.
    fracture_mask : (k, j, i) uint8
        The ``mask_value`` of the fracture in each voxel; 0 where there is none.
    truth : dict
        Person, posture and scanner; for each fracture in the scan its level, kind, width, displacement, visibility and
        position; for each vertebra its position, axes, centroid and scanned fraction.
    """

    hu: HounsfieldUnits
    affine_lps: Floats
    labels: Labels
    thickness_mm: float
    round_field: bool
    fracture_mask: Labels
    truth: dict[str, Any]

    @property
    def fracture_level_mask(self) -> Labels:
        """The number of the fractured vertebra in each voxel of a fracture, (k, j, i) uint8; 0 elsewhere."""
        return self.fracture_mask % np.uint8(FRACTURE_STEP)


def render_study(seed: int, index: int, settings: PhantomSettings) -> PhantomStudy:
    """Draw and scan one neck.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    index : int
        Index of the study in the data set; the same seed, index and settings give the same study.
    settings : PhantomSettings
        Distributions to draw from.
    """
    neck, scanner = draw_fractured_neck(seed, index, settings)
    scan = acquire(neck, scanner, random_stream(seed, index, settings, 3))
    marked = set(np.unique(scan.fracture_mask).tolist()) - {0}
    fractures = [fracture for fracture in describe_fractures(neck, scanner) if fracture["mask_value"] in marked]
    for value in marked - {fracture["mask_value"] for fracture in fractures}:  # too little of it is in the scan
        scan.fracture_mask[scan.fracture_mask == value] = 0
    truth = describe_study(neck, scanner, fractures)
    truth["centroids"] = centroids(scan.labels, scanner.grid.affine)
    return PhantomStudy(
        hu=scan.hu,
        affine_lps=scanner.grid.affine,
        labels=scan.labels,
        thickness_mm=scanner.thickness_mm,
        round_field=scanner.round_field,
        fracture_mask=scan.fracture_mask,
        truth=truth,
    )
