"""Record the shipped weights' predictions on the reference cases, after a change that is meant to move them.

Run: ``python -m scripts.record_reference --real DIR``; cases of real CT that are not there keep their record.
"""

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.reference import AT_A_THRESHOLD, REFERENCE, describe, draw_phantoms

import cspine
from cspine import Detector
from cspine.core.files import read_json, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of real CT")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "2"
    detector, record = Detector.load(), read_json(REFERENCE)
    cases: dict[str, Any] = record["cases"]

    def predict(name: str, path: Path) -> None:
        (result,) = detector.predict_all(path)
        cases[name] = json.loads(json.dumps(describe(result)))

    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as study:
        predict("demo", study)
    with tempfile.TemporaryDirectory() as folder:
        for domain in ("source", "shifted"):
            for index, phantom in enumerate(draw_phantoms(Path(folder) / domain, domain)):
                if (name := f"phantom/{domain}/{index}") not in AT_A_THRESHOLD:
                    predict(name, phantom)
    for name in list(cases):
        path = None if options.real is None else options.real / name.removeprefix("realct/")
        if name.startswith("realct/") and path is not None and path.exists():
            predict(name, path)
    record["recorded_with"] = {"onnxruntime": version("onnxruntime"), "machine": platform.machine()}
    record["recorded_at"] = f"cspine {cspine.__version__}, {datetime.now(UTC).date().isoformat()}"
    write_json(REFERENCE, record)


if __name__ == "__main__":
    main()
