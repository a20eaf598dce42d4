"""Decode picture files into grey levels and colours: formats, alpha, palettes, 16 bits, rotation.

For any bytes, the result is an array or one `UserError` that names the picture.
"""

from __future__ import annotations

import glob
import io
import itertools
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_mlp.errors import UserError
from mnist_mlp.files import kinds
from mnist_mlp.options import path_of

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff")
MAX_PIXELS = 100_000_000  # more than a phone's camera has
MAX_BYTES = 100 * 2**20  # of a file
SIDE = 800  # pixels; larger pictures are reduced, since a digit will have 20
COLOURED = 16.0  # levels of 255; colours that differ less are those of the light, or noise
RARE = 0.02  # fraction of the picture; what has a colour of its own and is smaller is no sheet


def find(source: str) -> list[Path]:
    """Return the pictures that a path names, sorted by name.

    It is a file, a directory (its files with the suffix of a picture), or a pattern such as digits/*.png. Raise
    `UserError` if there are none.
    """
    path = path_of("input", source)
    if path.is_dir():
        visible = sorted(each for each in path.iterdir() if not each.name.startswith("."))  # as with a pattern
        found = [each for each in visible if each.suffix.lower() in SUFFIXES and each.is_file()]
        if not found:
            raise UserError(
                f"--input={source}: expected a directory with pictures ({', '.join(SUFFIXES)}), found "
                f"{_instead_of_pictures(path, visible)}"
            )
        return found
    if path.exists() or not glob.has_magic(source):
        return [path]
    found = sorted(each for each in map(Path, glob.glob(str(path), recursive=True)) if each.is_file())
    if not found:
        raise UserError(f"--input={source}: expected a pattern that matches pictures, found no match")
    return found


def _instead_of_pictures(path: Path, visible: list[Path]) -> str:
    """Return what a directory without pictures holds, and what to do."""
    for pattern in ("*/*", "*/*/*"):
        for each in itertools.islice(path.glob(pattern), 1000):
            if each.suffix.lower() in SUFFIXES and not each.name.startswith("."):
                return f"them in its folders only; try --input='{path / pattern}{each.suffix}'"
    for each in (path, *visible[:50]):
        if kind := kinds.recognize_path(each):
            name = "it" if each == path else each.name
            return f"none; {name} is {kind.name if kind in kinds.READABLE else kind}" + (
                f"; try --input={each}" if kind in kinds.READABLE else ""
            )
    return "none"


def read_file(path: Path) -> np.ndarray:
    """Return a picture's grey levels, float32 [height, width], from 0 (black) to 255 (white). Raise `UserError`."""
    return read(io.BytesIO(content_of(path)), str(path))


def content_of(path: Path) -> bytes:
    """Return the bytes of a picture, at most one more than `read` accepts. Raise `UserError`."""
    try:
        if not path.is_file() and path.exists():
            raise UserError(f"{path}: expected a picture, received a pipe or a device; use - for standard input")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read this picture: {error.strerror or error}") from None


def read(file: BinaryIO, name: str) -> np.ndarray:
    """Return the grey levels of a picture in an open file, which messages call `name`."""
    content = file.read(MAX_BYTES + 1)
    if not content:
        raise UserError(f"{name}: expected a picture, received an empty file")
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: expected at most {MAX_BYTES:,} bytes, received more; try a smaller picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata and sizes: the size is checked below
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                return grey_levels(image)
        except Image.DecompressionBombError:
            raise UserError(
                f"{name}: expected at most {MAX_PIXELS:,} pixels, received more; try a smaller picture"
            ) from None
        except UnidentifiedImageError:
            kind = kinds.recognize(content[: kinds.START], Path(name).suffix)
            other = "something else; open it with a viewer and save it as JPEG or PNG"
            if kind == kinds.ARRAY:
                other = f"{kind.name}; arrays are read from files that predict --input names"
            received = other if kind in (None, *kinds.READABLE) else kind
            raise UserError(f"{name}: expected a picture ({', '.join(FORMATS)}), received {received}") from None
        except MemoryError:
            raise UserError(f"{name}: out of memory; try a smaller picture") from None
        except Exception as error:  # the exceptions of Pillow's decoders have no common class
            raise UserError(f"{name}: cannot decode this picture: {error}") from None


def grey_levels(image: Image.Image) -> np.ndarray:
    """Return the grey levels of the first frame, upright, with sides of at most SIDE pixels, float32 [height, width].

    For an opaque picture with colours, return [height, width, 2]: the grey levels, and the colours as `colours_of`.
    """
    image.draft("RGB", (SIDE, SIDE))  # a JPEG is already decoded at a reduced size
    image.load()
    image = upright(image)
    if image.mode.startswith(("I", "F")):
        return to_8_bits(reduced(np.asarray(image, np.float64)))
    if not has_alpha(image):
        return opaque_levels(image)
    colours = image.convert("RGBA")
    colours.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    alpha = np.asarray(colours.getchannel("A"), np.float32) / 255
    return blended(np.asarray(colours.convert("L"), np.float32), alpha)


def opaque_levels(image: Image.Image) -> np.ndarray:
    """Return the grey levels of a picture without alpha, and its colours if it has any, as `grey_levels`."""
    mode = "L" if image.mode in ("1", "L") else "RGB"
    small = image if image.mode == mode else image.convert(mode)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    levels = np.asarray(small.convert("L"), np.float32)
    colours = None if mode == "L" else colours_of(np.asarray(small.convert("YCbCr"), np.float32)[..., 1:])
    return levels if colours is None else np.stack([levels, colours], axis=-1)


def colours_of(chroma: np.ndarray) -> np.ndarray | None:
    """Return the direction in which a picture's colours differ most, float32 [height, width], around 128; None if they
    hardly differ.

    `chroma` is float32 [height, width, 2], Cb and Cr. Two things of one grey level differ in it, unless they also have
    one colour.
    """
    sample = chroma[::4, ::4].reshape(-1, 2)
    middle = np.median(sample, axis=0)
    axis = np.linalg.eigh((sample - middle).T @ (sample - middle))[1][:, -1]
    low, high = np.quantile((sample - middle) @ axis, (RARE, 1 - RARE))
    if high - low < COLOURED:
        return None
    return ((chroma - middle) @ axis + 128).clip(0, 255).astype(np.float32)


def upright(image: Image.Image) -> Image.Image:
    """Rotate as the camera's metadata says; if they are broken, leave the picture as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # no common class either
        return image


def has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "a" in image.mode or "transparency" in image.info


def reduced(values: np.ndarray) -> np.ndarray:
    """Average square blocks of pixels so that no side is longer than SIDE."""
    factor = -(-max(values.shape) // SIDE)
    if factor == 1:
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32), "F").reduce(factor), np.float64)


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit, 32-bit or float pixels to levels from 0 to 255."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    top = values.max()
    scale = 255.0 if 0 < top <= 1 else 1.0
    if top > 255:  # 10, 12, 14 or 16 bits are used: as many as the largest value needs
        scale = 255 / (2 ** np.ceil(np.log2(top + 1)) - 1)
    return (values * scale).clip(0, 255).astype(np.float32)


def blended(levels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend the levels, float32 [height, width], with a background where `alpha` is below 1.

    The background is the median level of the opaque pixels. If these are the minority, they are the ink, and the
    background is black or white, whichever differs more from them.
    """
    opaque = alpha > 0.5
    if not opaque.any():
        return np.full_like(levels, 255.0)
    background = float(np.median(levels[opaque]))
    if opaque.mean() <= 0.5:
        background = 255.0 if background < 128 else 0.0
    return levels * alpha + background * (1 - alpha)
