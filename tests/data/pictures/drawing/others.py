"""Kinds of pictures that show no single written digit, and are to be refused.

What a person could read as a digit is left out: see `hands.CAPITALS` for letters; of shapes rings, upright rectangles
and single strokes (0 and 1), of signs those such as &, %, ? and the integral, of halves those that are a digit too.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from drawing import canvas as c
from drawing.canvas import Canvas
from drawing.hands import CAPITALS, SIGNS, SMALL, along, drawn, scaled, smooth
from drawing.registry import NOTHING, kind
from drawing.single import INKS, black, figure, framed, page, paper_for, ruled_by, sheet_on

PLOTS = ("matplotlib",)
LETTERS = "ACEFHKLMNPRUVWX" + "adefhkmnrtuvwx"


def package_file(package: str, path: str) -> str:
    """Return the path of a file in an installed package, which is not imported."""
    return str(Path(importlib.util.find_spec(package).origin).parent / path)


def plots_font(name: str) -> str:
    return package_file("matplotlib", f"mpl-data/fonts/ttf/{name}.ttf")


def presented(rng, mark, photographed=True):
    """Show a mark as digits are shown: drawn, inverted, cut out, on paper, or on a sheet on a desk."""
    how = rng.integers(5 if photographed else 3)
    height, width = mark.shape
    if how < 2:
        canvas = Canvas(width * 1.4 + 60, height * 1.4 + 40, 255 * how)
        canvas.centred(mark, 255 - 255 * how)
        return black(canvas)
    if how == 2:
        canvas = Canvas(width + 6, height + 6)
        canvas.centred(mark, 0)
        return black(canvas)
    sheet = page(rng, width * 1.5 + 80, height * 1.5 + 60)
    sheet.centred(mark, INKS[rng.integers(5)])
    if how == 4:
        draw_desk = c.DESKS[rng.integers(5)]
        sheet.pixels *= np.asarray(paper_for(draw_desk, rng)) / 240
        desk = draw_desk(rng, sheet.width * 1.4, sheet.height * 1.4)
        sheet = sheet.laid_on(desk, c.sheet_corners(rng, desk, sheet.width, sheet.height, rng.uniform(-6, 6)), 0.2)
    sheet.photographed(rng)
    return sheet.saved_as("jpg")


def by_hand(strokes, rng, height=150.0):
    pen = height * rng.uniform(0.05, 0.13)
    return drawn(strokes, height, pen, rng, aspect=rng.uniform(0.6, 0.85), slant=rng.uniform(-0.05, 0.2))


def one_of(rng, things):
    things = list(things)
    return things[rng.integers(len(things))]


# ------------------------------------------------------------------------------------------------------------ letters


@kind(NOTHING)
def capitals_by_hand(write, rng):
    """Capital letters by hand."""
    return presented(rng, by_hand(one_of(rng, CAPITALS.values()), rng))


@kind(NOTHING, apart=True)
def small_letters_by_hand(write, rng):
    """Small letters by hand."""
    return presented(rng, by_hand(one_of(rng, SMALL.values()), rng))


@kind(NOTHING)
def letters_printed(write, rng):
    """Letters in Pillow's own font."""
    return presented(rng, c.lettered(one_of(rng, LETTERS), 150))


@kind(NOTHING, apart=True, needs=PLOTS)
def letters_in_other_fonts(write, rng):
    """Letters with serifs, bold, italic or of a typewriter."""
    names = ("DejaVuSerif", "DejaVuSans-Bold", "STIXGeneralItalic", "DejaVuSansMono", "cmr10", "DejaVuSerif-BoldItalic")
    return presented(rng, c.lettered(one_of(rng, LETTERS), 150, plots_font(one_of(rng, names))))


WORDS = ("hello", "name", "Paper", "menu", "taxi", "What", "never", "tea", "camera", "exam", "Hut", "mark", "Karen")


@kind(NOTHING)
def words_printed(write, rng):
    """A printed word."""
    return presented(rng, c.lettered(one_of(rng, WORDS), 70))


@kind(NOTHING, apart=True)
def words_by_hand(write, rng):
    """A word of three to six letters by hand."""
    pen = rng.uniform(6, 11)
    names = list(SMALL)
    marks = [drawn(SMALL[one_of(rng, names)], 90, pen, rng, aspect=0.65) for _ in range(rng.integers(3, 7))]
    return presented(rng, beside(marks, 14))


