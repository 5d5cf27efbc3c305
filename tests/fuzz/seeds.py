"""Seeds of the fuzzer: small valid files of every format."""

import gzip
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.support.codecs import SYNTAXES
from tests.support.dicom import make_hu, write_enhanced, write_series

HU = make_hu((3, 12, 10))


def write_seeds(corpus: Path) -> None:
    """Write one file of each format into a folder, without overwriting existing ones."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for syntax in SYNTAXES:
            folder = work / syntax.name
            path = write_series(folder, HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)[0]
            _keep(corpus, syntax.name, path.read_bytes())
            framed = write_enhanced(folder / "enhanced", HU, syntax=syntax.uid, encode=syntax.encode)
            if syntax.name in {"explicit", "implicit", "rle", "deflated"}:
                _keep(corpus, f"enhanced-{syntax.name}", framed.read_bytes())
        image = nib.Nifti1Image(HU, np.diag([-1.0, -1.0, 3.0, 1.0]))
        nib.save(image, work / "a.nii")
        data = (work / "a.nii").read_bytes()
        _keep(corpus, "nifti", data)
        _keep(corpus, "nifti-gz", gzip.compress(data, mtime=0))
        with zipfile.ZipFile(work / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((work / "explicit").glob("*.dcm")):
                archive.write(path, f"study/{path.name}")
        _keep(corpus, "zip", (work / "a.zip").read_bytes())


def _keep(corpus: Path, name: str, data: bytes) -> None:
    if not (corpus / name).exists():
        (corpus / name).write_bytes(data)
