"""Make what ships with the package from seeds: the demo's phantom study and the phantom-trained baseline weights.

The weights are those of `benchmarks.baseline`, as it was when they were last made.

Run: ``python -m scripts.make_embedded`` (about half an hour on two cores), or with ``--study-only`` for the study
alone.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cspine
from cspine.core.files import read_json, write_json
from cspine.phantom import PhantomSettings, synthesize

PACKAGE = Path(cspine.__file__).parent
STUDY = PACKAGE / "phantom" / "embedded" / "study.zip"
WEIGHTS = PACKAGE / "models" / "embedded" / "baseline-cnn.onnx"
TRUTH = "truth.json"
SEED = 7
SETTINGS = PhantomSettings(
    matrix=160,
    slice_spacing_mm=(1.5, 1.5),
    noise_hu=(8.0, 8.0),
    prevalence=1.0,
    full_header_fraction=0.0,
    upward_fraction=0.0,
)
_ZIP_DATE = (2026, 1, 1, 0, 0, 0)
"""Modification time of every file in the archive: its bytes must not depend on the time of day."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study-only", action="store_true", help="make the demo's study and no weights")
    parser.add_argument("--work", type=Path, default=Path("runs/embedded"), help="run folder of benchmarks.baseline")
    options = parser.parse_args()
    make_study(STUDY)
    if not options.study_only:
        command = [sys.executable, "-m", "benchmarks.baseline", "--work", str(options.work)]
        subprocess.run(command, check=True)
        shutil.copyfile(options.work / "run" / "weights.onnx", WEIGHTS)


def make_study(path: Path) -> None:
    """Write one phantom study as a zip, and its reference standard beside it.

    Parameters
    ----------
    path : Path
        The zip; its bytes depend on the seed and the settings alone.
    """
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder) / "data", studies=1, seed=SEED, settings=SETTINGS)
        (images,) = (Path(folder) / "data" / "train_images").iterdir()
        (truth,) = (Path(folder) / "data" / "truth").iterdir()
        fractures = [
            {key: fracture[key] for key in ("level", "fracture_type")} for fracture in read_json(truth)["fractures"]
        ]
        write_json(path.with_name(TRUTH), {"fractures": fractures})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(images.iterdir(), key=lambda file: int(file.stem)):
                entry = zipfile.ZipInfo(f"study/{file.name}", _ZIP_DATE)
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
