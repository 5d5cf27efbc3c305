"""What a reconstruction does to a slice beyond its kernel: blotchy noise, smoothing between edges, coarse values."""

from dataclasses import dataclass
from typing import Final, Literal

import imagecodecs
import numpy as np
from scipy import ndimage

from cspine.core.typing import Floats32
from cspine.phantom.settings import PhantomSettings

KernelClass = Literal["soft", "medium", "very sharp"]
"""From which ranges of `PhantomSettings` the kernel of a study is drawn."""

_OFFSET_HU: Final = 1024.0
"""Added before values are stored without a sign."""

_BLUR_PX: Final = 0.9
"""Standard deviation of the blur whose difference from a slice is its detail, in pixels."""


@dataclass(frozen=True)
class Reconstruction:
    """The look of a reconstruction.

    Attributes
    ----------
    noise_cutoff_per_mm : float or None
        Spatial frequency beyond which an adaptive reconstruction has taken the noise away; None for filtered back
        projection.
    smoothing : float
        Detail of less than about this many standard deviations of the noise is smoothed away; edges stay.
    step_hu : int
        Distance of neighboring values: 1, or 16 where 4,096 HU were stored in 8 bits.
    jpeg2000_db : int or None
        Peak signal-to-noise ratio of a lossy compression of 16 bits that the slices have been through.
    kernel_class : str
        From which ranges the kernel was drawn; its resolution and edge enhancement are those of the scanner.
    """

    noise_cutoff_per_mm: float | None = None
    smoothing: float = 0.0
    step_hu: int = 1
    jpeg2000_db: int | None = None
    kernel_class: KernelClass = "medium"

    def noise_transfer(self, frequency: Floats32) -> Floats32 | np.float32:
        """Return the factor on the amplitude of the noise at spatial frequencies in cycles per mm."""
        if self.noise_cutoff_per_mm is None:
            return np.float32(1.0)
        return np.asarray(np.exp(-((frequency / np.float32(self.noise_cutoff_per_mm)) ** 2)), np.float32)

    def finish(self, plane: Floats32, noise_hu: float) -> Floats32:
        """Return a slice, (rows, columns), as it is stored, given the standard deviation of its noise."""
        if self.smoothing:
            blurred = ndimage.gaussian_filter(plane, _BLUR_PX, mode="nearest", truncate=2.5)
            detail = plane - blurred
            square = detail * detail
            weight = square / (square + np.float32((self.smoothing * noise_hu) ** 2))
            plane = np.asarray(blurred + detail * weight, np.float32)
        if self.jpeg2000_db is not None:
            stored = np.clip(plane + np.float32(_OFFSET_HU), 0, 4095).astype(np.uint16)
            stream = imagecodecs.jpeg2k_encode(stored, level=self.jpeg2000_db, reversible=False, codecformat="j2k")
            plane = imagecodecs.jpeg2k_decode(stream).astype(np.float32) - np.float32(_OFFSET_HU)
        if self.step_hu > 1:
            step = np.float32(self.step_hu)
            plane = np.round((plane + np.float32(_OFFSET_HU)) / step) * step - np.float32(_OFFSET_HU)
        return plane


def draw_technique(settings: PhantomSettings, rng: np.random.Generator) -> tuple[PhantomSettings, Reconstruction]:
    """Draw a kernel (soft, very sharp or neither) and a reconstruction.

    Returns
    -------
    settings : PhantomSettings
        With the ranges of this kernel.
    reconstruction : Reconstruction
        What is done beyond it.
    """
    kind, is_adaptive, is_quantized, is_compressed = rng.random(4)
    cutoff, smoothing, loss_db, pixel = rng.uniform(size=4)
    changes: dict[str, object] = {}
    kernel_class: KernelClass = "medium"
    if kind < settings.soft_fraction:
        kernel_class = "soft"
        low, high = settings.soft_pixel_mm
        field = max((low + (high - low) * pixel) * settings.matrix, settings.field_of_view_mm[0])
        changes = {
            "mtf50_per_mm": settings.soft_mtf50_per_mm,
            "edge_enhancement": (0.0, 0.1),
            "noise_hu": settings.soft_noise_hu,
            "slice_spacing_mm": settings.soft_spacing_mm,
            "field_of_view_mm": (field, field),
        }
    elif kind < settings.soft_fraction + settings.sharp_fraction:
        kernel_class = "very sharp"
        changes = {
            "mtf50_per_mm": settings.sharp_mtf50_per_mm,
            "edge_enhancement": settings.sharp_edge_enhancement,
        }
    adaptive = bool(is_adaptive < settings.adaptive_fraction)
    return settings.model_copy(update=changes), Reconstruction(
        noise_cutoff_per_mm=float(0.12 + 0.25 * cutoff) if adaptive else None,
        smoothing=float(0.5 + 1.3 * smoothing) if adaptive else 0.0,
        step_hu=16 if is_quantized < settings.quantized_fraction else 1,
        jpeg2000_db=int(71 + 7 * loss_db) if is_compressed < settings.jpeg2000_fraction else None,
        kernel_class=kernel_class,
    )