def beside(marks, gap):
    height = max(mark.shape[0] for mark in marks)
    parts = []
    for mark in marks:
        parts += [np.pad(mark, ((height - mark.shape[0], 0), (0, 0))), np.zeros((height, gap), np.float32)]
    return np.concatenate(parts[:-1], 1)


@kind(NOTHING, apart=True)
def printed_text(write, rng):
    """Lines of printed text that fill the picture."""
    canvas = Canvas(420, 320, 252)
    words = [
        "the",
        "reader",
        "looks",
        "for",
        "paper",
        "and",
        "then",
        "for",
        "ink",
        "where",
        "there",
        "are",
        "only",
        "words",
    ]

    def paint(draw):
        face = c.font(rng.uniform(15, 26))
        for y in range(12, 300, 34):
            draw.text((14, y), " ".join(rng.permutation(words).tolist()), fill=(20, 20, 20), font=face)

    canvas.draw(paint)
    return black(canvas)


# ---------------------------------------------------------------------------------------------- scribbles, signatures


@kind(NOTHING)
def scribbles(write, rng):
    """A pen that wanders."""
    points = rng.uniform(0, 180, (int(rng.integers(12, 30)), 2))
    return presented(rng, along([smooth(points)], rng.uniform(3, 9)))


@kind(NOTHING)
def zigzags(write, rng):
    """Something was hatched or blotted out to and fro."""
    n = int(rng.integers(9, 22))
    points = np.stack([np.linspace(0, 200, n), np.where(np.arange(n) % 2, 0, rng.uniform(60, 140))], 1)
    return presented(rng, along([points + rng.normal(0, 6, (n, 2))], rng.uniform(4, 10)))


@kind(NOTHING, apart=True)
def signatures(write, rng):
    """A signature: loops from left to right, and a line below."""
    t = np.linspace(0, rng.uniform(4, 8) * 2 * np.pi, 220)
    size = 26 * np.interp(t, np.linspace(0, t[-1], 6), rng.uniform(0.3, 1.5, 6))
    x = 9 * t + size * np.cos(t) * rng.uniform(0.5, 1)
    curves = [np.stack([x, 60 - size * np.sin(t + 0.6)], 1)]
    if rng.random() < 0.6:
        curves.append(smooth([(0, 112), (x.max() / 2, 104), (x.max(), 110)]))
    return presented(rng, along(curves, rng.uniform(2.5, 5)))


@kind(NOTHING, apart=True)
def blots(write, rng):
    """Blots of ink of any outline."""
    field = c.soft_noise(rng, 200, 260, 6)
    y, x = np.mgrid[-1:1:200j, -1:1:260j]
    mark = (4 * (field - 0.25 - 1.5 * (np.maximum(abs(x), abs(y)) ** 4))).clip(0, 1)
    mark = mark if mark.max() > 0.5 else np.pad(np.ones((60, 90), np.float32), 70)
    return presented(rng, mark.astype(np.float32))


# ------------------------------------------------------------------------------------------------------ shapes, signs


def star(points, inner):
    angle = np.arange(2 * points + 1) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points + 1) % 2, inner, 1)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]


def heart():
    t = np.linspace(0, 2 * np.pi, 50)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -y / 16], 1)


OUTLINES = {
    "triangle": lambda: np.array([(0, -1), (1, 0.8), (-1, 0.8), (0, -1)]),
    "square": lambda: np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]),
    "star": lambda: star(5, 0.42),
    "six points": lambda: star(6, 0.55),
    "heart": heart,
    "diamond": lambda: np.array([(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)]),
    "moon": lambda: np.concatenate([arc(0, 0, 1, 0.6, 5.7), arc(0.45, 0, 0.75, 5.5, 0.8)]),
}
ARROWS = {
    "right": [[(-1, 0), (1, 0)], [(0.5, -0.4), (1, 0), (0.5, 0.4)]],
    "both": [[(-1, 0), (1, 0)], [(0.6, -0.35), (1, 0), (0.6, 0.35)], [(-0.6, -0.35), (-1, 0), (-0.6, 0.35)]],
    "down to the right": [[(-0.8, -0.8), (0.8, 0.8)], [(0.8, 0.1), (0.8, 0.8), (0.1, 0.8)]],
    "four": [[(-1, 0), (1, 0)], [(0, -1), (0, 1)], [(0.7, -0.25), (1, 0), (0.7, 0.25)], [(-0.25, -0.7), (0, -1),
             (0.25, -0.7)]],
}  # fmt: skip


def arc(x, y, radius, start, stop):
    t = np.linspace(start, stop, 40)
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], 1)


