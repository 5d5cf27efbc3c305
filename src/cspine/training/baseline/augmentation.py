"""What is changed at random in training images, all in one place."""

import torch
from monai.transforms import Compose, RandAffined, RandScaleIntensityd, RandShiftIntensityd


class Augmentation:
    """Small shifts, turns, zooms and changes of grey value: what positioning and scanners vary anyway.

    Images are not mirrored: front and back, head and feet are never exchanged in a compiled image.

    Parameters
    ----------
    seed : int
        Makes the changes the same in every run.
    """

    def __init__(self, seed: int) -> None:
        self._transform = Compose(
            [
                RandAffined(
                    keys="image",
                    prob=0.8,
                    rotate_range=0.12,  # 7 degrees of nodding
                    translate_range=4.0,  # pixels of 64: 12 mm
                    scale_range=0.1,
                    padding_mode="zeros",
                ),
                RandScaleIntensityd(keys="image", prob=0.5, factors=0.15),
                RandShiftIntensityd(keys="image", prob=0.5, offsets=0.05),
            ]
        )
        self._transform.set_random_state(seed=seed)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return changed copies of images, (n, 1, rows, columns), with grey values from 0 to 1."""
        changed = [torch.as_tensor(self._transform({"image": image})["image"]) for image in images]
        return torch.stack(changed).clamp(0.0, 1.0)
