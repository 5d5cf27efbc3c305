"""What comes with the package, made again from seeds: the demo's phantom study and the phantom-trained weights.

Run: ``python -m benchmarks.embedded`` (about half an hour on two cores), or with ``--study-only`` for the study
alone. The weights are those of `benchmarks.baseline`, as it was when they were last made.
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

HOME = Path(cspine.__file__).parent
STUDY = HOME / "phantom" / "embedded" / "study.zip"
WEIGHTS = HOME / "detect" / "embedded" / "baseline-cnn.onnx"
TRUTH = "truth.json"
SEED = 7
SETTINGS = PhantomSettings(
    matrix=160, slice_spacing_mm=(1.5, 1.5), noise_hu=(8.0, 8.0), prevalence=1.0, full_headers=0.0, upward=0.0
)
_DATE = (2026, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study-only", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("runs/embedded"), help="where the baseline's data go")
    options = parser.parse_args()
    make_study(STUDY)
    if not options.study_only:
        command = [sys.executable, "-m", "benchmarks.baseline", "--work", str(options.work)]
        subprocess.run(command, check=True)
        WEIGHTS.parent.mkdir(exist_ok=True)
        shutil.copyfile(options.work / "run" / "weights.onnx", WEIGHTS)


def make_study(path: Path) -> None:
    """Write one phantom study as a zip whose bytes depend on the seed and the settings alone, and its truth beside."""
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder) / "data", studies=1, seed=SEED, settings=SETTINGS)
        (images,) = (Path(folder) / "data" / "train_images").iterdir()
        (truth,) = (Path(folder) / "data" / "truth").iterdir()
        fractures = [{key: each[key] for key in ("level", "kind")} for each in read_json(truth)["fractures"]]
        write_json(path.with_name(TRUTH), {"fractures": fractures})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(images.iterdir(), key=lambda file: int(file.stem)):
                archive.writestr(zipfile.ZipInfo(f"study/{file.name}", _DATE), file.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