def outlined(curves, rng, size=80):
    return along([size * np.asarray(curve, float) for curve in curves], rng.uniform(5, 14))


@kind(NOTHING)
def shapes(write, rng):
    """Outlines of triangles, squares, stars, hearts, diamonds and moons."""
    return presented(rng, outlined([one_of(rng, OUTLINES.values())()], rng))


@kind(NOTHING)
def filled_shapes(write, rng):
    """The same, filled."""
    from PIL import ImageDraw

    curve = 90 + 85 * one_of(rng, OUTLINES.values())()
    picture = Image.new("L", (180, 180))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in curve.tolist()], fill=255)
    return presented(rng, np.asarray(picture, np.float32) / 255)


@kind(NOTHING, apart=True)
def arrows(write, rng):
    """Arrows: none upright, as a 1 would be."""
    return presented(rng, outlined(one_of(rng, ARROWS.values()), rng))


@kind(NOTHING)
def smileys(write, rng):
    """A face in a circle."""
    mouth = arc(0, rng.choice([0.05, 0.0]), 0.55, 0.35, np.pi - 0.35)
    eyes = [arc(side * 0.36, -0.3, 0.06, 0, 2 * np.pi) for side in (-1, 1)]
    return presented(rng, outlined([arc(0, 0, 1, 0, 2 * np.pi), mouth, *eyes], rng))


@kind(NOTHING)
def mathematics(write, rng):
    """Signs of mathematics by hand: plus, equals, divided, pi, sum, root, and so on."""
    sign = one_of(rng, SIGNS.values())
    return presented(rng, drawn(sign, 130, 130 * rng.uniform(0.06, 0.12), rng, aspect=rng.uniform(0.8, 1.1)))


@kind(NOTHING, needs=PLOTS)
def mathematics_printed(write, rng):
    """The same and others, printed."""
    return presented(rng, c.lettered(one_of(rng, "+=÷±≠≈≡π∑√∏∈∴∪⊂⇒Δ∇Ω∀∃"), 130, plots_font("DejaVuSans")))


@kind(NOTHING, apart=True, needs=PLOTS)
def music(write, rng):
    """Notes and other signs of music, single and on staves."""
    if rng.random() < 0.5:
        return presented(rng, c.lettered(one_of(rng, "♫♬♮♯♩♪"), 150, plots_font("DejaVuSans")))
    canvas = Canvas(420, 220, 252)

    def paint(draw):
        for i in range(5):
            draw.line([(10, 60 + 22 * i), (410, 60 + 22 * i)], fill=(30, 30, 30), width=2)
        for i in range(int(rng.integers(2, 7))):
            x, y = 60 + 55 * i, 60 + 11 * int(rng.integers(0, 9))
            draw.ellipse([x, y - 9, x + 26, y + 9], fill=(10, 10, 10))
            draw.line([(x + 25, y), (x + 25, y - 70)], fill=(10, 10, 10), width=4)

    canvas.draw(paint)
    return black(canvas)


# --------------------------------------------------------------------------------- textures, areas, scenes with no ink


@kind(NOTHING)
def uniform(write, rng):
    """One colour, with some noise at times."""
    canvas = Canvas(*rng.integers(28, 500, 2), rng.uniform(0, 255, 3))
    canvas.photographed(rng, 0, rng.choice([0.0, 0.0, 2.0, 8.0]))
    return canvas.saved_as("png")


@kind(NOTHING)
def noise(write, rng):
    """Noise of one scale."""
    height, width = (int(v) for v in rng.integers(60, 300, 2))
    canvas = Canvas(width, height, 127)
    cells = rng.choice([5, 10, 20, 60, max(height, width)])
    canvas.pixels += 60 * c.soft_noise(rng, height, width, cells)[..., None]
    return black(canvas)


@kind(NOTHING)
def stripes(write, rng):
    """Five stripes or more, in any direction."""
    y, x = np.mgrid[-1:1:240j, -1:1:240j]
    angle, count = rng.uniform(0, np.pi), rng.uniform(6, 30)
    wave = np.sin(count * np.pi * (x * np.cos(angle) + y * np.sin(angle)))
    canvas = Canvas(240, 240, 128)
    canvas.pixels += (rng.uniform(60, 127) * (np.sign(wave) if rng.random() < 0.5 else wave))[..., None]
    return black(canvas)


@kind(NOTHING, apart=True)
def checkers(write, rng):
    """A chessboard of 3 to 12 fields a side."""
    n = int(rng.integers(3, 13))
    field = np.indices((n, n)).sum(0) % 2
    size = 240 // n
    canvas = Canvas(n * size, n * size)
    canvas.pixels[:] = np.kron(field, np.ones((size, size)))[..., None] * rng.uniform(80, 255)
    return black(canvas)


