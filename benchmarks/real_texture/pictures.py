"""Pictures of the worst cases: false alarms of the highest probability, and missed fractures of the lowest."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.localization.pictures import encode_small
from benchmarks.localization.variants import AS_IS
from benchmarks.real_texture.measures import VISIBLE
from benchmarks.real_texture.predictions import ScanPredictions, Study, Vertebra, predict_scans
from benchmarks.real_texture.run import TextureRun
from benchmarks.real_texture.views import ScanViews
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import read_views
from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import write_bytes
from cspine.core.typing import Floats32, Grays
from cspine.reports.images.drawing import label_font
from cspine.reports.images.overlay import MAGNIFICATION, magnified_view, saliency_layer
from cspine.views.fracture_labels import CELL_PIXELS, read_cells
from cspine.views.level_views import CHANNELS, PLANES, LevelViews, view_geometry, view_indices

N_CASES: Final = 12
"""Pictures in all."""

N_FALSE_ALARMS: Final = 6
"""Most false alarms among them where enough fractures were missed."""

_HEADER_HEIGHT: Final = 20
_GAP: Final = 4
_CRACK: Final = "#00e5ff"


class WorstCase(NamedTuple):
    """A vertebra that is judged wrongly."""

    scan: str
    study: Study
    vertebra: Vertebra

    @property
    def title(self) -> str:
        """What it is, in words."""
        percent = f"{100 * (self.vertebra.probability or 0.0):.0f} %"
        what = f"missed {self.vertebra.fracture_type} ({self.vertebra.visibility})"
        if not self.vertebra.is_fractured:
            what = "false alarm" + ", sham" * self.vertebra.is_sham
        return f"{self.scan} {self.vertebra.level}, {what}: {percent}"


def worst_cases(predictions: Iterable[ScanPredictions]) -> list[WorstCase]:
    """Return false alarms, one of each intact vertebra, and then missed clear or obvious fractures, the worst first.

    There are up to `N_CASES` in all: fewer of one kind leave room for more of the other.
    """
    alarms: dict[tuple[str, str], WorstCase] = {}
    missed = []
    for each in predictions:
        for study in each.studies:
            if study.kind == "variant" and study.name != AS_IS.name:
                continue
            for vertebra in study.vertebrae:
                case = WorstCase(each.scan, study, vertebra)
                probability = -1.0 if vertebra.probability is None else vertebra.probability
                is_alarm = probability >= each.level_threshold
                if vertebra.is_fractured and vertebra.visibility in VISIBLE and not is_alarm:
                    missed.append(case)
                elif study.kind != "fracture" and is_alarm:  # beside a fracture, it may be that one that is seen
                    before = alarms.get((each.scan, vertebra.level))
                    if before is None or probability > (before.vertebra.probability or 0.0):
                        alarms[each.scan, vertebra.level] = case
    highest = sorted(alarms.values(), key=lambda case: -(case.vertebra.probability or 0.0))
    lowest = sorted(missed, key=lambda case: case.vertebra.probability or -1.0)
    n_alarms = max(N_FALSE_ALARMS, N_CASES - len(lowest))
    alarms_shown = highest[:n_alarms]
    return [*alarms_shown, *lowest[: N_CASES - len(alarms_shown)]]


def write_pictures(run: TextureRun, folder: Path) -> dict[str, str]:
    """Draw the worst cases of a run, and return the name of each file and what it shows."""
    titles = {}
    for number, case in enumerate(worst_cases(predict_scans(run)), start=1):
        picture = _draw(case, ScanViews.of(run, case.scan), run.load_classifier(case.scan))
        if picture is not None:
            name = f"worst-{number:02d}.jpg"
            titles[name] = case.title
            write_bytes(folder / name, encode_small(picture))
    for number in range(len(titles) + 1, N_CASES + 1):  # of an earlier network with more
        (folder / f"worst-{number:02d}.jpg").unlink(missing_ok=True)
    return titles


def gallery(titles: Mapping[str, str], folder: str) -> str:
    """Return Markdown that shows pictures.

    Parameters
    ----------
    titles : dict
        Result of `write_pictures`.
    folder : str
        Folder of the pictures, relative to the page.
    """
    return "\n".join(f"![{title}]({folder}/{name})\n" for name, title in titles.items())


def _draw(case: WorstCase, scan_views: ScanViews, classifier: LevelClassifier) -> Image.Image | None:
    """Return one plane of each orientation: as the network sees it above, with saliency and fracture below."""
    dataset = scan_views.dataset
    rows = dataset.levels()
    rows = rows[rows["study_instance_uid"] == case.study.uid]
    levels = read_views(dataset, rows)
    views = next((each for each in levels if each.level == case.vertebra.level), None)
    if views is None:
        return None
    evidence = classifier.predict_scores(levels).evidence[VERTEBRAE.index(views.level)]
    path = rows[rows["level"] == views.level]["cells_path"].iloc[0]
    cells = read_cells(dataset.folder / path, views.settings) if isinstance(path, str) else None  # else intact
    columns = [
        (views.images[plane], saliency, None if cells is None else cells[plane])
        for plane, saliency in _planes(views, evidence, cells, classifier)
    ]
    side = views.settings.pixels * MAGNIFICATION
    size = (len(columns) * (side + _GAP) - _GAP, _HEADER_HEIGHT + 2 * side + _GAP)
    picture = Image.new("RGB", size, "black")
    ImageDraw.Draw(picture).text((4, 2), case.title, "white", label_font(14))
    for number, (plane, saliency, fractured) in enumerate(columns):
        left = number * (side + _GAP)
        gray = magnified_view((plane / (views.settings.max_gray / 255.0)).astype(np.uint8)).convert("RGB")
        picture.paste(gray, (left, _HEADER_HEIGHT))
        layer = saliency_layer(saliency, plane.shape)
        gray.paste(layer, (0, 0), layer)
        if fractured is not None:
            _outline(gray, fractured)
        picture.paste(gray, (left, _HEADER_HEIGHT + side + _GAP))
    return picture


def _planes(
    views: LevelViews, evidence: Floats32, cells: Grays | None, classifier: LevelClassifier
) -> Iterator[tuple[int, Floats32]]:
    """Yield a plane of each orientation with its saliency map: that of most fracture, or of the strongest saliency."""
    indices = view_indices(views.settings, classifier.metadata.inference_views)
    orientations = view_geometry(views.settings)[0][indices]
    for orientation in range(len(PLANES)):
        is_candidate = orientations == orientation
        if not is_candidate.any():
            continue
        plane, saliency = classifier.strongest_plane(evidence, is_candidate)
        if cells is not None:
            numbers = (CHANNELS * indices[:, None] + np.arange(CHANNELS))[is_candidate]
            counts = cells.sum(axis=(1, 2))[numbers]
            if counts.any():
                view, channel = np.unravel_index(int(counts.argmax()), counts.shape)
                plane, saliency = int(numbers[view, channel]), evidence[is_candidate][view, channel]
        yield plane, saliency


def _outline(picture: Image.Image, cells: Grays) -> None:
    """Draw the borders of fractured cells."""
    pen, step = ImageDraw.Draw(picture), CELL_PIXELS * MAGNIFICATION
    padded = np.pad(cells > 0, 1)
    for row, column in np.argwhere(cells > 0).tolist():
        top, left = row * step, column * step
        right, bottom = left + step, top + step
        for neighbor, line in (
            (padded[row, column + 1], (left, top, right, top)),
            (padded[row + 2, column + 1], (left, bottom, right, bottom)),
            (padded[row + 1, column], (left, top, left, bottom)),
            (padded[row + 1, column + 2], (right, top, right, bottom)),
        ):
            if not neighbor:
                pen.line(line, _CRACK, 1)
