"""Images moved a little at random, anew in each epoch: a network then sees more of them than there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime import Standardization
from edge_runtime.array_types import Array
from trainer.config import CHECKS, check_number, check_whole
from trainer.errors import ConfigurationError

_HALF_TURN = 180  # degrees: a rotation by more, either way, is one by less
_PIXELS = 1 << 16  # that are moved at once: their coordinates stay in the cache
_BYTES_A_PIXEL = 44  # of all arrays that moving one takes for a moment: coordinates, indices and values


@dataclass(frozen=True)
class Augmentation:
    """Small shifts, rotations and changes of size of images, drawn anew for each row of each batch.

    shift: at most so many pixels, up or down, and left or right; fewer than an image has. rotate: at most so many
    degrees, either way, up to 180. scale: at most this share larger or smaller. All are uniform draws. share: of the
    rows that are moved; the others stay as they are, so that the network sees images as sharp as it will be asked for.
    height, width: of the images, whose rows hold the pixels line by line; None, None: as wide as high. Values between
    pixels are bilinear, those beyond the edge are its own.
    Raises ConfigurationError.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    share: float = 1.0
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        check_number("augment: shift", self.shift, low=0.0)
        check_number("augment: rotate", self.rotate, low=0.0)
        if self.rotate > _HALF_TURN:
            raise CHECKS.refusal("augment: rotate", self.rotate, f"{_HALF_TURN} degrees at most, either way")
        check_number("augment: scale", self.scale, low=0.0, below=1.0)
        check_number("augment: share", self.share, above=0.0)
        if self.share > 1:
            raise CHECKS.refusal("augment: share", self.share, "a share of the rows, 1 at most")
        if not (self.shift or self.rotate or self.scale):
            raise ConfigurationError("augment moves nothing, expected a shift, a rotation or a scale above 0")
        if (self.height is None) != (self.width is None):
            raise ConfigurationError("augment knows one side of the images, expected height and width, or neither")
        for name in ("height", "width"):
            if getattr(self, name) is not None:
                check_whole(f"augment: {name}", getattr(self, name), 1)

    @classmethod
    def of(cls, spec: Any) -> Augmentation | None:
        """`spec` itself, or what a text such as "shift=2,rotate=10,scale=0.1,height=16,width=16" says; None is none."""
        if spec is None or isinstance(spec, Augmentation):
            return spec
        if not isinstance(spec, str):
            raise CHECKS.refusal("augment", spec, "an Augmentation or a text such as 'shift=2,rotate=10'")
        entries = [_entry(part, spec) for part in spec.split(",")]
        names = [name for name, _ in entries]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise CHECKS.refusal("augment", spec, f"{twice} once, found it {names.count(twice)} times")
        settings: dict[str, Any] = dict(entries)
        return cls(**settings)

    def shape(self, n_in: int) -> tuple[int, int]:
        """Height and width of an image of n_in values. ConfigurationError if it is none, or could be shifted away."""
        height, width = self._sides(n_in)
        size = min((side for side in (height, width) if side > 1), default=1)  # a single line is its own edge
        if self.shift >= size:
            raise ConfigurationError(
                f"augment: shift is {self.shift:g} pixels and images are {height} x {width}, so that nothing may be "
                f"left of them; expected less than {size}, such as 1 or 2"
            )
        return height, width

    def _sides(self, n_in: int) -> tuple[int, int]:
        if self.height is not None and self.width is not None:
            if self.height * self.width != n_in:
                raise ConfigurationError(
                    f"augment: images of {self.height} x {self.width} have {self.height * self.width:,} pixels, the "
                    f"rows have {n_in:,} values; give the height and width of what they hold"
                )
            return self.height, self.width
        side = math.isqrt(n_in)
        if side * side != n_in:
            raise ConfigurationError(
                f"augment: rows of {n_in:,} values are no square images; give height and width, or leave augment out"
            )
        return side, side

    def scratch_bytes(self, rows: int, n_in: int) -> int:
        """Bytes that moving a batch takes for a moment."""
        return _BYTES_A_PIXEL * n_in * min(rows, _rows_at_once(n_in))

    def move(self, x: Array, rng: np.random.Generator) -> None:
        """Move each image of x (rows, n_in), in place. rng: is asked for as many numbers whatever is moved."""
        height, width = self.shape(x.shape[1])
        shares = rng.random((len(x), 5), np.float32)
        drawn = np.where(shares[:, 4:] < self.share, shares[:, :4] * np.float32(2) - np.float32(1), np.float32(0))
        step = _rows_at_once(x.shape[1])
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            x[part] = _moved(x[part], *self._sources(drawn[part], height, width), height, width)

    def _sources(self, drawn: Array, height: int, width: int) -> tuple[Array, Array]:
        """Line and column that each pixel of each image is taken from, float32 (rows, height * width)."""
        down, right, angle, size = drawn.T[:, :, None]
        angle, size = angle * np.float32(math.radians(self.rotate)), 1 / (1 + size * np.float32(self.scale))
        lines, columns = np.indices((height, width), np.float32).reshape(2, -1)
        middle = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
        lines, columns = lines - middle[0], columns - middle[1]
        cosine, sine = np.cos(angle) * size, np.sin(angle) * size
        y = cosine * lines + sine * columns + (middle[0] + down * np.float32(self.shift))
        x = cosine * columns - sine * lines + (middle[1] + right * np.float32(self.shift))
        return y, x


