"""Draw the nine compiled sagittal images of a study as one image, for the documentation.

Run: ``python -m scripts.make_contact_sheet STUDY --out FILE.png``
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.dicom import load_volume
from cspine.spine.bone_trace import trace_spine
from cspine.views.sagittal import SagittalSettings, compile_sagittal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study's DICOM files")
    parser.add_argument("--out", type=Path, required=True, help="image file to write")
    options = parser.parse_args()
    volume = load_volume(options.study)
    sagittal = compile_sagittal(volume, trace_spine(volume), SagittalSettings())
    side = sagittal.images.shape[1]
    sheet = Image.fromarray(np.block([[sagittal.images[row * 3 + column] for column in range(3)] for row in range(3)]))
    draw = ImageDraw.Draw(sheet)
    for number, x_mm in enumerate(sagittal.x_lps_mm):
        draw.text((number % 3 * side + 6, number // 3 * side + 4), f"{number + 1}   x = {x_mm:.0f} mm", fill=200)
    draw.text((6, 3 * side - 14), f"{RESEARCH_USE_ONLY} {sagittal.pixel_mm:.2f} mm per pixel.", fill=200)
    sheet.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
