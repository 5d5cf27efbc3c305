"""The level network: a 2-D encoder of views, attention over the views of a vertebra, a transformer over vertebrae."""

from typing import Final, NamedTuple

import torch
from torch import nn

from cspine.core.anatomy import VERTEBRAE
from cspine.views.level_views import PLANES, LevelViewSettings

LEVELS: Final = len(VERTEBRAE)

STRIDE: Final = 8
"""Pixels of a view along a side of a cell of evidence."""

_UNIT_MM: Final = 30.0
"""Unit of the positions that the network is given."""

_HALF_VIEW_MM: Final = LevelViewSettings().half_mm

_EPSILON: Final = 1e-6
"""The patient's probability is clipped to [_EPSILON, 1 - _EPSILON] before the logit."""


class LevelOutputs(NamedTuple):
    """Outputs for n cases.

    Attributes
    ----------
    levels : (n, 7)
        Logits of a fracture of C1 to C7, trained with positives weighted as in the challenge.
    overall : (n,)
        Logits of any fracture.
    fracture_types : (n, 7, types)
        Logits of each fracture type.
    evidence : (n, 7, views, 3, rows, columns)
        Logits that a fracture crosses a cell of a plane.
    """

    levels: torch.Tensor
    overall: torch.Tensor
    fracture_types: torch.Tensor
    evidence: torch.Tensor