def check_images(augment: Augmentation, x: ArrayLike, y: ArrayLike, standardization: Standardization | None) -> None:
    """Raise ConfigurationError for training rows x and targets y that cannot be moved.

    standardization: of the inputs; that of each pixel by itself would make another value of one that is moved.
    """
    rows = np.asarray(x)
    rows = rows.reshape(len(rows), -1)
    augment.shape(rows.shape[1])
    if standardization is not None and len(standardization.mean) > 1:
        raise ConfigurationError(
            "augment moves pixels, and each is standardized by itself, so that a moved one would mean another value; "
            "expected one mean and scale for all: standardize='global'"
        )
    if y is x or (np.shape(y) == rows.shape and np.array_equal(rows, y)):
        raise ConfigurationError(
            "augment moves inputs, and the targets of an autoencoder are the inputs as they were; leave augment out"
        )


def _rows_at_once(n_in: int) -> int:
    return max(1, _PIXELS // n_in)


def _moved(images: Array, y: Array, x: Array, height: int, width: int) -> NDArray[Any]:
    """The values of images (rows, height * width) at lines y and columns x, which lie within after clipping."""
    np.clip(y, 0, height - 1, out=y)
    np.clip(x, 0, width - 1, out=x)
    top = np.minimum(y.astype(np.int32), max(height - 2, 0))
    left = np.minimum(x.astype(np.int32), max(width - 2, 0))
    y -= top
    x -= left
    place = top * np.int32(width) + left
    place += (np.arange(len(images), dtype=np.int32) * np.int32(height * width))[:, None]
    flat, below, beside = images.reshape(-1), width if height > 1 else 0, 1 if width > 1 else 0
    upper = _between(flat.take(place), flat.take(place + beside), x)
    place += below
    return _between(upper, _between(flat.take(place), flat.take(place + beside), x), y)


def _between(first: Array, second: Array, share: Array) -> Array:
    """first + share * (second - first), in place of `second`."""
    second -= first
    second *= share
    second += first
    return second


def _entry(part: str, spec: str) -> tuple[str, float | int]:
    """A setting's name and its number."""
    name, _, text = part.strip().partition("=")
    kinds = {field.name: int if field.name in ("height", "width") else float for field in fields(Augmentation)}
    try:
        return name, kinds[name](text)
    except (KeyError, ValueError):
        raise CHECKS.refusal("augment", spec, f"{'=..., '.join(kinds)}=..., separated by commas") from None
