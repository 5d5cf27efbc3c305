"""Coverage-guided fuzzing of discovery and decoding.

Ten minutes, adding inputs that reach new code to the corpus:

    pip install atheris && python -m tests.fuzz.harness --minutes 10

The corpus beside this file is replayed by the tests. An input that fails is written to the current folder: fix the
defect and add the input to the corpus.
"""

import argparse
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["cspine.dicom", "pydicom.filereader", "pydicom.encaps"]):
        from tests.fuzz.target import run_one
    from tests.fuzz.seeds import write_seeds

    options.corpus.mkdir(exist_ok=True)
    write_seeds(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        arguments = [sys.argv[0], f"-max_total_time={int(options.minutes * 60)}", "-rss_limit_mb=4096", "-timeout=20"]
        arguments += ["-max_len=4096", str(options.corpus)]
        atheris.Setup(arguments, lambda data: run_one(data, work) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
