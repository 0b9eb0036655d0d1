"""Random views of stored frames, planned for the whole batch, rendered on the device: zoom, flip, mosaic, colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.train.processes import ALONE, Processes
from lsts_edge.train.store import ImageStore

__all__ = ["Augmentation", "Batch", "Sampling", "draw_batch", "sample_triplets"]

Sampling = Literal["online", "offline"]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random views.

    Attributes:
        object_px: smallest and largest side (square root of the area) that a chosen object gets, log-uniform.
        zoom: smallest and largest zoom, 1 where the whole frame just fits.
        plain_fraction: share of views with only a small zoom (0.85..1.2) around the whole frame.
        aspect: largest stretch of one side against the other.
        mosaic_fraction: share of the items made of four half-size views.
        flip: probability of a mirrored view.
        color: strength of brightness, contrast, saturation and channel changes; 0 turns them off.
        blur_fraction: share of the items that are blurred.
        still_shift: shift of a still image between the frames of its triplet, as a share of the view's width.
        min_visible: a box with a smaller visible share is ignored.
        min_side_px: a box with a smaller side is ignored.
    """

    object_px: tuple[float, float] = (20.0, 330.0)
    zoom: tuple[float, float] = (0.5, 3.2)
    plain_fraction: float = 0.4
    aspect: float = 1.2
    mosaic_fraction: float = 0.4
    flip: float = 0.5
    color: float = 0.3
    blur_fraction: float = 0.2
    still_shift: float = 0.04
    min_visible: float = 0.3
    min_side_px: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("plain_fraction", "mosaic_fraction", "flip", "blur_fraction", "min_visible", "still_shift"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise OptionError(f"augmentation: {name}", got=value, expected="0..1", fix="Correct it.")
        for name in ("object_px", "zoom"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise OptionError(
                    f"augmentation: {name}", got=(low, high), expected="0 < low <= high", fix="Correct it."
                )

    @classmethod
    def none(cls, flip: float = 0.0) -> Augmentation:
        """Every view is the stored frame, scaled to fit, mirrored perhaps: as the paper trains, and for tests."""
        return cls(plain_fraction=1.0, aspect=1.0, zoom=(1.0, 1.0), mosaic_fraction=0.0, flip=flip, color=0.0,
                   blur_fraction=0.0, still_shift=0.0)  # fmt: skip


@dataclass
class Batch:
    """Triplets in network pixels: the images of this process, the boxes of all B items.

    Attributes:
        images: ``(N, T, 3, H, W)`` float, 0..255; the last of T is the current frame. N is B where a process is alone.
        boxes: ``(B, T, M, 4)`` float xyxy with inclusive corners (x2 = edge - 1).
        labels: ``(B, T, M)`` int64, -1 where there is no box.
        ignore: ``(B, T, M)`` bool.
        trust: ``(B, T, M)`` float, 0..1: how sure the labeller was.
        same: ``(B, T - 1)`` bool: whether a frame is the stored image that the frame before it is.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    ignore: torch.Tensor
    trust: torch.Tensor
    same: torch.Tensor


def sample_triplets(
    store: ImageStore,
    weights: torch.Tensor,
    count: int,
    segment: int,
    generator: torch.Generator,
    *,
    sampling: Sampling = "online",
    keyframes: int = 2,
) -> torch.Tensor:
    """Indices ``(count, keyframes + 1)`` as the released code draws them: keyframes, oldest first, and current frame.

    ``online``: the new keyframe is 0..L frames before the current one, the old one L..1.5 L before. ``offline``: up to
    L/2 on either side, and L/2..L before. Further keyframes are L apart. All stay in the sequence. Where only every
    n-th frame is stored the nearest is taken. A still image is repeated.

    Args:
        store: the images.
        weights: ``(N,)`` how often an image is the current frame.
        count: triplets.
        segment: L.
        generator: on the device of ``weights``.
        sampling: which of the two.
        keyframes: 2, or more to unroll further.
    """
    current = torch.multinomial(weights, count, replacement=True, generator=generator)
    half = segment // 2
    ranges = ((0, segment), (segment, segment + half)) if sampling == "online" else ((-half, half), (half, segment))
    backs = [torch.randint(low, high + 1, (count,), generator=generator) for low, high in ranges]
    backs += [backs[1] + segment * more for more in range(1, keyframes - 1)]
    stored = [store.near(current, back) for back in reversed(backs)]
    return torch.stack((*stored, current), dim=1)


def draw_batch(
    store: ImageStore,
    weights: torch.Tensor,
    count: int,
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    frames: int,
    segment: int,
    pad_value: float,
    sampling: Sampling = "online",
    processes: Processes = ALONE,
) -> Batch:
    """Draw triplets (``frames`` 3 or more) or single frames (``frames`` 1) and look at them through random views.

    Args:
        store: the images; the batch is where their pixels are.
        weights: ``(N,)`` sampling weights.
        count: items of all processes together.
        size: height and width of the views; even numbers.
        augmentation: ranges.
        generator: on the CPU, whatever the device; the same state gives the same batch.
        frames: 1, or one more than there are keyframes.
        segment: keyframe interval L of the triplets.
        pad_value: pixel value outside the stored image.
        sampling: of triplets.
        processes: which of them looks; only its own items are rendered.
    """
    mosaics = round(count * augmentation.mosaic_fraction)
    plain = count - mosaics
    mine = processes.rows(torch.arange(count))

    def draw(items: int) -> torch.Tensor:
        index = sample_triplets(
            store, weights, items, segment, generator, sampling=sampling, keyframes=max(2, frames - 1)
        )
        return index[:, -frames:]

    parts = []
    if plain:
        own = mine[mine < plain]
        parts.append(_views(store, draw(plain), own, size, augmentation, generator, pad_value))
    if mosaics:
        half = (size[0] // 2, size[1] // 2)
        own = ((mine[mine >= plain] - plain)[:, None] * 4 + torch.arange(4)).flatten()
        tiles = _views(store, draw(4 * mosaics), own, half, augmentation, generator, pad_value)
        parts.append(_mosaic(tiles, half))
    whole = parts[0] if len(parts) == 1 else _join(*parts)
    if augmentation.color:
        whole.images = _recolor(whole.images, augmentation.color, count, mine, generator)
    if augmentation.blur_fraction:
        whole.images = _blur(whole.images, augmentation.blur_fraction, count, mine, generator)
    device = whole.images.device
    return Batch(whole.images, *(value.to(device) for name, value in vars(whole).items() if name != "images"))


def _views(
    store: ImageStore,
    index: torch.Tensor,
    mine: torch.Tensor,
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: torch.Generator,
    pad_value: float,
) -> Batch:
    """Views of ``size`` of the images ``index`` ``(B, T)``: an affine map per item (and a little more per still frame).

    Only those in ``mine`` are looked at; the boxes of all are known.
    """
    device = index.device
    height, width = size
    count, frames = index.shape

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, device=device, generator=generator)

    current = index[:, -1]
    source = store.sizes[current]  # (B, 2) height, width
    fit = torch.minimum(height / source[:, 0], width / source[:, 1])
    boxes = store.boxes[current]
    shown = (store.labels[current] >= 0) & ~store.ignore[current]
    has_object = shown.any(1)
    chosen = torch.where(shown, uniform(*shown.shape), -1.0).argmax(1)
    target = boxes[torch.arange(count, device=device), chosen]
    target_size = (target[:, 2:] - target[:, :2]).clamp(min=1.0)

    side = target_size.prod(1).sqrt()
    low, high = (torch.log(torch.tensor(v, device=device)) for v in augmentation.object_px)
    high = torch.minimum(high, torch.log(torch.tensor(0.95 * min(height, width) * 1.25, device=device)))
    wanted = torch.exp(low + (high - low) * uniform(count)) / side
    limits = (augmentation.zoom[0] * fit, augmentation.zoom[1] * fit)
    wanted = torch.minimum(torch.maximum(wanted, limits[0]), limits[1])
    spread = 0.0 if augmentation.zoom == (1.0, 1.0) else 1.0
    near_fit = fit * torch.exp(spread * (uniform(count) * 0.35 - 0.16))
    plain = (uniform(count) < augmentation.plain_fraction) | ~has_object
    scale = torch.where(plain, near_fit, wanted)
    stretch = torch.exp((uniform(count) * 2 - 1) * float(torch.log(torch.tensor(augmentation.aspect))) / 2)
    scales = torch.stack((scale * stretch, scale / stretch), dim=1)  # x, y

    # Shift: a chosen object anywhere in the view, most of it visible; a plain view stays near the frame's place.
    view = torch.tensor((width, height), device=device, dtype=torch.float32)
    centre = (target[:, :2] + target[:, 2:]) / 2 * scales
    margin = torch.minimum(target_size * scales / 2 * 0.8, view / 2)
    place = margin + (view - 2 * margin) * uniform(count, 2)
    slack = view - source.flip(1) * scales
    loose = slack * (uniform(count, 2) if spread else torch.zeros(count, 2, device=device))
    shift = torch.where(plain[:, None], loose, place - centre)
    mirrored = uniform(count) < augmentation.flip

    shift = shift[:, None].expand(count, frames, 2)
    scales = scales[:, None].expand(count, frames, 2)
    if frames > 1 and augmentation.still_shift:
        still = (store.first[current] == store.last[current]).float()[:, None, None]
        steps = (
            torch.randn(count, 1, 2, device=device, generator=generator) * torch.arange(frames, device=device)[:, None]
        )
        shift = shift + still * steps * augmentation.still_shift * width / frames
        growth = (
            torch.randn(count, 1, 1, device=device, generator=generator) * torch.arange(frames, device=device)[:, None]
        )
        grown = scales * torch.exp(still * growth * augmentation.still_shift / frames)
        shift = shift + (scales - grown) * source.flip(1)[:, None] / 2
        scales = grown

    images = _render(store, index[mine], scales[mine], shift[mine], mirrored[mine], size, pad_value)
    return _boxes(store, index, images, scales, shift, mirrored, size, augmentation)


def _render(
    store: ImageStore,
    index: torch.Tensor,
    scales: torch.Tensor,
    shift: torch.Tensor,
    mirrored: torch.Tensor,
    size: tuple[int, int],
    pad_value: float,
) -> torch.Tensor:
    """Bilinear look-up of every output pixel's place in its stored image: ``(N, T, 3, H, W)``."""
    height, width = size
    batch, frames = index.shape
    device = store.pixels.device
    limits = store.sizes[index].to(device)  # (N, T, 2)
    scales, shift, mirrored = scales.to(device), shift.to(device), mirrored.to(device)
    x = torch.arange(width, device=device) + 0.5
    y = torch.arange(height, device=device) + 0.5
    x = torch.where(mirrored[:, None], width - x, x)[:, None, :]  # (B, 1, W)
    at_x = (x - shift[..., :1]) / scales[..., :1]  # (B, T, W), edges in stored pixels
    at_y = (y - shift[..., 1:]) / scales[..., 1:]  # (B, T, H)
    flat = index.flatten()
    source = store.pixels.take(flat).float() - pad_value  # grid_sample puts zero outside
    stored_h, stored_w = source.shape[2:]
    grid = torch.stack(
        (
            (at_x * 2 / stored_w - 1).view(-1, 1, width).expand(-1, height, -1),
            (at_y * 2 / stored_h - 1).view(-1, height, 1).expand(-1, -1, width),
        ),
        dim=-1,
    )
    image = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    inside_x = (at_x > 0) & (at_x < limits[..., 1:])
    inside_y = (at_y > 0) & (at_y < limits[..., :1])
    inside = inside_y.view(-1, 1, height, 1) & inside_x.view(-1, 1, 1, width)
    return (image * inside + pad_value).view(batch, frames, 3, height, width)


def _boxes(
    store: ImageStore,
    index: torch.Tensor,
    images: torch.Tensor,
    scales: torch.Tensor,
    shift: torch.Tensor,
    mirrored: torch.Tensor,
    size: tuple[int, int],
    augmentation: Augmentation,
) -> Batch:
    height, width = size
    boxes = store.boxes[index] * scales.repeat(1, 1, 2)[:, :, None] + shift.repeat(1, 1, 2)[:, :, None]
    flipped = torch.stack((width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]), dim=-1)
    boxes = torch.where(mirrored[:, None, None, None], flipped, boxes)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    limit = boxes.new_tensor((width, height, width, height))
    clipped = torch.minimum(boxes.clamp(min=0), limit)
    side = clipped[..., 2:] - clipped[..., :2]
    seen = side.clamp(min=0).prod(-1) / area.clamp(min=1e-6)
    labels = torch.where((side > 1).all(-1), store.labels[index], -1)
    small = (seen < augmentation.min_visible) | (side.amin(-1) < augmentation.min_side_px)
    ignore = (store.ignore[index] | small) & (labels >= 0)
    inclusive = clipped - clipped.new_tensor((0.0, 0.0, 1.0, 1.0))
    return Batch(images, inclusive, labels, ignore, store.trust[index], index[:, 1:] == index[:, :-1])


def _mosaic(tiles: Batch, half: tuple[int, int]) -> Batch:
    """Four neighbours in the batch become the quarters of one view."""
    count, own, frames = len(tiles.labels) // 4, len(tiles.images) // 4, tiles.images.shape[1]
    height, width = half
    images = tiles.images.view(own, 2, 2, frames, 3, height, width).permute(0, 3, 4, 1, 5, 2, 6)
    corner = tiles.boxes.new_tensor(((0, 0), (width, 0), (0, height), (width, height))).repeat(1, 2)
    boxes = tiles.boxes.view(count, 4, frames, -1, 4) + corner[None, :, None, None]

    def gather(value: torch.Tensor) -> torch.Tensor:
        return value.transpose(1, 2).reshape(count, frames, -1, *value.shape[4:])

    return Batch(
        images.reshape(own, frames, 3, 2 * height, 2 * width),
        gather(boxes),
        gather(tiles.labels.view(count, 4, frames, -1)),
        gather(tiles.ignore.view(count, 4, frames, -1)),
        gather(tiles.trust.view(count, 4, frames, -1)),
        tiles.same.view(count, 4, frames - 1).all(1),
    )


def _join(a: Batch, b: Batch) -> Batch:
    """Two batches as one; the shorter lists of boxes are filled up with none."""
    most = max(a.labels.shape[2], b.labels.shape[2])

    def fill(value: torch.Tensor, filler: float) -> torch.Tensor:
        missing = most - value.shape[2]
        pad = (0, 0, 0, missing) if value.ndim == 4 else (0, missing)
        return F.pad(value, pad, value=filler)

    return Batch(
        torch.cat((a.images, b.images)),
        torch.cat((fill(a.boxes, 0.0), fill(b.boxes, 0.0))),
        torch.cat((fill(a.labels, -1), fill(b.labels, -1))),
        torch.cat((fill(a.ignore, False), fill(b.ignore, False))),
        torch.cat((fill(a.trust, 1.0), fill(b.trust, 1.0))),
        torch.cat((a.same, b.same)),
    )


def _recolor(
    images: torch.Tensor, strength: float, count: int, mine: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Contrast, brightness, saturation and channel gains, the same for all frames of an item."""

    def around_one(spread: float, *tail: int) -> torch.Tensor:
        drawn = torch.rand((count, *tail), generator=generator)[mine].to(images.device)
        return 1 + spread * (drawn * 2 - 1)

    gains = around_one(strength * 0.4, 1, 3, 1, 1) * around_one(strength, 1, 1, 1, 1)
    grey = images.mean(dim=2, keepdim=True)
    images = grey + (images - grey) * around_one(strength, 1, 1, 1, 1)
    middle = images.mean(dim=(2, 3, 4), keepdim=True)
    images = middle + (images - middle) * around_one(strength, 1, 1, 1, 1)
    return (images * gains).clamp(0, 255)


def _blur(
    images: torch.Tensor, fraction: float, count: int, mine: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Box blur, once or twice, of some items: defocus, and the softness of enlarged video."""
    chosen = torch.rand(count, generator=generator) < fraction
    mixes = torch.zeros(count).masked_scatter(chosen, torch.rand(int(chosen.sum()), generator=generator))
    chosen, mix = (values[mine].to(images.device) for values in (chosen, mixes))
    if not bool(chosen.any()):
        return images
    part = images[chosen]
    flat = part.reshape(-1, *part.shape[2:])
    flat = F.avg_pool2d(F.avg_pool2d(flat, 3, 1, 1, count_include_pad=False), 5, 1, 2, count_include_pad=False)
    mix = mix[chosen].view(-1, 1, 1, 1, 1)
    images = images.clone()
    images[chosen] = part * (1 - mix) + flat.view_as(part) * mix
    return images
