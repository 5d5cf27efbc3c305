"""The network that looks at each vertebra through its views, and then at the neck as a whole."""

from typing import Final, NamedTuple

import torch
from torch import nn

from cspine.core.anatomy import VERTEBRAE
from cspine.views.level_views import PLANES, LevelViewSettings

LEVELS: Final = len(VERTEBRAE)

STRIDE: Final = 8
"""Pixels of a view for a cell of evidence."""

_UNIT_MM: Final = 30.0
"""Places are told in this unit."""

_HALF_VIEW_MM: Final = LevelViewSettings().half_mm

_LEAST: Final = 1e-6


class LevelOutputs(NamedTuple):
    """What the network says of n necks.

    Attributes
    ----------
    levels : (n, 7)
        Logits of a fracture, positives weighted as in the challenge.
    overall : (n,)
        Logits of any fracture.
    fracture_types : (n, 7, kinds)
        Logits of each kind of fracture.
    evidence : (n, 7, views, 3, rows, columns)
        Logits of each cell of each plane to be broken.
    """

    levels: torch.Tensor
    overall: torch.Tensor
    fracture_types: torch.Tensor
    evidence: torch.Tensor


class ViewEncoder(nn.Module):
    """One view to a vector and a map: a small residual network (He et al. 2016) with a second look at stride 8.

    Each of a view's planes is seen by itself, through the same layers: planes lie some millimetres apart, and a crack
    shows in one of them.

    Parameters
    ----------
    widths : (int, int, int, int)
        Channels at strides 2, 4, 8 and 16.
    size : int
        Of the vector.
    """

    def __init__(self, widths: tuple[int, int, int, int], size: int) -> None:
        super().__init__()
        a, b, c, d = widths
        fine = _conv(1, a, 3, 2), ResidualBlock(a, a, 1)  # cracks are one to three pixels wide
        self.early = nn.Sequential(*fine, ResidualBlock(a, b, 2), ResidualBlock(b, b, 1), ResidualBlock(b, c, 2))
        self.middle = ResidualBlock(c, c, 1)
        self.late = nn.Sequential(ResidualBlock(c, d, 2), ResidualBlock(d, d, 1))
        self.reduce = nn.Conv2d(d, c, 1)
        self.fuse = _conv(c, c, 3, 1)
        self.evidence = nn.Conv2d(c, 1, 1)
        self.embedding = nn.Sequential(nn.Linear(d + c + 1, size), nn.ReLU())

    def mark(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is seen in planes, (n, 1, rows, columns), one by one.

        Returns
        -------
        coarse : (n, channels, rows / 16, columns / 16)
        merged : (n, channels, rows / 8, columns / 8)
        evidence : (n, rows / 8, columns / 8)
            Logits of each cell to be broken.
        """
        fine = self.middle(self.early(planes))
        coarse = self.late(fine)
        raised = nn.functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        merged = self.fuse(fine + raised)
        return coarse, merged, self.evidence(merged)[:, 0]

    def forward(self, views: torch.Tensor, place: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is seen in views.

        Parameters
        ----------
        views : (n, 3, rows, columns)
        place : (n, 1, rows / 8, columns / 8), optional
            What the place of each cell adds to its logit.

        Returns
        -------
        vectors : (n, size)
        evidence : (n, 3, rows / 8, columns / 8)
            Logits of each cell of each plane.
        """
        planes = views.shape[1]
        coarse, merged, marks = self.mark(views.flatten(0, 1)[:, None])
        evidence = marks.view(-1, planes, *marks.shape[1:])
        if place is not None:
            evidence = evidence + place
        share = torch.softmax(evidence.flatten(1), dim=1)
        looked = merged.reshape(-1, planes, *merged.shape[1:]).transpose(1, 2).flatten(2)
        seen = (looked * share[:, None]).sum(dim=2)
        whole = coarse.mean(dim=(2, 3)).view(-1, planes, coarse.shape[1]).mean(dim=1)
        strongest = evidence.flatten(1).amax(dim=1, keepdim=True)
        return self.embedding(torch.cat([whole, seen, strongest], dim=1)), evidence


class PositionPrior(nn.Module):
    """What the place of a cell in a vertebra's frame says of it: a crack there is the vertebra's own, or a neighbour's.

    A view shows parts of both neighbours, and their cracks look like its own. Left and right are alike. It begins with
    nothing to say.

    Parameters
    ----------
    half_mm : float
        From a view's middle to its edge.
    size : int
        Of the hidden layers.
    """

    def __init__(self, half_mm: float = _HALF_VIEW_MM, size: int = 32) -> None:
        super().__init__()
        self.reach = half_mm / _UNIT_MM
        last = nn.Linear(size, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(LEVELS + 3, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), last)

    def forward(self, planes: torch.Tensor, offsets: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
        """Return what is added to cells' logits, (n, 7, v, rows, columns).

        Parameters
        ----------
        planes : (n, v) int
        offsets : (n, v)
            As `LevelNetwork` takes them; all three planes of a view count as its middle one.
        cells : (int, int)
            Rows and columns of a view.
        """
        down, along = (self.reach * torch.linspace(-1 + 1 / count, 1 - 1 / count, count).to(offsets) for count in cells)
        row, column = down[:, None].expand(cells), along[None, :].expand(cells)
        off = (offsets / _UNIT_MM)[:, :, None, None].expand(*offsets.shape, *cells)
        of_kind = torch.stack(  # x, y and z from a plane's own offset, row and column
            [
                torch.stack([off, column.expand_as(off), -row.expand_as(off)], dim=-1),  # sagittal
                torch.stack([column.expand_as(off), off, -row.expand_as(off)], dim=-1),  # coronal
                torch.stack([column.expand_as(off), row.expand_as(off), off], dim=-1),  # axial
            ]
        )
        is_kind = nn.functional.one_hot(planes, len(PLANES)).permute(2, 0, 1)[..., None, None, None]
        places = (of_kind * is_kind).sum(dim=0)
        places = torch.cat([places[..., :1].abs(), places[..., 1:]], dim=-1)[:, None]
        which = torch.eye(LEVELS, dtype=offsets.dtype, device=offsets.device)[None, :, None, None, None]
        shape = (offsets.shape[0], LEVELS, offsets.shape[1], *cells)
        told = torch.cat([which.expand(*shape, LEVELS), places.expand(*shape, 3)], dim=-1)
        said: torch.Tensor = self.layers(told)[..., 0]
        return said


class LevelNetwork(nn.Module):
    """Views of seven vertebrae to the chance that each is broken.

    Every view goes through the same encoder, whose cells count by where they lie, too; gated attention (Ilse, Tomczak
    and Welling 2018) gathers a vertebra's views, a transformer lets vertebrae look at each other, and the neck's chance
    lies between its worst vertebra's and what seven independent ones would have.

    Parameters
    ----------
    fracture_types : int
        Kinds of fracture told apart.
    widths : (int, int, int, int)
        Of the encoder.
    size : int
        Of the vectors.
    layers : int
        Of the transformer.
    dropout : float
        Share of a vector's parts dropped in training.
    half_mm : float
        From a view's middle to its edge.
    """

    def __init__(
        self,
        fracture_types: int,
        *,
        widths: tuple[int, int, int, int] = (16, 32, 64, 128),
        size: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        half_mm: float = _HALF_VIEW_MM,
    ) -> None:
        super().__init__()
        self.encoder = ViewEncoder(widths, size)
        self.position_prior = PositionPrior(half_mm)
        self.plane_embedding = nn.Embedding(len(PLANES), size)
        self.offset_embedding = nn.Sequential(nn.Linear(1, size), nn.ReLU(), nn.Linear(size, size))
        self.attention_gate, self.attention_value = nn.Linear(size, size), nn.Linear(size, size)
        self.attention_score = nn.Linear(size, 1)
        self.level_embedding = nn.Parameter(torch.randn(LEVELS, size) * 0.02)
        self.transformer = nn.ModuleList(TransformerBlock(size, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.fracture = nn.Linear(2 * size + 1, 1)
        self.fracture_types = nn.Linear(2 * size + 1, fracture_types)
        self.dependence = nn.Linear(size, 1)

    def forward(
        self, views: torch.Tensor, planes: torch.Tensor, offsets: torch.Tensor, present: torch.Tensor
    ) -> LevelOutputs:
        """Return what is said of n necks.

        Parameters
        ----------
        views : (n, 7, v, 3, rows, columns)
            Grey values from 0 to 1.
        planes : (n, v) int
            Each view's kind, an index of `PLANES`.
        offsets : (n, v)
            How far each view's middle plane lies from the box's middle, mm.
        present : (n, 7) bool
            Which vertebrae are there; of others nothing is said.
        """
        count, seen = views.shape[0], views.shape[2]
        cells = views.shape[4] // STRIDE, views.shape[5] // STRIDE
        place = self.position_prior(planes, offsets, cells)
        vectors, evidence = self.encoder(views.flatten(0, 2), place.flatten(0, 2)[:, None])
        where = self.plane_embedding(planes) + self.offset_embedding(offsets[:, :, None] / _UNIT_MM)
        vectors = vectors.view(count, LEVELS, seen, -1) + where[:, None]
        share = self.attention_score(
            torch.tanh(self.attention_value(vectors)) * torch.sigmoid(self.attention_gate(vectors))
        )
        own = (vectors * torch.softmax(share, dim=2)).sum(dim=2)
        evidence = evidence.view(count, LEVELS, seen, *evidence.shape[1:])
        strongest = evidence.flatten(2).amax(dim=2)[:, :, None]
        context = own + self.level_embedding
        for layer in self.transformer:
            context = layer(context, present)
        said = torch.cat([self.dropout(own), self.dropout(context), strongest], dim=2)
        levels = self.fracture(said)[:, :, 0]
        there = present.to(context.dtype)[:, :, None]
        case = (context * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0)
        overall = overall_logit(levels, self.dependence(case)[:, 0], present)
        return LevelOutputs(levels, overall, self.fracture_types(said), evidence)


def overall_logit(levels: torch.Tensor, dependence: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the logit of any fracture, never below any level's.

    Parameters
    ----------
    levels : (n, 7)
        Logits.
    dependence : (n,)
        Where between the greatest of the levels' chances (all fractures come together) and one minus the product of
        their counterparts (each by itself) it lies, as a logit.
    present : (n, 7) bool
    """
    chances = torch.sigmoid(levels.float()) * present
    greatest = chances.amax(dim=1)
    apart = 1 - torch.prod(1 - chances, dim=1)
    chance = greatest + torch.sigmoid(dependence.float()) * (apart - greatest)
    return torch.logit(chance.clamp(_LEAST, 1 - _LEAST))


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(before, after, 3, stride)
        self.conv2 = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        same = before == after and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv2(self.conv1(images)) + self.shortcut(images))


class TransformerBlock(nn.Module):
    """Attention between vertebrae that are there, and a step of their own (Vaswani et al. 2017, norms first)."""

    def __init__(self, size: int, dropout: float, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.projection = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, 2 * size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * size, size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        count, levels, size = vectors.shape
        asked = self.qkv(self.norm1(vectors)).view(count, levels, 3, self.heads, size // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        matches = query @ key.transpose(-1, -2) / (size // self.heads) ** 0.5
        hidden = torch.where(present, 0.0, -1e4).to(matches.dtype)
        told = torch.softmax(matches + hidden[:, None, None, :], dim=-1) @ value
        vectors = vectors + self.dropout(self.projection(told.transpose(1, 2).reshape(count, levels, size)))
        stepped: torch.Tensor = vectors + self.dropout(self.feed_forward(self.norm2(vectors)))
        return stepped


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
