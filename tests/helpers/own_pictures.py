"""Labelled pictures as people would make them: digits drawn by five writers, on several papers, with several pens,
scanned, photographed or drawn on a tablet. Always the same for the same seed.

    python tests/helpers/own_pictures.py FOLDER [--count 300] [--seed 0] [--sheet SHEET.png]

writes FOLDER/0 … FOLDER/9. They share neither strokes nor code with tests/data/pictures/kinds.py, on which the reader
of pictures was built, and no limit of the reader was chosen by them. Each picture goes through four choices: the
writer and the strokes, the pen, the paper (which decides on possible pens), and how it was taken.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

# Ways to write each digit: strokes in a box of width and height 1, y downwards, smooth but at points that stand twice.
# Written down from how people write, and not changed by what a network made of them.
WAYS = {
    0: [
        [[(0.52, 0.02), (0.25, 0.12), (0.08, 0.42), (0.12, 0.78), (0.38, 0.98), (0.7, 0.9), (0.92, 0.6), (0.86, 0.22),
          (0.6, 0.03), (0.44, 0.05)]],
        [[(0.6, 0.06), (0.3, 0.04), (0.06, 0.34), (0.1, 0.72), (0.4, 0.99), (0.78, 0.84), (0.95, 0.46), (0.8, 0.12),
          (0.56, 0.01)]],
        [[(0.7, 0.1), (0.42, 0.0), (0.12, 0.24), (0.06, 0.64), (0.3, 0.97), (0.66, 0.93), (0.9, 0.64), (0.9, 0.3),
          (0.66, 0.06), (0.5, 0.12)]],
    ],
    1: [
        [[(0.2, 0.36), (0.42, 0.18), (0.62, 0.0), (0.62, 0.0), (0.6, 0.5), (0.58, 1.0)]],
        [[(0.56, 0.0), (0.52, 0.36), (0.47, 0.7), (0.44, 1.0)]],
        [[(0.14, 0.4), (0.36, 0.2), (0.58, 0.0), (0.58, 0.0), (0.58, 0.5), (0.58, 0.99)],
         [(0.26, 1.0), (0.58, 0.99), (0.88, 0.98)]],
    ],
    2: [
        [[(0.08, 0.26), (0.22, 0.06), (0.52, 0.0), (0.8, 0.14), (0.78, 0.4), (0.5, 0.68), (0.06, 0.97), (0.06, 0.97),
          (0.4, 0.94), (0.94, 0.96)]],
        [[(0.12, 0.2), (0.38, 0.02), (0.74, 0.08), (0.84, 0.3), (0.66, 0.56), (0.36, 0.82), (0.14, 0.95), (0.1, 0.86),
          (0.28, 0.82), (0.56, 0.94), (0.95, 0.9)]],
        [[(0.04, 0.16), (0.3, 0.02), (0.68, 0.04), (0.86, 0.24), (0.7, 0.5), (0.34, 0.78), (0.02, 1.0), (0.02, 1.0),
          (0.46, 0.99), (0.9, 1.0)]],
    ],
    3: [
        [[(0.12, 0.12), (0.4, 0.0), (0.76, 0.1), (0.78, 0.3), (0.46, 0.46), (0.46, 0.46), (0.82, 0.56), (0.86, 0.8),
          (0.52, 0.99), (0.08, 0.88)]],
        [[(0.16, 0.06), (0.6, 0.02), (0.8, 0.2), (0.6, 0.4), (0.36, 0.47), (0.7, 0.5), (0.9, 0.7), (0.7, 0.95),
          (0.3, 1.0), (0.06, 0.86)]],
        [[(0.1, 0.04), (0.46, 0.03), (0.84, 0.02), (0.84, 0.02), (0.62, 0.22), (0.42, 0.42), (0.42, 0.42),
          (0.74, 0.46), (0.88, 0.72), (0.66, 0.96), (0.3, 1.0), (0.06, 0.9)]],
    ],
    4: [
        [[(0.5, 0.0), (0.28, 0.32), (0.05, 0.64), (0.05, 0.64), (0.5, 0.63), (0.95, 0.6)],
         [(0.68, 0.3), (0.66, 0.64), (0.62, 1.0)]],
        [[(0.2, 0.02), (0.14, 0.28), (0.1, 0.54), (0.1, 0.54), (0.46, 0.55), (0.86, 0.5)],
         [(0.76, 0.04), (0.72, 0.5), (0.7, 1.0)]],
        [[(0.66, 1.0), (0.66, 0.5), (0.66, 0.0), (0.66, 0.0), (0.34, 0.36), (0.04, 0.7), (0.04, 0.7), (0.5, 0.7),
          (0.94, 0.7)]],
    ],
    5: [
        [[(0.3, 0.03), (0.24, 0.24), (0.2, 0.44), (0.2, 0.44), (0.5, 0.36), (0.82, 0.52), (0.82, 0.8), (0.5, 0.98),
          (0.1, 0.9)], [(0.3, 0.04), (0.58, 0.03), (0.88, 0.0)]],
        [[(0.86, 0.0), (0.56, 0.03), (0.28, 0.02), (0.28, 0.02), (0.22, 0.42), (0.22, 0.42), (0.56, 0.38),
          (0.86, 0.58), (0.76, 0.88), (0.42, 1.0), (0.08, 0.86)]],
        [[(0.8, 0.06), (0.5, 0.0), (0.26, 0.1), (0.22, 0.3), (0.4, 0.44), (0.7, 0.58), (0.8, 0.8), (0.58, 0.98),
          (0.2, 0.94)]],
    ],
    6: [
        [[(0.72, 0.0), (0.4, 0.2), (0.16, 0.5), (0.12, 0.8), (0.38, 1.0), (0.74, 0.92), (0.84, 0.7), (0.6, 0.54),
          (0.3, 0.6), (0.14, 0.76)]],
        [[(0.56, 0.0), (0.3, 0.3), (0.14, 0.66), (0.24, 0.94), (0.56, 1.0), (0.82, 0.82), (0.74, 0.58), (0.44, 0.54),
          (0.18, 0.7)]],
        [[(0.84, 0.08), (0.6, 0.0), (0.28, 0.2), (0.1, 0.6), (0.22, 0.94), (0.58, 1.0), (0.86, 0.8), (0.76, 0.56),
          (0.46, 0.5), (0.16, 0.66)]],
    ],
    7: [
        [[(0.06, 0.06), (0.46, 0.05), (0.9, 0.02), (0.9, 0.02), (0.64, 0.42), (0.4, 1.0)],
         [(0.28, 0.52), (0.56, 0.5), (0.82, 0.48)]],
        [[(0.08, 0.1), (0.5, 0.08), (0.88, 0.06), (0.88, 0.06), (0.66, 0.5), (0.46, 1.0)]],
        [[(0.06, 0.2), (0.1, 0.04), (0.1, 0.04), (0.5, 0.08), (0.92, 0.02), (0.92, 0.02), (0.58, 0.44), (0.36, 0.98)],
         [(0.24, 0.56), (0.54, 0.52), (0.8, 0.5)]],
    ],
    8: [
        [[(0.74, 0.14), (0.48, 0.0), (0.22, 0.14), (0.3, 0.36), (0.56, 0.5), (0.8, 0.68), (0.72, 0.92), (0.42, 1.0),
          (0.16, 0.84), (0.26, 0.62), (0.54, 0.46), (0.76, 0.3), (0.74, 0.12)]],
        [[(0.52, 0.46), (0.26, 0.32), (0.3, 0.06), (0.6, 0.0), (0.8, 0.18), (0.64, 0.4), (0.36, 0.54), (0.16, 0.78),
          (0.36, 0.99), (0.7, 0.94), (0.82, 0.7), (0.52, 0.46)]],
        [[(0.5, 0.5), (0.24, 0.34), (0.24, 0.1), (0.5, 0.0), (0.76, 0.1), (0.76, 0.34), (0.5, 0.5), (0.5, 0.5),
          (0.18, 0.66), (0.16, 0.9), (0.5, 1.0), (0.84, 0.9), (0.82, 0.66), (0.5, 0.5)]],
    ],
    9: [
        [[(0.84, 0.18), (0.56, 0.0), (0.2, 0.14), (0.18, 0.42), (0.5, 0.52), (0.8, 0.32), (0.84, 0.16), (0.84, 0.16),
          (0.78, 0.6), (0.64, 1.0)]],
        [[(0.78, 0.24), (0.5, 0.02), (0.18, 0.2), (0.24, 0.48), (0.58, 0.48), (0.8, 0.2), (0.8, 0.2), (0.84, 0.6),
          (0.66, 0.94), (0.26, 0.98)]],
        [[(0.82, 0.2), (0.52, 0.0), (0.16, 0.18), (0.2, 0.46), (0.54, 0.5), (0.8, 0.26), (0.84, 0.08), (0.84, 0.08),
          (0.82, 0.54), (0.8, 1.0)]],
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """Which way each digit is written, and how."""

    ways: str  # of 0 to 9, the index in WAYS
    aspect: float  # width over height, before the slant
    slant: float  # how far the top leans to the right, in heights
    unrest: float  # of the whole digit: how far its parts are out of place, in heights
    shake: float  # of single points
    gap: float  # up to which share of a stroke its end is not drawn: loops stay open


WRITERS = (
    Writer("0000000000", 0.62, 0.08, 0.03, 0.010, 0.02),  # school, Europe
    Writer("1111111111", 0.70, 0.00, 0.04, 0.015, 0.05),
    Writer("2022222222", 0.55, 0.25, 0.05, 0.015, 0.08),  # slanted and quick
    Writer("0212021201", 0.85, -0.06, 0.05, 0.020, 0.05),  # broad, leaning back
    Writer("1120101012", 0.48, 0.15, 0.07, 0.025, 0.10),  # narrow and careless
)


@dataclass(frozen=True)
class Pen:
    """Its ink's colour, its width in shares of a digit's height, and how its line is."""

    colour: tuple[int, int, int]
    width: tuple[float, float]
    pressure: float = 0.15  # how much the width changes along a stroke
    nib: float = 0.0  # how much wider strokes downwards are than across
    grain: float = 0.0  # the share of the ink that rough paper does not take


PENS = {
    "blue ballpen": Pen((32, 48, 140), (0.035, 0.055)),
    "black ballpen": Pen((38, 38, 44), (0.035, 0.055)),
    "red ballpen": Pen((178, 40, 48), (0.04, 0.055)),
    "pencil": Pen((92, 92, 96), (0.035, 0.06), 0.3, grain=0.3),
    "fineliner": Pen((18, 18, 20), (0.045, 0.06), 0.03),
    "felt tip": Pen((26, 28, 38), (0.08, 0.12), 0.08),
    "fountain pen": Pen((20, 28, 84), (0.045, 0.075), 0.2, nib=0.5),
    "marker": Pen((24, 74, 52), (0.09, 0.14), 0.05),
    "chalk": Pen((232, 232, 226), (0.07, 0.11), 0.15, grain=0.35),
    "stylus": Pen((10, 10, 10), (0.05, 0.1), 0.25),
}
ON_PAPER = ("blue ballpen", "black ballpen", "pencil", "fineliner", "felt tip", "fountain pen")
HEIGHT = (90, 230)  # pixels of a digit
SEEN = 0.68  # of the paper's width and height; so a camera that is turned sees nothing beyond the paper


def curve(points, steps: int = 14) -> np.ndarray:
    """Return points along a smooth curve through a stroke, float64 [n, 2]; points that stand twice are corners."""
    parts = [[points[0]]]
    for before, point in zip(points, points[1:], strict=False):
        if point == before:
            parts.append([])
        parts[-1].append(point)
    found = []
    for part in parts:
        knots = np.asarray(part, float)
        ends = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
        t = np.linspace(0, 1, steps)[:, None]
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
            tangent_b, tangent_c = (c - a) / 2, (d - b) / 2
            h = 2 * t**3 - 3 * t**2
            found.append(b * (1 + h) - c * h + tangent_b * (t**3 - 2 * t**2 + t) + tangent_c * (t**3 - t**2))
    return np.concatenate(found)


def written(label: int, writer: Writer, pen: Pen, rng) -> np.ndarray:
    """Return the ink of a digit, float32 [height, width] from 0 to 1."""
    strokes = WAYS[label][int(writer.ways[label])]
    height, turn = rng.uniform(*HEIGHT), np.radians(rng.normal(0, 4))
    aspect, slant = writer.aspect * rng.uniform(0.85, 1.18), writer.slant + rng.normal(0, 0.05)
    warp = rng.normal(0, writer.unrest, (3, 3, 2))  # of the whole digit
    width = height * rng.uniform(*pen.width)
    scale, dots = 3, []
    for stroke in strokes:
        shaken = [tuple(np.add(point, rng.normal(0, writer.shake, 2))) for point in dict.fromkeys(stroke)]
        again = dict(zip(dict.fromkeys(stroke), shaken, strict=True))
        path = curve([again[point] for point in stroke])
        path = path[: round(len(path) * (1 - rng.uniform(0, writer.gap)))]
        weights = np.stack([(1 - path) ** 2, 2 * path * (1 - path), path**2], -1)  # [n, 2, 3], of Bernstein
        path = path + np.einsum("ni,nj,ijk->nk", weights[:, 1], weights[:, 0], warp)
        x, y = aspect * path[:, 0] + slant * (1 - path[:, 1]), path[:, 1]
        x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        along = np.linspace(0, 1, len(x))
        force = 1 + pen.pressure * np.sin(2 * np.pi * (along * rng.uniform(0.5, 1.5) + rng.random()))
        direction = np.abs(np.gradient(y)) / (np.hypot(np.gradient(x), np.gradient(y)) + 1e-9)
        radius = width / 2 * force * (1 - pen.nib * (1 - direction))
        dots.append(np.stack([x * height, y * height, radius.clip(0.6)], 1))
    every = np.concatenate(dots)
    low = every[:, :2].min(0) - every[:, 2].max() - 1
    size = np.ceil(scale * (every[:, :2].max(0) + every[:, 2].max() + 1 - low)).astype(int)
    size += -size % scale
    picture = Image.new("L", tuple(size.tolist()))
    draw = ImageDraw.Draw(picture)
    for stroke in dots:
        at, radius = scale * (stroke[:, :2] - low), scale * stroke[:, 2]
        for (x, y), (u, v), r, s in zip(at, at[1:], radius, radius[1:], strict=False):
            draw.line([(x, y), (u, v)], fill=255, width=max(1, round(r + s)))
            draw.ellipse([u - s, v - s, u + s, v + s], fill=255)
    ink = np.asarray(picture.reduce(scale), np.float32) / 255
    if pen.grain:
        rough = ndimage.gaussian_filter(rng.random(ink.shape, dtype=np.float32), 0.8)
        ink = ink * (1 - pen.grain * ((rough - rough.mean()) / (rough.std() + 1e-6)).clip(0, 2) / 2)
    return ink


def cloudy(rng, height: int, width: int, cells: int) -> np.ndarray:
    """Return soft noise about 0, of standard deviation about 1."""
    small = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


# --------------------------------------------------------------------------------------------------------------- papers


def plain(rng, height, width, colour, grain):
    paper = np.empty((height, width, 3), np.float32)
    paper[:] = colour
    return paper + grain * rng.standard_normal((height, width, 1), dtype=np.float32)


def copy_paper(rng, height, width):
    return plain(rng, height, width, (248, 248, 246), 1.5)


def cream_paper(rng, height, width):
    return plain(rng, height, width, (244, 236, 214), 2) + 2 * cloudy(rng, height, width, 9)[..., None]


def ruled(rng, height, width):
    paper = plain(rng, height, width, (250, 249, 245), 1.5)
    for y in np.arange(rng.uniform(5, 40), height, rng.uniform(46, 80)):
        paper[int(y) : int(y) + 2] -= np.array((78, 52, 26)) * rng.uniform(0.5, 0.9)
    return paper


def squared(rng, height, width):
    paper, step = plain(rng, height, width, (249, 249, 247), 1.5), rng.uniform(26, 44)
    tint = np.array((64, 44, 24)) * rng.uniform(0.4, 0.9)
    for y in np.arange(rng.uniform(2, 20), height, step):
        paper[int(y) : int(y) + 1 + int(step > 34)] -= tint
    for x in np.arange(rng.uniform(2, 20), width, step):
        paper[:, int(x) : int(x) + 1 + int(step > 34)] -= tint
    return paper.clip(120, 255)


def envelope(rng, height, width):
    fibres = cloudy(rng, height, width, 60) + 0.6 * cloudy(rng, height, width, 20)
    return plain(rng, height, width, (188, 152, 106), 4) + 4 * fibres[..., None]


def sticky_note(rng, height, width):
    return plain(rng, height, width, [(250, 236, 120), (255, 190, 205), (180, 232, 190)][rng.integers(3)], 1.5)


def whiteboard(rng, height, width):
    board = plain(rng, height, width, (226, 230, 234), 1) + 3 * cloudy(rng, height, width, 4)[..., None]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    lamp = np.exp(-(((x - rng.random()) / 0.2) ** 2 + ((y - rng.random()) / 0.3) ** 2))
    return board + 22 * lamp[..., None].astype(np.float32)


def blackboard(rng, height, width):
    wiped = cloudy(rng, height, width, 7) + cloudy(rng, height, width, 30) * 0.5
    return plain(rng, height, width, (46, 66, 56), 2) + 6 * wiped.clip(-1, 2)[..., None]


def tablet(rng, height, width):
    return plain(rng, height, width, (255, 255, 255), 0)


PAPERS = {  # with the pens that one takes for it, and how its pictures are taken
    copy_paper: (ON_PAPER, ("scanned", "photographed", "in dim light")),
    cream_paper: (ON_PAPER, ("scanned", "photographed")),
    ruled: ((*ON_PAPER, "red ballpen"), ("scanned", "photographed")),
    squared: (ON_PAPER, ("scanned", "photographed")),
    envelope: (("black ballpen", "felt tip", "fineliner", "marker"), ("photographed", "in dim light")),
    sticky_note: (("blue ballpen", "black ballpen", "felt tip", "fineliner"), ("photographed",)),
    whiteboard: (("marker", "felt tip"), ("photographed",)),
    blackboard: (("chalk",), ("photographed", "in dim light")),
    tablet: (("stylus",), ("as it is",)),
}


# --------------------------------------------------------------------------------------------------------------- camera


def moved(picture: Image.Image, rng, degrees: float, tilt: float) -> Image.Image:
    """Return the part of a picture that a camera sees that is turned and held not quite level."""
    width, height = picture.size
    corners = 0.5 + SEEN / 2 * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) + rng.uniform(-tilt, tilt, (4, 2))
    angle = np.radians(min(max(rng.normal(0, degrees), -2 * degrees), 2 * degrees))
    corners = (corners - 0.5) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + 0.5
    quad = tuple((corners * (width, height)).ravel().tolist())
    size = (round(SEEN * width), round(SEEN * height))
    return picture.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)


def taken(pixels: np.ndarray, how: str, rng) -> tuple[bytes, str]:
    """Return the file of a picture of a paper, float32 [height, width, 3], and its suffix."""
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    if how == "as it is":
        moved(picture, rng, 0.0, 0.0).save(file, "PNG")
        return file.getvalue(), "png"
    if how == "scanned":
        grey = moved(picture, rng, 1.5, 0.0).convert("L").filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
        levels = np.asarray(grey, np.float32) + rng.normal(0, 2, (grey.height, grey.width))
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        return file.getvalue(), "png"
    dim = how == "in dim light"
    picture = moved(picture, rng, 6.0, 0.04).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.4)))
    seen = np.asarray(picture, np.float32)
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0.05, 0.25) * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2
    light *= 1 - rng.uniform(0, 0.15) * (x * x + y * y) / 2
    if dim:  # from a lamp at one side, and the phone's own soft shadow
        light *= rng.uniform(0.45, 0.65)
        edge = (x * np.cos(angle + 1) + y * np.sin(angle + 1) - rng.uniform(-0.4, 0.4)) / rng.uniform(0.3, 0.6)
        light *= 1 - rng.uniform(0.1, 0.3) / (1 + np.exp(-4 * edge))
    seen = seen * light[..., None].astype(np.float32) * np.array((1, rng.uniform(0.93, 1), rng.uniform(0.82, 1)))
    noise = rng.uniform(5, 9) if dim else rng.uniform(2, 5)
    seen += rng.normal(0, noise, (picture.height, picture.width, 1))
    quality = int(rng.integers(65, 93))
    Image.fromarray(seen.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue(), "jpg"


def make(index: int, seed: int = 0) -> tuple[bytes, str]:
    """Return the file of picture number `index`, which shows `index % 10`, and its name."""
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    label = index % 10
    papers = list(PAPERS)
    paper = papers[(index // 10) % len(papers)]
    writer = WRITERS[(index // 10) % len(WRITERS)]
    pens, ways = PAPERS[paper]
    pen_name, how = pens[rng.integers(len(pens))], ways[rng.integers(len(ways))]
    pen = PENS[pen_name]
    ink = written(label, writer, pen, rng)
    side = max(ink.shape) * rng.uniform(1.5, 2.9) / SEEN
    height, width = round(side * rng.uniform(0.9, 1.1)), round(side * rng.uniform(0.8, 1.3))
    width = max(width, round(1.4 * ink.shape[1] / SEEN))
    pixels = paper(rng, height, width)
    free = np.array((height - ink.shape[0], width - ink.shape[1]))
    top, left = (free * (0.5 + rng.uniform(-0.14, 0.14, 2))).astype(int)
    region = pixels[top : top + ink.shape[0], left : left + ink.shape[1]]
    region += ink[..., None] * (np.array(pen.colour, np.float32) + rng.normal(0, 6) - region) * 0.95
    data, suffix = taken(pixels, how, rng)
    words = f"writer {WRITERS.index(writer) + 1} {paper.__name__} {pen_name} {how}".replace(" ", "_")
    return data, f"{index:04d}-{words}.{suffix}"


def write(folder: Path, count: int = 300, seed: int = 0) -> list[Path]:
    """Write `count` pictures into folders of classes; return the files."""
    files = []
    for index in range(count):
        data, name = make(index, seed)
        file = folder / str(index % 10) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        files.append(file)
    return files


def sheet(files: list[Path], side: int = 96) -> Image.Image:
    """Return small copies of all pictures on one, for a person to look at."""
    columns = 20
    whole = Image.new("RGB", (columns * side, -(-len(files) // columns) * side), (90, 90, 90))
    for number, file in enumerate(files):
        small = Image.open(file).convert("RGB")
        small.thumbnail((side - 4, side - 4))
        whole.paste(small, (number % columns * side + 2, number // columns * side + 2))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write small copies of all pictures into one, too")
    given = parser.parse_args()
    if given.folder.is_dir() and any(given.folder.iterdir()):
        parser.error(f"{given.folder}: expected a new or empty folder, it holds other files; choose another one")
    files = write(given.folder, given.count, given.seed)
    if given.sheet:
        sheet(files).save(given.sheet)
    print(f"{len(files)} pictures in {given.folder}")


if __name__ == "__main__":
    main()
