"""Where a data set comes from: its name, license and citation."""

from typing import Final, Literal, get_args

from cspine.core.settings import Settings

Layout = Literal["rsna", "verse", "ctspine1k", "totalsegmentator", "hdn", "nifti"]
LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)

ImageMode = Literal["refer", "link", "copy"]
"""What becomes of the images: they stay where they lie, or are linked or copied into the data set."""

CutVertebrae = Literal["labeled", "unlabeled", "unknown"]
"""What becomes of vertebrae that the border of a scan cuts off: a level without voxels is then absent, or not known."""


class DataSource(Settings):
    """Where a data set comes from.

    Attributes
    ----------
    name : str
        Name of the data set.
    version : str
        Its version or date; empty where it has none.
    url : str
        Page that offers it.
    license : str
        License of images and labels.
    citation : str
        What its authors ask to be cited.
    cut_vertebrae : str
        Whether vertebrae that the border of a scan cuts off are in its masks.
    """

    name: str
    version: str = ""
    url: str = ""
    license: str
    citation: str = ""
    cut_vertebrae: CutVertebrae = "unknown"


KNOWN_SOURCES: Final[dict[Layout, DataSource]] = {
    "rsna": DataSource(
        name="RSNA 2022 Cervical Spine Fracture Detection",
        url="https://www.kaggle.com/competitions/rsna-2022-cervical-spine-fracture-detection",
        license="non-commercial use and academic research only, by the rules of the challenge",
        citation="Lin HM et al., The RSNA Cervical Spine Fracture CT Dataset, Radiology: Artificial Intelligence 2023, "
        "doi:10.1148/ryai.230034",
        cut_vertebrae="labeled",
    ),
    "verse": DataSource(
        name="VerSe",
        version="subject-based structure of 2019 and 2020",
        url="https://github.com/anjany/verse",
        license="CC BY-SA 4.0",
        citation="Sekuboyina A et al., Medical Image Analysis 2021, doi:10.1016/j.media.2021.102166; Löffler M et al., "
        "Radiology: Artificial Intelligence 2020, doi:10.1148/ryai.2020190138; Liebl H and Schinz D et al., "
        "arXiv:2103.06360",
        cut_vertebrae="unlabeled",
    ),
    "ctspine1k": DataSource(
        name="CTSpine1K",
        url="https://github.com/MIRACLE-Center/CTSpine1K",
        license="CC BY-NC-SA; the images also have the licenses of the four collections that they were taken from",
        citation="Deng Y et al., CTSpine1K, arXiv:2105.14711",
        cut_vertebrae="labeled",
    ),
    "totalsegmentator": DataSource(
        name="TotalSegmentator",
        version="2",
        url="https://doi.org/10.5281/zenodo.6802613",
        license="CC BY 4.0",
        citation="Wasserthal J et al., TotalSegmentator, Radiology: Artificial Intelligence 2023, "
        "doi:10.1148/ryai.230024",
        cut_vertebrae="labeled",
    ),
    "hdn": DataSource(
        name="Fracture Detection on Cervical Spine CT (Health Data Nexus)",
        version="1.0.0",
        url="https://doi.org/10.57764/fhp6-nt41",
        license="credentialed access, by the data use agreement of Health Data Nexus",
        citation="Kuzulugil S et al., Fracture Detection on Cervical Spine CT (version 1.0.0), Health Data Nexus 2023, "
        "doi:10.57764/fhp6-nt41",
    ),
}
"""By layout; the source of plain NIfTI is named by who imports it."""
