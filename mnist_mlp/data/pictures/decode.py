"""Reads picture files as grey levels: formats, alpha, palettes, 16 bits, rotation; nothing large, nothing broken.

Whatever the bytes are, the answer is an array or one `UserError` that names the picture.
"""

from __future__ import annotations

import glob
import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_mlp.errors import UserError
from mnist_mlp.options import path_of

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff")
LARGEST = 100_000_000  # pixels: more than a telephone's camera has
LONGEST = 100 * 2**20  # bytes of a file
SIDE = 800  # pixels; what is larger is made smaller, since a digit will have 20


def find(place: str) -> list[Path]:
    """The pictures at a path: a file, all of a folder by their suffix, or what a pattern as digits/*.png names.

    In the order of their names. Raises `UserError` where there are none.
    """
    path = path_of("input", place)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
        if not found:
            raise UserError(f"--input={place}: expected pictures in that folder ({', '.join(SUFFIXES)}), it has none")
        return found
    if path.exists() or not glob.has_magic(place):
        return [path]
    found = sorted(each for each in map(Path, glob.glob(str(path), recursive=True)) if each.is_file())
    if not found:
        raise UserError(f"--input={place}: expected a pattern that names pictures, nothing matches it")
    return found


def read_file(path: Path) -> np.ndarray:
    """The grey levels of a picture, float32 [height, width], from 0 (black) to 255 (white). Raises `UserError`."""
    try:
        if not path.is_file() and path.exists():
            raise UserError(f"{path}: expected a picture, received a pipe or a device; type - for standard input")
        with path.open("rb") as file:
            return read(file, str(path))
    except OSError as error:
        raise UserError(f"{path}: expected a picture that can be read; received: {error.strerror or error}") from None


def read(file: BinaryIO, name: str) -> np.ndarray:
    """The same of an open file, which `name` tells in messages."""
    content = file.read(LONGEST + 1)
    if not content:
        raise UserError(f"{name}: expected a picture, received an empty file")
    if len(content) > LONGEST:
        raise UserError(f"{name}: expected at most {LONGEST:,} bytes, received more; make the picture smaller")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of sizes and of metadata: the size is looked at below
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > LARGEST:
                    raise Image.DecompressionBombError
                return grey_levels(image)
        except Image.DecompressionBombError:
            raise UserError(
                f"{name}: expected at most {LARGEST:,} pixels, received more; make the picture smaller"
            ) from None
        except UnidentifiedImageError:
            kinds = ", ".join(FORMATS)
            raise UserError(f"{name}: expected a picture ({kinds}), received something else") from None
        except MemoryError:
            raise UserError(f"{name}: expected a picture that fits into memory; make it smaller") from None
        except Exception as error:  # what Pillow's decoders raise has no common class
            raise UserError(f"{name}: expected a whole picture, it cannot be decoded: {error}") from None


def grey_levels(image: Image.Image) -> np.ndarray:
    """The first frame, upright, at most SIDE pixels large, without its colours."""
    image.draft("L", (SIDE, SIDE))  # a JPEG is decoded smaller from the start
    image.load()
    image = upright(image)
    if image.mode.startswith(("I", "F")):
        return of_many_levels(smaller(np.asarray(image, np.float64)))
    colours = image.convert("RGBA") if has_alpha(image) else image.convert("L")
    colours.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    if colours.mode == "L":
        return np.asarray(colours, np.float32)
    alpha = np.asarray(colours.getchannel("A"), np.float32) / 255
    return on_a_ground(np.asarray(colours.convert("L"), np.float32), alpha)


def upright(image: Image.Image) -> Image.Image:
    """Turned as its camera says; where what it says is broken, as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of no common class
        return image


def has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "a" in image.mode or "transparency" in image.info


def smaller(values: np.ndarray) -> np.ndarray:
    """Means of squares of pixels, so many that at most SIDE are left."""
    factor = -(-max(values.shape) // SIDE)
    if factor == 1:
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32), "F").reduce(factor), np.float64)


def of_many_levels(values: np.ndarray) -> np.ndarray:
    """16 or 32 bits a pixel, or floats, as levels from 0 to 255."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    top = values.max()
    scale = 255.0 if 0 < top <= 1 else 1.0
    if top > 255:  # of 10, 12, 14 or 16 bits: of as many as hold the largest
        scale = 255 / (2 ** np.ceil(np.log2(top + 1)) - 1)
    return (values * scale).clip(0, 255).astype(np.float32)


def on_a_ground(levels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The levels, float32 [height, width], where `alpha` is 1. What is transparent gets the level of most of the rest;
    where that is little, and so the ink, the level that it differs from more."""
    opaque = alpha > 0.5
    if not opaque.any():
        return np.full_like(levels, 255.0)
    ground = float(np.median(levels[opaque]))
    if opaque.mean() <= 0.5:
        ground = 255.0 if ground < 128 else 0.0
    return levels * alpha + ground * (1 - alpha)