@kind(NOTHING)
def desks(write, rng):
    """A desk with nothing on it."""
    desk = one_of(rng, c.DESKS)(rng, 480, 360)
    desk.lit(c.slope(rng, 0.3))
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(NOTHING, apart=True)
def other_desks(write, rng):
    """Checked cloth, marble, planks or a rug with nothing on it."""
    desk = one_of(rng, c.OTHER_DESKS)(rng, 480, 360)
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(NOTHING)
def empty_sheets(write, rng):
    """A sheet on a desk, with nothing on it."""
    nothing = Blank()
    return sheet_on(nothing, None, rng, rng.uniform(0.3, 0.9), c.DESKS)


class Blank:
    """Writes nothing."""

    def __call__(self, label, height, pen=None):
        return np.zeros((round(height), round(0.6 * height)), np.float32)

    def image(self, label, height, crisp=1.0):
        return self(label, height)


@kind(NOTHING)
def empty_ruled(write, rng):
    """Ruled or squared paper with nothing on it."""
    canvas = page(rng, 480, 360)
    ruled_by(canvas, rng, rng.uniform(24, 70), (140, 160, 195), int(rng.integers(1, 3)), rng.random() < 0.5)
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(NOTHING, apart=True)
def empty_frames(write, rng):
    """A figure with axes around an empty image, or a frame of one or two lines around nothing."""
    blank = Blank()
    if rng.random() < 0.5:
        return framed(blank, None, rng, int(rng.integers(1, 3)))
    return figure(blank, None, rng, light_on_dark=rng.random() < 0.5)


@kind(NOTHING)
def gradients(write, rng):
    """Light that changes from one side to the other, and shadows, on nothing but paper."""
    canvas = page(rng, 400, 300)
    shade = one_of(rng, (c.slope, c.vignette, c.lamp, c.edge_shadow))
    canvas.lit(shade(rng, rng.uniform(0.3, 0.8)))
    canvas.photographed(rng, 0.6, 2)
    return canvas.saved_as("jpg")


@kind(NOTHING, apart=True)
def hand_shadows(write, rng):
    """The shadow of a hand on paper with nothing on it."""
    canvas = page(rng, 400, 300)
    canvas.lit(c.hand_shadow(rng, rng.uniform(0.3, 0.7)))
    canvas.photographed(rng, 0.6, 2)
    return canvas.saved_as("jpg")


@kind(NOTHING)
def bar_codes(write, rng):
    """Bars of different widths."""
    canvas = Canvas(320, 180)
    x = 30
    while x < 290:
        width = int(rng.integers(1, 5)) * 2
        canvas.pixels[25:155, x : x + width] = 0
        x += width + int(rng.integers(1, 5)) * 2
    return black(canvas)


# -------------------------------------------------------------------------------------------------- icons, photographs

ICONS = ("home", "filesave", "back", "forward", "zoom_to_rect", "subplots", "move", "qt4_editor_options")


@cache
def picture_of(path: str) -> Image.Image:
    picture = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB")