class ViewEncoder(nn.Module):
    """A view to a vector and a map of evidence.

    A small residual network (He et al. 2016) with a top-down connection from stride 16 to stride 8 (as in feature
    pyramid networks, Lin et al. 2017). It encodes the planes of a view separately by shared weights: planes lie some
    millimeters apart, and a fracture line is visible in one of them. Stacking three neighbors as channels lowered the
    AUC of patches from 0.79 to 0.68 at equal training time (phantom; see Benchmarks).

    Parameters
    ----------
    widths : (int, int, int, int)
        Channels at strides 2, 4, 8 and 16.
    size : int
        Length of the vector.
    """

    def __init__(self, widths: tuple[int, int, int, int], size: int) -> None:
        super().__init__()
        a, b, c, d = widths
        fine = _conv(1, a, 3, 2), ResidualBlock(a, a, 1)  # fracture lines are one to three pixels wide
        self.early = nn.Sequential(*fine, ResidualBlock(a, b, 2), ResidualBlock(b, b, 1), ResidualBlock(b, c, 2))
        self.middle = ResidualBlock(c, c, 1)
        self.late = nn.Sequential(ResidualBlock(c, d, 2), ResidualBlock(d, d, 1))
        self.reduce = nn.Conv2d(d, c, 1)
        self.fuse = _conv(c, c, 3, 1)
        self.evidence = nn.Conv2d(c, 1, 1)
        self.embedding = nn.Sequential(nn.Linear(d + c + 1, size), nn.ReLU())

    def mark(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encode single planes, (n, 1, rows, columns).

        Returns
        -------
        coarse : (n, channels, rows / 16, columns / 16)
            Features at stride 16.
        merged : (n, channels, rows / 8, columns / 8)
            Features at stride 8, with those at stride 16 added.
        evidence : (n, rows / 8, columns / 8)
            Logits that a fracture crosses a cell.
        """
        fine = self.middle(self.early(planes))
        coarse = self.late(fine)
        upsampled = nn.functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        merged = self.fuse(fine + upsampled)
        return coarse, merged, self.evidence(merged)[:, 0]

    def forward(self, views: torch.Tensor, prior: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode views.

        The evidence is also the attention by which the features of cells are pooled: the saliency map shows the cells
        that the classification used.

        Parameters
        ----------
        views : (n, 3, rows, columns)
            Gray values from 0 to 1.
        prior : (n, 1, rows / 8, columns / 8), optional
            Logits of `PositionPrior`, added to those of each cell.

        Returns
        -------
        vectors : (n, size)
            Encoded views, one vector each.
        evidence : (n, 3, rows / 8, columns / 8)
            Logits that a fracture crosses a cell of a plane.
        """
        n_planes = views.shape[1]
        coarse, merged, plane_evidence = self.mark(views.flatten(0, 1)[:, None])
        evidence = plane_evidence.view(-1, n_planes, *plane_evidence.shape[1:])
        if prior is not None:
            evidence = evidence + prior
        attention = torch.softmax(evidence.flatten(1), dim=1)
        cells = merged.reshape(-1, n_planes, *merged.shape[1:]).transpose(1, 2).flatten(2)
        attended = (cells * attention[:, None]).sum(dim=2)
        averaged = coarse.mean(dim=(2, 3)).view(-1, n_planes, coarse.shape[1]).mean(dim=1)
        strongest = evidence.flatten(1).amax(dim=1, keepdim=True)
        return self.embedding(torch.cat([averaged, attended, strongest], dim=1)), evidence


class PositionPrior(nn.Module):
    """A logit for each cell from its position in the vertebra's frame.

    A view shows parts of both neighbors, whose fractures look like the vertebra's own. The prior, a small network of
    level and position, tells them apart. Left and right share their values. It is initialized to 0.

    Parameters
    ----------
    half_mm : float
        Distance from a view's center to its edge, mm.
    size : int
        Width of the hidden layers.
    """

    def __init__(self, half_mm: float = _HALF_VIEW_MM, size: int = 32) -> None:
        super().__init__()
        self.half_extent = half_mm / _UNIT_MM
        last = nn.Linear(size, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(LEVELS + 3, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), last)

    def forward(self, planes: torch.Tensor, offsets: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
        """Return the logits, (n, 7, v, rows, columns).

        Parameters
        ----------
        planes : (n, v) int
            As `LevelNetwork` takes them.
        offsets : (n, v)
            As `LevelNetwork` takes them; all three planes of a view count as its middle one.
        cells : (int, int)
            Rows and columns of cells of a view.
        """
        down, along = (
            self.half_extent * torch.linspace(-1 + 1 / count, 1 - 1 / count, count).to(offsets) for count in cells
        )
        row, column = down[:, None].expand(cells), along[None, :].expand(cells)
        normal = (offsets / _UNIT_MM)[:, :, None, None].expand(*offsets.shape, *cells)
        by_plane = torch.stack(  # x, y and z from the offset along a plane's normal, its rows and its columns
            [
                torch.stack([normal, column.expand_as(normal), -row.expand_as(normal)], dim=-1),  # sagittal
                torch.stack([column.expand_as(normal), normal, -row.expand_as(normal)], dim=-1),  # coronal
                torch.stack([column.expand_as(normal), row.expand_as(normal), normal], dim=-1),  # axial
            ]
        )
        is_plane = nn.functional.one_hot(planes, len(PLANES)).permute(2, 0, 1)[..., None, None, None]
        positions = (by_plane * is_plane).sum(dim=0)
        positions = torch.cat([positions[..., :1].abs(), positions[..., 1:]], dim=-1)[:, None]
        level = torch.eye(LEVELS, dtype=offsets.dtype, device=offsets.device)[None, :, None, None, None]
        shape = (offsets.shape[0], LEVELS, offsets.shape[1], *cells)
        features = torch.cat([level.expand(*shape, LEVELS), positions.expand(*shape, 3)], dim=-1)
        logits: torch.Tensor = self.layers(features)[..., 0]
        return logits


class LevelNetwork(nn.Module):
    """Views of seven vertebrae to the probability that each is fractured.

    All views share an encoder, whose evidence is shifted by a prior of position. Gated attention (Ilse, Tomczak and
    Welling 2018) pools the views of a vertebra, a transformer exchanges information between vertebrae, and the
    patient's probability lies between that of the most suspicious vertebra and that of seven independent ones; see
    `overall_logit`.

    Parameters
    ----------
    fracture_types : int
        Number of fracture types.
    widths : (int, int, int, int)
        Channels of the encoder.
    size : int
        Length of the vectors of views and vertebrae.
    layers : int
        Blocks of the transformer.
    dropout : float
        Probability with which an element of a vector is dropped in training.
    half_mm : float
        Distance from a view's center to its edge, mm.
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
        """Return the outputs for n cases.

        Parameters
        ----------
        views : (n, 7, v, 3, rows, columns)
            Gray values from 0 to 1.
        planes : (n, v) int
            Plane of each view, an index of `PLANES`.
        offsets : (n, v)
            Distance of each view's middle plane from the center of the vertebra's box, mm.
        present : (n, 7) bool
            Which vertebrae were localized; the outputs of others have no meaning.
        """
        n_cases = views.shape[0]
        cells = views.shape[4] // STRIDE, views.shape[5] // STRIDE
        prior = self.position_prior(planes, offsets, cells)
        vectors, evidence = self.encode(views.flatten(0, 1), prior.flatten(0, 1))
        vectors, evidence = (values.view(n_cases, LEVELS, *values.shape[1:]) for values in (vectors, evidence))
        return self.classify(planes, offsets, present, vectors, evidence)

    def encode(self, views: torch.Tensor, prior: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode views, each by itself; the two leading axes may be any, such as vertebrae and views.

        Parameters
        ----------
        views : (n, v, 3, rows, columns)
            Gray values from 0 to 1.
        prior : (n, v, rows / 8, columns / 8)
            Logits of `PositionPrior`.

        Returns
        -------
        vectors : (n, v, size)
            Encoded views.
        evidence : (n, v, 3, rows / 8, columns / 8)
            Logits that a fracture crosses a cell of a plane.
        """
        vectors, evidence = self.encoder(views.flatten(0, 1), prior.flatten(0, 1)[:, None])
        return vectors.view(*views.shape[:2], -1), evidence.view(*views.shape[:2], *evidence.shape[1:])

    def classify(
        self,
        planes: torch.Tensor,
        offsets: torch.Tensor,
        present: torch.Tensor,
        vectors: torch.Tensor,
        evidence: torch.Tensor,
    ) -> LevelOutputs:
        """Return the outputs for the encoded views of n cases.

        Parameters
        ----------
        planes, offsets, present
            As of `forward`.
        vectors : (n, 7, v, size)
            Encoded views.
        evidence : (n, 7, v, 3, rows / 8, columns / 8)
            Logits that a fracture crosses a cell of a plane.
        """
        geometry = self.plane_embedding(planes) + self.offset_embedding(offsets[:, :, None] / _UNIT_MM)
        vectors = vectors + geometry[:, None]
        score = self.attention_score(
            torch.tanh(self.attention_value(vectors)) * torch.sigmoid(self.attention_gate(vectors))
        )
        vertebrae = (vectors * torch.softmax(score, dim=2)).sum(dim=2)
        strongest = evidence.flatten(2).amax(dim=2)[:, :, None]
        context = vertebrae + self.level_embedding
        for block in self.transformer:
            context = block(context, present)
        features = torch.cat([self.dropout(vertebrae), self.dropout(context), strongest], dim=2)
        levels = self.fracture(features)[:, :, 0]
        mask = present.to(context.dtype)[:, :, None]
        case = (context * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        overall = overall_logit(levels, self.dependence(case)[:, 0], present)
        return LevelOutputs(levels, overall, self.fracture_types(features), evidence)


def overall_logit(levels: torch.Tensor, dependence: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the logit of any fracture, never below that of any level.

    The probability is m + sigmoid(d) (u - m), with the maximum m of the levels' probabilities p_i (fractures occur
    together) and u = 1 - prod(1 - p_i) (fractures occur independently).

    Parameters
    ----------
    levels : (n, 7)
        Logits of the levels.
    dependence : (n,)
        Logit d of the position between both bounds.
    present : (n, 7) bool
        Which vertebrae were localized; others count as intact.

    Returns
    -------
    (n,)
    """
    probability = torch.sigmoid(levels.float()) * present
    maximum = probability.amax(dim=1)
    independent = 1 - torch.prod(1 - probability, dim=1)
    overall = maximum + torch.sigmoid(dependence.float()) * (independent - maximum)
    return torch.logit(overall.clamp(_EPSILON, 1 - _EPSILON))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a shortcut (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(before, after, 3, stride)
        self.conv2 = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        is_same_shape = before == after and stride == 1
        self.shortcut = (
            nn.Identity()
            if is_same_shape
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, after, rows / stride, columns / stride) of images, (n, before, rows, columns)."""
        return torch.relu(self.conv2(self.conv1(images)) + self.shortcut(images))


class TransformerBlock(nn.Module):
    """Masked self-attention and a feed-forward layer (Vaswani et al. 2017), with layer norm before each.

    It is written out, since ``torch.nn.TransformerEncoderLayer`` returns NaN where a mask hides every vertebra.
    """

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
        """Return vectors, (n, levels, size), that attended to those of the vertebrae that are present, (n, levels)."""
        count, levels, size = vectors.shape
        qkv = self.qkv(self.norm1(vectors)).view(count, levels, 3, self.heads, size // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / (size // self.heads) ** 0.5
        mask = torch.where(present, 0.0, -1e4).to(scores.dtype)
        attended = torch.softmax(scores + mask[:, None, None, :], dim=-1) @ value
        vectors = vectors + self.dropout(self.projection(attended.transpose(1, 2).reshape(count, levels, size)))
        outputs: torch.Tensor = vectors + self.dropout(self.feed_forward(self.norm2(vectors)))
        return outputs


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
