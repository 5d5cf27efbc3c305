"""Augmentation of the baseline's training images."""

import torch
from monai.transforms import Compose, RandAffined, RandScaleIntensityd, RandShiftIntensityd


class Augmentation:
    """Random shifts, rotations, zooms and changes of gray value, as positioning and scanners vary them.

    Images are not mirrored: front and back, head and feet are never exchanged in a compiled image.
    """

    def __init__(self) -> None:
        self._transform = Compose(
            [
                RandAffined(
                    keys="image",
                    prob=0.8,
                    rotate_range=0.12,  # rad: 7 degrees of nodding
                    translate_range=4.0,  # pixels of 64: 12 mm
                    scale_range=0.1,
                    padding_mode="zeros",
                ),
                RandScaleIntensityd(keys="image", prob=0.5, factors=0.15),
                RandShiftIntensityd(keys="image", prob=0.5, offsets=0.05),
            ]
        )

    def __call__(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """Return a changed copy of an image, (1, rows, columns) with gray values from 0 to 1; the same for a seed."""
        self._transform.set_random_state(seed=seed)
        return torch.as_tensor(self._transform({"image": image})["image"]).clamp(0.0, 1.0)
