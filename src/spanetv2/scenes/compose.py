"""One scene: digits of many sizes, angles and colours on a piece of a photograph.

Shape suffixes: H and W are pixels of the scene, h and w of one digit's patch, C colours (red,
green, blue), N pixels in a list, K candidates.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from spanetv2.errors import UserError
from spanetv2.scenes.material import Material

__all__ = ["Instance", "Scene", "SceneSettings", "draw_digit", "keep_visible", "make_scene"]

# Side of the square cut from a photograph, in its pixels: the narrow part is 200 wide.
_CUT = (96.0, 192.0)
# Ink above this part of a full pixel is inside the stroke.
_INK = 0.45
# Pixels per pixel of the 8 x 8 original at which its outline is smoothed, and empty ones around it.
_FINE, _MARGIN = 8, 2
_PLACES, _COLOURS = 3, 16
# Least distance, of at most 441, between the ink and nine tenths of the pixels around it.
_CONTRAST = 110.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """How scenes are made; lengths are parts of the scene's side."""

    size: int = 256
    """Side of the square scene in pixels."""
    digits: tuple[int, int] = (1, 8)
    """Least and most digits; those that others hide too much are left out afterwards."""
    height: tuple[float, float] = (24 / 256, 96 / 256)
    """Least and greatest height of a digit before it is turned."""
    rotation: float = 30.0
    """Largest turn either way in degrees."""
    visible: float = 0.25
    """Least part of a digit that is not covered by others."""
    blur: float = 0.7 / 256
    """Largest standard deviation of the blur over the whole scene."""
    noise: float = 6.0
    """Largest standard deviation of the noise, of 255."""

    def __post_init__(self) -> None:
        if self.size < 96:
            raise UserError(
                f"got scenes of {self.size} pixels, expected at least 96: in smaller ones the "
                "smallest digits cannot be read"
            )
        low, high = self.digits
        if not 1 <= low <= high:
            raise UserError(f"got digits {self.digits}, expected 1 <= least <= most")
        low, high = self.height
        if not 0 < low <= high <= 0.6:
            raise UserError(f"got height {self.height}, expected 0 < least <= greatest <= 0.6")
        if not 0 < self.visible <= 1:
            raise UserError(f"got visible {self.visible}, expected a part in (0, 1]")
        if min(self.rotation, self.blur, self.noise) < 0:
            raise UserError("got a negative rotation, blur or noise, expected 0 or more")


class Instance(NamedTuple):
    """One digit of a scene."""

    digit: int
    """0 to 9."""
    mask: np.ndarray
    """(H, W) bool, its pixels that no other digit covers."""


class Scene(NamedTuple):
    """A scene and what is in it."""

    image: np.ndarray
    """(H, W, 3) uint8."""
    labels: np.ndarray
    """(H, W) uint8, indices into ``CLASSES``: 0 is the background, d + 1 the digit d."""
    instances: list[Instance]
    """From the lowest to the topmost; their masks do not overlap."""


class _Placed(NamedTuple):
    digit: int
    alpha_hw: np.ndarray
    top: int
    left: int

    @property
    def box(self) -> tuple[slice, slice]:
        height, width = self.alpha_hw.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def mask(self, size: int) -> np.ndarray:
        mask_HW = np.zeros((size, size), dtype=bool)
        mask_HW[self.box] = self.alpha_hw >= 0.5
        return mask_HW


def make_scene(settings: SceneSettings, material: Material, rng: np.random.Generator) -> Scene:
    """Make one scene.

    Args:
        settings: how.
        material: of what.
        rng: the scene is a function of its state.

    Returns:
        The scene. A pixel belongs to a digit where its ink covers at least half of it.
    """
    size = settings.size
    canvas_HWC = _background(settings, material, rng)
    placed = _place(settings, material, rng)
    masks = keep_visible([p.mask(size) for p in placed], settings.visible)
    instances = []
    labels_HW = np.zeros((size, size), dtype=np.uint8)
    for one, mask_HW in zip(placed, masks, strict=True):
        if mask_HW is None:
            continue
        _paint(canvas_HWC, one, rng)
        labels_HW[mask_HW] = one.digit + 1
        instances.append(Instance(one.digit, mask_HW))
    return Scene(_finish(canvas_HWC, settings, rng), labels_HW, instances)


def keep_visible(masks: list[np.ndarray], least: float) -> list[np.ndarray | None]:
    """Find what can be seen of masks that lie on one another, and leave out the hidden ones.

    A mask that is left out hides nothing.

    Args:
        masks: (H, W) bool each, from the lowest to the topmost.
        least: the part of a mask that must be seen.

    Returns:
        For each mask the part of it that is seen, or None if that is too little.

    Example:
        >>> low, top = np.array([[True, True]]), np.array([[False, True]])
        >>> keep_visible([low, top], 0.5)
        [array([[ True, False]]), array([[False,  True]])]
        >>> keep_visible([low, top], 0.6)
        [None, array([[False,  True]])]
    """
    covered_HW = np.zeros_like(masks[0]) if masks else None
    seen: list[np.ndarray | None] = []
    for mask_HW in reversed(masks):
        assert covered_HW is not None
        visible_HW = mask_HW & ~covered_HW
        kept = visible_HW.any() and visible_HW.sum() >= least * mask_HW.sum()
        if kept:
            covered_HW |= mask_HW
        seen.append(visible_HW if kept else None)
    return seen[::-1]


