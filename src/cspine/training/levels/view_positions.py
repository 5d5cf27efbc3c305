"""Where the pixels of views lie in the vertebra's frame."""

import torch
from torch import nn

from cspine.views.level_views import PLANES


def view_positions(
    planes: torch.Tensor, offsets: torch.Tensor, half_extent: float, shape: tuple[int, int]
) -> torch.Tensor:
    """Return x (left), y (back) and z (up) of pixels or cells, from the center of the vertebra's box.

    Parameters
    ----------
    planes : (n, v) int
        Plane of each view, an index of `PLANES`.
    offsets : (n, v)
        Distance of each view from the center of the box along its normal; all planes of a view count as its middle one.
    half_extent : float
        Half the side of a view, in the unit of `offsets`.
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    (n, v, rows, columns, 3)
        In the unit of `offsets`.
    """
    down, along = (half_extent * torch.linspace(-1 + 1 / count, 1 - 1 / count, count).to(offsets) for count in shape)
    row, column = down[:, None].expand(shape), along[None, :].expand(shape)
    normal = offsets[:, :, None, None].expand(*offsets.shape, *shape)
    by_plane = torch.stack(
        [
            torch.stack([normal, column.expand_as(normal), -row.expand_as(normal)], dim=-1),  # sagittal
            torch.stack([column.expand_as(normal), normal, -row.expand_as(normal)], dim=-1),  # coronal
            torch.stack([column.expand_as(normal), row.expand_as(normal), normal], dim=-1),  # axial
        ]
    )
    is_plane = nn.functional.one_hot(planes, len(PLANES)).permute(2, 0, 1)[..., None, None, None]
    return (by_plane * is_plane).sum(dim=0)