@kind(NOTHING, needs=PLOTS)
def icons(write, rng):
    """Icons of a toolbar, small and large."""
    name = one_of(rng, ICONS)
    picture = picture_of(package_file("matplotlib", f"mpl-data/images/{name}_large.png"))
    size = int(rng.integers(40, 200))
    canvas = Canvas(size, size)
    canvas.pixels = np.array(picture.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    return canvas.saved_as("png")


@kind(NOTHING, needs=("matplotlib", "ipykernel"))
def logos(write, rng):
    """Programs' logos, on white or as grey levels."""
    files = (("matplotlib", "mpl-data/images/matplotlib_large.png"), ("matplotlib", "mpl-data/sample_data/logo2.png"))
    files += (("ipykernel", "resources/logo-64x64.png"),)
    picture = picture_of(package_file(*one_of(rng, files)))
    height = int(rng.integers(48, 200))
    size = round(height * picture.width / picture.height), height
    canvas = Canvas(*size)
    canvas.pixels = np.array(picture.resize(size, Image.Resampling.BICUBIC), np.float32)
    return black(canvas) if rng.random() < 0.5 else canvas.saved_as("png")


def crop_of(path, rng, low, high):
    picture = picture_of(path)
    side = round(min(picture.size) * rng.uniform(low, high))
    x, y = (int(rng.integers(0, room - side + 1)) for room in picture.size)
    out = int(rng.integers(60, 400))
    canvas = Canvas(out, out)
    canvas.pixels = np.array(picture.resize((out, out), box=(x, y, x + side, y + side)), np.float32)
    return canvas.saved_as("jpg")


@kind(NOTHING, needs=("sklearn",))
def photographs(write, rng):
    """Parts of photographs of a temple and of a flower."""
    name = ("china", "flower")[rng.integers(2)]
    return crop_of(package_file("sklearn", f"datasets/images/{name}.jpg"), rng, 0.25, 1)


@kind(NOTHING, apart=True, needs=PLOTS)
def portraits(write, rng):
    """Parts of the photograph of a person."""
    return crop_of(package_file("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"), rng, 0.2, 1)


@kind(NOTHING, apart=True, needs=("sklearn",))
def small_details(write, rng):
    """Small details of photographs."""
    name = ("china", "flower")[rng.integers(2)]
    return crop_of(package_file("sklearn", f"datasets/images/{name}.jpg"), rng, 0.06, 0.2)


# ------------------------------------------------------------------------------------------------ digits that are none


@kind(NOTHING)
def two_over_each_other(write, rng):
    """Two digits of different classes over each other."""
    first, second = rng.choice([0, 2, 3, 4, 5, 6, 8, 9], 2, replace=False)
    marks = [write.by_hand(int(label), 150, 150 * rng.uniform(0.07, 0.11)) for label in (first, second)]
    width = max(mark.shape[1] for mark in marks)
    both = np.zeros((150, width + 30), np.float32)
    for mark, x in zip(marks, rng.permutation([0, 30]), strict=True):
        mark = scaled(mark, 150)
        both[:, x : x + mark.shape[1]] = np.maximum(both[:, x : x + mark.shape[1]], mark[:, : both.shape[1] - x])
    return presented(rng, both)


@kind(NOTHING)
def joined(write, rng):
    """Two or three digits in a row that touch, or nearly do."""
    marks = []
    for label in rng.choice([2, 3, 4, 5, 6, 8, 9, 0], int(rng.integers(2, 4))):
        marks.append(scaled(write(int(label), 120), 120))
    overlap = 8
    width = sum(mark.shape[1] for mark in marks) - overlap * (len(marks) - 1)
    row, x = np.zeros((120, width), np.float32), 0
    for mark in marks:
        place = row[:, x : x + mark.shape[1]]
        np.maximum(place, mark, out=place)
        x += mark.shape[1] - overlap
    return presented(rng, row)


# Halves that are no digit themselves: of each digit, the sides that may stay.
HALVES = ((0, "top"), (0, "bottom"), (2, "bottom"), (3, "left"), (4, "top"), (5, "top"), (8, "left"))


@kind(NOTHING, apart=True)
def halves(write, rng):
    """Half a digit: the rest lies beyond the picture."""
    label, side = HALVES[rng.integers(len(HALVES))]
    mark = write.by_hand(label, 200, rng.uniform(12, 22))
    height, width = mark.shape
    part = {
        "top": (slice(0, round(0.42 * height)), slice(None)),
        "bottom": (slice(round(0.58 * height), None), slice(None)),
        "left": (slice(None), slice(0, round(0.48 * width))),
    }[side]
    mark = mark[part]
    canvas = Canvas(mark.shape[1] + 80, mark.shape[0] + 80)
    x = 80 if side == "left" else 40
    y = {"top": 80, "bottom": 0, "left": 40}[side]
    canvas.write(mark, x, y, 0)
    return black(canvas)


@kind(NOTHING, apart=True)
def crossed_out(write, rng):
    """A digit that was crossed out thoroughly."""
    mark = np.pad(scaled(write.by_hand(int(rng.integers(2, 10)), 150, 10), 150), 20)
    height, width = mark.shape
    n = int(rng.integers(7, 12))
    points = np.stack([np.linspace(4, width - 8, n), np.where(np.arange(n) % 2, 12, height - 20)], 1)
    cross = along([points + rng.normal(0, 4, (n, 2))], 9)
    cross = scaled(cross, height, width)
    return presented(rng, np.maximum(mark, cross).astype(np.float32))


@kind(NOTHING, apart=True)
def many_digits(write, rng):
    """A page of dozens of small digits."""
    canvas = Canvas(420, 420)
    for y in range(14, 400, 44):
        for x in range(14, 400, 40):
            mark = write.image(int(rng.integers(10)), 28)
            canvas.write(mark, x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), 0)
    return black(canvas)