def draw_digit(ink_hw: np.ndarray, *, height: float, angle: float) -> np.ndarray:
    """Enlarge an 8 x 8 digit to a smooth shape, turned, with soft edges.

    Args:
        ink_hw: (8, 8) uint8, ink from 0 to 255.
        height: of the upright 8 x 8 square in pixels.
        angle: turn in radians, anticlockwise.

    Returns:
        (h, w) float32 from 0 to 1: how much of each pixel the ink covers. The array ends where
        the ink ends.
    """
    side = (ink_hw.shape[0] + 2 * _MARGIN) * _FINE
    fine = Image.fromarray(np.pad(ink_hw, _MARGIN)).resize((side, side), Image.Resampling.BICUBIC)
    fine = fine.filter(ImageFilter.GaussianBlur(0.25 * _FINE))
    scale = height / ink_hw.shape[0]
    reach = math.ceil(height * math.sqrt(2)) + 4
    cos, sin = math.cos(angle) * _FINE / scale, math.sin(angle) * _FINE / scale
    # Output (x, y) is read at side/2 + R (x - reach/2, y - reach/2).
    centre, start = side / 2, reach / 2
    matrix = (
        *(cos, -sin, centre - start * (cos - sin)),
        *(sin, cos, centre - start * (sin + cos)),
    )
    turned = fine.transform(
        (reach, reach), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
    )
    # The ink rises from none to full over about one original pixel, which is `scale` pixels here:
    # so steepened, the edge is about one and a half pixels wide at every size.
    ink = np.asarray(turned, dtype=np.float32) / 255
    alpha_hw = np.clip((ink - _INK) * scale + 0.5, 0, 1)
    rows, columns = np.flatnonzero(alpha_hw.any(1)), np.flatnonzero(alpha_hw.any(0))
    return alpha_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _background(
    settings: SceneSettings, material: Material, rng: np.random.Generator
) -> np.ndarray:
    """A square piece of a photograph, perhaps mirrored, a little lighter or darker."""
    photograph = material.photographs[rng.integers(len(material.photographs))]
    cut = rng.uniform(*_CUT)
    left, top = rng.uniform(0, (photograph.width - cut, photograph.height - cut))
    piece = photograph.resize(
        (settings.size, settings.size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + cut, top + cut),
    )
    if rng.random() < 0.5:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain_C = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, size=3)
    return np.asarray(piece, dtype=np.float32) * gain_C.astype(np.float32)


def _place(settings: SceneSettings, material: Material, rng: np.random.Generator) -> list[_Placed]:
    """Choose digits and where they lie: of a few places, the one that covers least."""
    placed: list[_Placed] = []
    taken_HW = np.zeros((settings.size, settings.size), dtype=bool)
    for _ in range(rng.integers(settings.digits[0], settings.digits[1] + 1)):
        index = rng.integers(len(material.labels))
        alpha_hw = draw_digit(
            material.digits[index],
            height=settings.size * rng.uniform(*settings.height),
            angle=math.radians(rng.uniform(-settings.rotation, settings.rotation)),
        )
        room = np.subtract(settings.size, alpha_hw.shape)
        places = rng.integers(0, room + 1, size=(_PLACES, 2))
        candidates = [
            _Placed(int(material.labels[index]), alpha_hw, int(top), int(left))
            for top, left in places
        ]
        best = min(candidates, key=lambda one: int(taken_HW[one.box].sum()))
        taken_HW[best.box] = True
        placed.append(best)
    return placed


def _paint(canvas_HWC: np.ndarray, one: _Placed, rng: np.random.Generator) -> None:
    """Lay a digit on the canvas in a colour that differs from what is there."""
    under_hwC = canvas_HWC[one.box]
    height, width = one.alpha_hw.shape
    ink_C = _contrasting(under_hwC.reshape(-1, 3), rng)
    # Lighter at one end than at the other, as nothing real has quite one colour.
    slope_y, slope_x = rng.uniform(-20, 20, size=2)
    shade_hw = slope_y * np.linspace(-0.5, 0.5, height)[:, None]
    shade_hw = shade_hw + slope_x * np.linspace(-0.5, 0.5, width)
    ink_hwC = (ink_C + shade_hw[..., None]).astype(np.float32)
    under_hwC += (ink_hwC - under_hwC) * one.alpha_hw[..., None]


def _contrasting(under_NC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first of some random colours that nearly all of these pixels differ from enough."""
    colours_KC = rng.uniform(0, 255, size=(_COLOURS, 3)).astype(np.float32)
    few_NC = under_NC[:: max(1, len(under_NC) // 500)]
    distances_KN = np.linalg.norm(colours_KC[:, None] - few_NC, axis=-1)
    contrast_K = np.quantile(distances_KN, 0.1, axis=1)
    enough = np.flatnonzero(contrast_K >= _CONTRAST)
    return colours_KC[enough[0] if len(enough) else np.argmax(contrast_K)]


def _finish(
    canvas_HWC: np.ndarray, settings: SceneSettings, rng: np.random.Generator
) -> np.ndarray:
    """A camera's part: a little blur, a little noise, 8 bits."""
    blur = settings.size * rng.uniform(0, settings.blur)
    sharp = Image.fromarray(np.clip(np.rint(canvas_HWC), 0, 255).astype(np.uint8))
    image_HWC = np.asarray(sharp.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32)
    noise_HWC = rng.standard_normal(image_HWC.shape, dtype=np.float32)
    noisy_HWC = image_HWC + noise_HWC * np.float32(rng.uniform(0, settings.noise))
    return np.clip(np.rint(noisy_HWC), 0, 255).astype(np.uint8)
