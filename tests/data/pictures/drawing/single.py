"""Kinds of pictures of one digit."""

import numpy as np
from PIL import ImageFilter

from drawing import canvas as c
from drawing.canvas import Canvas
from drawing.hands import DIGITS, drawn, scaled
from drawing.registry import DIGIT, kind

# The widest pen, in shares of the height, with which a digit keeps its holes.
WIDEST = {0: 0.32, 1: 0.4, 2: 0.24, 3: 0.2, 4: 0.22, 5: 0.2, 6: 0.19, 7: 0.34, 8: 0.16, 9: 0.19}
INKS = ((20, 25, 35), (25, 40, 130), (120, 20, 30), (15, 80, 50), (60, 60, 65))


def ink(rng):
    return INKS[rng.integers(len(INKS))]


def black(canvas, suffix="png", quality=85):
    """Return the canvas, to be saved with grey levels alone."""
    return canvas.saved_as(suffix, quality, grey=True)


# ---------------------------------------------------------------------------------------- drawings without any paper


@kind(DIGIT)
def black_on_white(write, label, rng):
    """Black on white with a margin, as a drawing program saves it."""
    canvas = Canvas(280, 280)
    canvas.centred(write.image(label, 200, 1), 0, label)
    return black(canvas)


@kind(DIGIT)
def white_on_black(write, label, rng):
    """White on black with a margin."""
    canvas = Canvas(280, 280, 0)
    canvas.centred(write(label, 200), 255, label)
    return black(canvas)


@kind(DIGIT)
def by_hand(write, label, rng):
    """Strokes with a mouse, anywhere on a large white area."""
    canvas = Canvas(400, 300)
    height = rng.uniform(90, 200)
    mark = write.by_hand(label, height, rng.uniform(5, 20))
    canvas.write(mark, rng.uniform(15, 385 - mark.shape[1]), rng.uniform(15, 285 - height), 0, label)
    return black(canvas)


@kind(DIGIT)
def thick_pen(write, label, rng):
    """A pen as wide as the digit's holes allow, to 40% of the height of a 1."""
    canvas = Canvas(240, 240)
    canvas.centred(fat(label, 170, rng, 0.75, 1), 0, label)
    return black(canvas)


def fat(label, height, rng, low, high):
    """Return a mark by a pen that is this part of the widest one; hands with a bar, a serif or a loop are left out."""
    hand = DIGITS[label][rng.integers(1 if label in (2, 7) else 2)]
    pen = WIDEST[label] * rng.uniform(low, high)
    return drawn(hand, height, height * pen, rng, aspect=0.75 + pen)


@kind(DIGIT)
def thin_pen(write, label, rng):
    """A hairline: 1/80 to 1/40 of the height."""
    canvas = Canvas(420, 420)
    height = rng.uniform(200, 340)
    canvas.centred(write.by_hand(label, height, height / rng.uniform(40, 80)), 0, label)
    return black(canvas)


@kind(DIGIT)
def cut_0(write, label, rng):
    """Cut out closely, without any margin."""
    return cut(write(label, 200), label, 0)


@kind(DIGIT)
def cut_2(write, label, rng):
    """Cut out with a margin of 2% of the height."""
    return cut(write(label, 200), label, 4)


@kind(DIGIT)
def cut_5(write, label, rng):
    """Cut out with a margin of 5% of the height, half of them white on black."""
    return cut(write(label, 200), label, 10, rng.random() < 0.5)


@kind(DIGIT)
def cut_10(write, label, rng):
    """Cut out with a margin of 10% of the height."""
    return cut(write(label, 120), label, 12)


def cut(mark, label, margin, light=False):
    height, width = mark.shape
    canvas = Canvas(width + 2 * margin, height + 2 * margin, 0 if light else 255)
    canvas.write(mark, margin, margin, 255 if light else 0, label)
    return black(canvas)


@kind(DIGIT, apart=True)
def cut_unevenly(write, label, rng):
    """Cut with another margin on each side, two of them none; coloured ink."""
    mark = write(label, rng.uniform(60, 260))
    height, width = mark.shape
    margins = rng.permutation([0.0, 0.0, rng.uniform(0.02, 0.1), rng.uniform(0.05, 0.25)]) * height
    canvas = Canvas(width + margins[0] + margins[1], height + margins[2] + margins[3], (250, 250, 248))
    canvas.write(mark, min(margins[0], canvas.width - width), min(margins[2], canvas.height - height), ink(rng), label)
    return canvas.saved_as("png")


@kind(DIGIT)
def thick_and_cut(write, label, rng):
    """A thick pen, cut out with a margin of 0 to 3%, white on black."""
    return cut(fat(label, 180, rng, 0.6, 0.95), label, int(rng.integers(0, 6)), light=True)


@kind(DIGIT, apart=True)
def cut_from_a_photograph(write, label, rng):
    """A photograph of paper, cut closely around the digit."""
    mark = write(label, 180)
    height, width = mark.shape
    margin = rng.uniform(3, 14, 2)
    canvas = Canvas(width + 2 * margin[0], height + 2 * margin[1], rng.uniform(150, 225, 1) * (1, 0.98, 0.93))
    canvas.write(mark, *margin, ink(rng), label)
    canvas.lit(c.slope(rng, rng.uniform(0.1, 0.45)))
    canvas.photographed(rng, 1.2, 5, 4)
    return canvas.saved_as("jpg", 80)


@kind(DIGIT)
def stretched_28(write, label, rng):
    """Its bounding box stretched to 28 by 28, light on dark, as some scripts prepare it."""
    return stretched(write.image(label, 140) if label != 1 else lying(write, rng), label, 28, True)


@kind(DIGIT)
def stretched_square(write, label, rng):
    """Its bounding box stretched to a larger square, dark on light."""
    return stretched(write(label, 150) if label != 1 else lying(write, rng), label, int(rng.integers(48, 257)), False)


def lying(write, rng):
    """A 1 that is still one when it is stretched: with a flag or a slant."""
    return drawn(DIGITS[1][rng.integers(1, 4)], 140, rng.uniform(8, 18), rng, aspect=0.7)


def stretched(mark, label, side, light):
    canvas = Canvas(side, side, 0 if light else 255)
    canvas.write(scaled(mark, side, side), 0, 0, 255 if light else 0, label)
    return black(canvas)


@kind(DIGIT)
def jpeg_5(write, label, rng):
    """A drawing saved as JPEG of quality 5."""
    canvas = Canvas(200, 200)
    canvas.centred(write(label, 130), 0, label)
    return black(canvas, "jpg", 5)


@kind(DIGIT)
def coloured(write, label, rng):
    """Coloured ink on coloured paper, dark on light or light on dark."""
    canvas = Canvas(300, 260)
    paper, pen = COLOURS[rng.integers(len(COLOURS))]
    canvas.pixels[:] = paper
    canvas.centred(write(label, 150), pen, label, rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.55))
    return canvas.saved_as("png")


COLOURS = (  # of paper and ink
    *(((255, 240, 120), (180, 20, 40)), ((190, 230, 200), (20, 60, 140)), ((250, 200, 210), (30, 90, 60))),
    *(((30, 60, 120), (255, 240, 150)), ((20, 80, 60), (250, 210, 220)), ((90, 20, 60), (255, 190, 90))),
)


@kind(DIGIT, apart=True)
def equally_bright(write, label, rng):
    """Ink and paper that differ more in colour than in brightness."""
    canvas = Canvas(260, 300)
    paper, pen = PALE[rng.integers(len(PALE))]
    canvas.pixels[:] = paper
    canvas.centred(write(label, 170), pen, label)
    return canvas.saved_as("png")


PALE = (((255, 200, 190), (200, 60, 110)), ((180, 225, 255), (50, 120, 200)), ((215, 245, 160), (190, 100, 30)))


@kind(DIGIT)
def small_in_big(write, label, rng):
    """A tenth of the picture's height, anywhere."""
    canvas = Canvas(640, 480)
    mark = write(label, 48, rng.uniform(4, 7)) if rng.random() < 0.4 else write.image(label, 48)
    canvas.write(mark, rng.uniform(30, 560), rng.uniform(30, 400), 0, label)
    return black(canvas)


# --------------------------------------------------------------------------------- paper that fills the photograph


def page(rng, width=640, height=480):
    """Return bright paper with a little grain."""
    canvas = Canvas(width, height, rng.uniform(205, 240) * np.array([1, rng.uniform(0.97, 1), rng.uniform(0.9, 1)]))
    canvas.grain(rng, 1.5)
    return canvas


def placed(canvas, write, label, rng, low=0.25, high=0.6, colour=None, pen=None):
    """Write the digit with a height of this share of the canvas, somewhere about the middle."""
    mark = write(label, canvas.height * rng.uniform(low, high), pen)
    widest = 0.62 * canvas.width
    if mark.shape[1] > widest:
        mark = scaled(mark, mark.shape[0] * widest / mark.shape[1])
    x, y = 0.5 + rng.uniform(-0.12, 0.12, 2)
    canvas.centred(mark, ink(rng) if colour is None else colour, label, x, y)
    return canvas


@kind(DIGIT)
def paper(write, label, rng):
    """A photograph of nothing but paper, lit from one side."""
    canvas = placed(page(rng), write, label, rng)
    canvas.lit(c.slope(rng, 0.4))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def pencil(write, label, rng):
    """Pencil: 35 to 60 levels darker than the paper, with its grain."""
    canvas = page(rng)
    mark = write.by_hand(label, rng.uniform(180, 280), rng.uniform(5, 10))
    mark = mark * (0.8 + 0.2 * rng.standard_normal(mark.shape, dtype=np.float32)).clip(0, 1)
    level = canvas.pixels.mean() - rng.uniform(40, 70)
    canvas.centred(mark, level, label)
    canvas.photographed(rng, 0.6, 2)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def phone_noise(write, label, rng):
    """Little light: strong noise, also of the colours, and a blur."""
    canvas = placed(page(rng), write, label, rng, 0.35, 0.6)
    canvas.lit(0.6 * c.slope(rng, 0.4))
    canvas.photographed(rng, 1.5, 16, 14)
    return canvas.saved_as("jpg", 60)


@kind(DIGIT, apart=True)
def shaken(write, label, rng):
    """Blurred by a movement of the hand."""
    canvas = placed(page(rng), write, label, rng, 0.45, 0.7)
    length, angle = int(rng.integers(9, 17)), rng.uniform(0, np.pi)
    moved = np.zeros_like(canvas.pixels)
    for t in np.linspace(-0.5, 0.5, length):
        shift = round(t * length * np.sin(angle)), round(t * length * np.cos(angle))
        moved += np.roll(canvas.pixels, shift, (0, 1))
    canvas.pixels = moved / length
    canvas.photographed(rng, 0, 5, 4)
    return canvas.saved_as("jpg", 80)


@kind(DIGIT, apart=True, slow=True)
def twelve_megapixels(write, label, rng):
    """A photograph of a desk as a phone saves it, 4032 by 3024."""
    desk = c.cloth(rng, 1344, 1008)
    sheet = placed(page(rng, 700, 500), write, label, rng, 0.4, 0.6)
    sheet.laid_on(desk, c.sheet_corners(rng, desk, 700, 500, rng.uniform(-8, 8), 0.02, 0.5))
    whole = desk.enlarged(3)
    whole.photographed(rng, 0, 8)
    return whole.saved_as("jpg", 80)


@kind(DIGIT, apart=True)
def small_in_a_photograph(write, label, rng):
    """A digit of a tenth of the height on a page with light from the side, far from its middle."""
    canvas = page(rng, 800, 600)
    mark = write(label, 60, rng.uniform(6, 9)) if rng.random() < 0.4 else write.image(label, 60)
    x = rng.choice([rng.uniform(60, 250), rng.uniform(500, 680)])
    canvas.write(mark, x, rng.uniform(60, 460), ink(rng), label)
    canvas.lit(c.slope(rng, 0.5))
    canvas.photographed(rng, 0.5, 3, 2)
    return canvas.saved_as("jpg", 88)


@kind(DIGIT)
def shadow_edge(write, label, rng):
    """Half of the paper lies in a shadow."""
    canvas = placed(page(rng), write, label, rng)
    canvas.lit(c.edge_shadow(rng, rng.uniform(0.3, 0.55)))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def vignette(write, label, rng):
    """The corners are dark."""
    canvas = placed(page(rng), write, label, rng)
    canvas.lit(c.vignette(rng, rng.uniform(0.6, 0.9)))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def shadow_of_a_hand(write, label, rng):
    """The shadow of a hand with fingers lies on the paper."""
    canvas = placed(page(rng), write, label, rng)
    canvas.lit(c.hand_shadow(rng, rng.uniform(0.25, 0.5)))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT, apart=True)
def lamp(write, label, rng):
    """A lamp makes a bright spot; the rest is a third as bright."""
    canvas = placed(page(rng), write, label, rng)
    canvas.lit(c.lamp(rng, rng.uniform(0.6, 0.75)))
    canvas.photographed(rng, 0.6, 3, 2)
    return canvas.saved_as("jpg")


# -------------------------------------------------------------------------------------------------------- ruled paper


def ruled_by(canvas, rng, step, colour, width=1, across=False):
    """Draw lines at this distance, not quite level, and the same across."""
    slant = rng.uniform(-0.012, 0.012)

    def paint(draw):
        for y in np.arange(rng.uniform(0, step), canvas.height * 1.1, step):
            draw.line([(0, y), (canvas.width, y + slant * canvas.width)], fill=colour, width=width)
        if across:
            for x in np.arange(rng.uniform(0, step), canvas.width * 1.1, step):
                draw.line([(x, 0), (x - slant * canvas.height, canvas.height)], fill=colour, width=width)

    canvas.draw(paint)


@kind(DIGIT)
def ruled(write, label, rng):
    """Ruled paper, a digit of two to four lines."""
    canvas = page(rng)
    ruled_by(canvas, rng, rng.uniform(45, 75), (150, 170, 200), 2)
    placed(canvas, write, label, rng, 0.3, 0.45)
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def squared(write, label, rng):
    """Squared paper in a light colour."""
    canvas = page(rng)
    ruled_by(canvas, rng, rng.uniform(24, 40), (160, 175, 200), 1, across=True)
    placed(canvas, write, label, rng, 0.3, 0.5)
    canvas.photographed(rng, 0.5, 2)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def ruled_with_margin(write, label, rng):
    """Ruled paper with a red margin line, the digit to the right of it."""
    canvas = page(rng)
    ruled_by(canvas, rng, rng.uniform(45, 75), (150, 170, 200), 2)
    x = rng.uniform(60, 120)
    canvas.draw(lambda draw: draw.line([(x, 0), (x + 4, 480)], fill=(205, 70, 80), width=2))
    mark = write(label, rng.uniform(150, 230))
    canvas.centred(mark, ink(rng), label, rng.uniform(0.5, 0.75))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def squared_as_dark_as_the_pen(write, label, rng):
    """A scan of squared paper whose thin lines are as dark as the pen."""
    canvas = Canvas(480, 480, 250)
    ruled_by(canvas, rng, rng.uniform(36, 56), 30, 1, across=True)
    mark = write.by_hand(label, rng.uniform(180, 280), rng.uniform(12, 22))
    canvas.centred(mark, 25, label)
    return black(canvas)


@kind(DIGIT, apart=True)
def yellow_pad(write, label, rng):
    """A yellow pad with blue lines and a double red margin line, seen from the side."""
    sheet = Canvas(460, 600, (248, 232, 140))
    ruled_by(sheet, rng, 40, (120, 150, 190), 2)
    for x in (60, 66):
        sheet.draw(lambda draw, x=x: draw.line([(x, 0), (x, 600)], fill=(210, 90, 90), width=2))
    sheet.centred(write(label, rng.uniform(150, 240)), ink(rng), label, 0.58, rng.uniform(0.35, 0.65))
    desk = c.dark(rng, 600, 760)
    sheet.laid_on(desk, c.sheet_corners(rng, desk, 460, 600, rng.uniform(-5, 5), 0.05, 0.5), 0.3)
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(DIGIT, apart=True)
def dotted_notebook(write, label, rng):
    """Paper with a grid of dots."""
    canvas = page(rng)
    step = rng.uniform(22, 34)
    size = 1.5

    def paint(draw):
        for y in np.arange(step / 2, 480, step):
            for x in np.arange(step / 2, 640, step):
                draw.ellipse([x - size, y - size, x + size, y + size], fill=(120, 125, 135))

    canvas.draw(paint)
    placed(canvas, write, label, rng, 0.3, 0.5)
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


# ----------------------------------------------------------------------------------------------------------- a sheet


def sheet_on(write, label, rng, share, desks, turn=7.0):
    """A sheet whose sides are this share of the picture's, on one of the desks."""
    size = ((640, 480), (480, 640), (600, 600))[rng.integers(3)]
    draw_desk = desks[rng.integers(len(desks))]
    desk = draw_desk(rng, *size)
    sheet = Canvas(size[0] * share, size[1] * share, paper_for(draw_desk, rng))
    sheet.grain(rng, 1.5)
    placed(sheet, write, label, rng, 0.4, 0.65)
    turn = min(turn, 60 * (1 - share) + 0.5)
    corners = c.sheet_corners(rng, desk, sheet.width, sheet.height, rng.uniform(-turn, turn), 0.0, 0.6)
    sheet.laid_on(desk, corners, rng.uniform(0, 0.3))
    desk.lit(c.slope(rng, rng.uniform(0, 0.3)))
    desk.photographed(rng, 0.5, 3, 1)
    return desk.saved_as("jpg")


def paper_for(draw_desk, rng):
    """Return a colour of paper that stands out from the desk: white, but grey or yellow on a white one."""
    if draw_desk in (c.light, c.checked):
        return np.array([(188, 188, 185), (238, 222, 140), (150, 190, 215)][rng.integers(3)], np.float32)
    return rng.uniform(222, 242) * np.array([1, 0.99, 0.96])


@kind(DIGIT)
def sheet_30(write, label, rng):
    """A sheet of 30% of the side on a desk."""
    return sheet_on(write, label, rng, 0.3, c.DESKS)


@kind(DIGIT)
def sheet_40(write, label, rng):
    """A sheet of 40% of the side on a desk."""
    return sheet_on(write, label, rng, 0.4, c.DESKS)


@kind(DIGIT)
def sheet_50(write, label, rng):
    """A sheet of 50% of the side on a desk."""
    return sheet_on(write, label, rng, 0.5, c.DESKS)


@kind(DIGIT)
def sheet_60(write, label, rng):
    """A sheet of 60% of the side on a desk."""
    return sheet_on(write, label, rng, 0.6, c.DESKS)


@kind(DIGIT)
def sheet_80(write, label, rng):
    """A sheet of 80% of the side on a desk."""
    return sheet_on(write, label, rng, 0.8, c.DESKS)


@kind(DIGIT)
def sheet_95(write, label, rng):
    """A sheet of 95% of the side on a desk."""
    return sheet_on(write, label, rng, 0.95, c.DESKS)


@kind(DIGIT, apart=True)
def small_sheet_elsewhere(write, label, rng):
    """A sheet of 30 to 45% on a checked cloth, marble, planks or a rug."""
    return sheet_on(write, label, rng, rng.uniform(0.3, 0.45), c.OTHER_DESKS, 12)


@kind(DIGIT)
def sheet_elsewhere(write, label, rng):
    """A sheet of 55 to 75% on a checked cloth, marble, planks or a rug."""
    return sheet_on(write, label, rng, rng.uniform(0.55, 0.75), c.OTHER_DESKS, 12)


@kind(DIGIT)
def large_sheet_elsewhere(write, label, rng):
    """A sheet of 85 to 92% on a checked cloth, marble, planks or a rug."""
    return sheet_on(write, label, rng, rng.uniform(0.85, 0.92), c.OTHER_DESKS, 12)


@kind(DIGIT)
def sheet_half_in_the_picture(write, label, rng):
    """A sheet that reaches beyond one or two sides of the picture."""
    desk = c.DESKS[rng.integers(5)]
    around = desk(rng, 640, 480)
    sheet = Canvas(560, 420, paper_for(desk, rng))
    sheet.centred(write(label, rng.uniform(150, 220)), ink(rng), label)
    corners = c.sheet_corners(rng, around, 560, 420, rng.uniform(-8, 8))
    away = np.array([(-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (-1, 1)][rng.integers(6)]) * rng.uniform(0.25, 1.0)
    sheet.laid_on(around, corners + away * (120, 90), 0.2)
    around.photographed(rng)
    return around.saved_as("jpg")


@kind(DIGIT, apart=True)
def note_on_a_page(write, label, rng):
    """A coloured note on a larger white page on a desk: two sheets, one in the other."""
    desk = c.DESKS[rng.choice([0, 2, 3, 4])](rng, 720, 540)
    sheet = Canvas(600, 450, rng.uniform(225, 242))
    sheet.grain(rng, 1.5)
    side = rng.uniform(220, 300)
    note = Canvas(
        side, side * rng.uniform(0.75, 1), [(250, 232, 120), (170, 210, 240), (245, 180, 190)][rng.integers(3)]
    )
    placed(note, write, label, rng, 0.5, 0.68)
    note.laid_on(sheet, c.sheet_corners(rng, sheet, note.width, note.height, rng.uniform(-8, 8), 0, 0.6), 0.15)
    sheet.laid_on(desk, c.sheet_corners(rng, desk, 600, 450, rng.uniform(-4, 4), 0, 0.5), 0.2)
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(DIGIT, apart=True)
def white_on_white(write, label, rng):
    """A white sheet on a white table: its edges are faint, its shadow is soft."""
    table = rng.uniform(195, 235)
    desk = Canvas(640, 480, table)
    desk.grain(rng, 2, 10)
    sheet = Canvas(640 * rng.uniform(0.4, 0.75), 480 * rng.uniform(0.5, 0.8), table + rng.uniform(10, 18))
    placed(sheet, write, label, rng, 0.45, 0.65)
    sheet.laid_on(desk, c.sheet_corners(rng, desk, sheet.width, sheet.height, rng.uniform(-8, 8), 0, 0.6), 0.25)
    desk.lit(c.slope(rng, 0.2))
    desk.photographed(rng, 0.6, 2.5)
    return desk.saved_as("jpg")


@kind(DIGIT, apart=True)
def whiteboard(write, label, rng):
    """A whiteboard with glare, its grey frame on two sides, a marker in a bright colour."""
    canvas = Canvas(700, 500, (224, 227, 230))
    marker = [(200, 30, 40), (30, 60, 190), (20, 130, 60), (30, 30, 35)][rng.integers(4)]
    height = rng.uniform(180, 290)
    mark = write.by_hand(label, height, height * rng.uniform(0.04, 0.08))
    canvas.centred(mark, marker, label, rng.uniform(0.4, 0.6), rng.uniform(0.45, 0.55))
    canvas.pixels[: int(rng.integers(18, 40))] = (140, 142, 146)
    canvas.pixels[:, -int(rng.integers(18, 40)) :] = (125, 128, 132)
    y, x = np.mgrid[-1:1:50j, -1:1:70j]
    glare = np.exp(-8 * ((x - rng.uniform(-1, 1)) ** 2 + (y + rng.uniform(0.4, 1)) ** 2))
    canvas.pixels += (35 * c.stretched(glare, 500, 700))[..., None]
    canvas.photographed(rng, 0.7, 3, 1)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def scan_with_black_edges(write, label, rng):
    """A scan of a sheet smaller than the scanner: one to three sides are black."""
    canvas = Canvas(420, 560, 250)
    canvas.centred(write(label, rng.uniform(160, 300)), 20, label, rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.58))
    for side in rng.permutation(4)[: rng.integers(1, 4)]:
        wide = int(rng.integers(6, 45))
        edge = [np.s_[:wide], np.s_[-wide:], np.s_[:, :wide], np.s_[:, -wide:]][side]
        canvas.pixels[edge] = 12
    canvas.photographed(rng, 0.4, 1.5)
    return black(canvas)


@kind(DIGIT)
def perspective(write, label, rng):
    """A sheet seen from the side."""
    return from_the_side(write, label, rng, c.DESKS[rng.integers(5)], 0.08, 0.22)


@kind(DIGIT)
def perspective_and_shadow(write, label, rng):
    """A sheet seen from farther to the side, with a shadow across it and the desk."""
    canvas = from_the_side(write, label, rng, c.OTHER_DESKS[rng.integers(4)], 0.2, 0.3, 0.4)
    return canvas


def from_the_side(write, label, rng, draw_desk, low, high, shadow=0.0):
    desk = draw_desk(rng, 640, 480)
    sheet = Canvas(440, 360, paper_for(draw_desk, rng))
    sheet.grain(rng, 1.5)
    placed(sheet, write, label, rng, 0.45, 0.65)
    narrow = rng.uniform(low, high)
    corners = np.array([(-220, -180), (220, -180), (220, 180), (-220, 180)], float)
    if rng.random() < 0.6:  # from the front
        corners[:2, 0] *= 1 - narrow
        corners[:, 1] *= 1 - narrow
    else:
        side = [[0, 3], [1, 2]][rng.integers(2)]
        corners[side, 1] *= 1 - narrow
        corners[:, 0] *= 1 - narrow / 2
    angle = np.radians(rng.uniform(-6, 6))
    corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + (320, 240)
    sheet.laid_on(desk, corners, 0.2)
    if shadow:
        desk.lit(c.edge_shadow(rng, shadow))
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(DIGIT)
def slate(write, label, rng):
    """A dark sheet with a light pen on a light desk."""
    desk = c.light(rng, 480, 480)
    if rng.random() < 0.5:
        desk.pixels -= rng.uniform(20, 70)
    share = rng.uniform(0.4, 0.85)
    sheet = Canvas(480 * share, 480 * share, np.array([45, 48, 52]) * rng.uniform(0.6, 1.3))
    sheet.grain(rng, 2)
    placed(sheet, write, label, rng, 0.45, 0.65, (235, 235, 230))
    sheet.laid_on(desk, c.sheet_corners(rng, desk, sheet.width, sheet.height, rng.uniform(-6, 6), 0, 0.5), 0.2)
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(DIGIT)
def board(write, label, rng):
    """A board in its wooden or white frame, with nothing or a wall around it."""
    wall = Canvas(560, 440, rng.uniform(180, 250))
    edge = 0 if rng.random() < 0.5 else rng.uniform(15, 60)
    frame = c.wood(rng, 560 - 2 * edge, 440 - 2 * edge)
    if rng.random() < 0.4:
        frame.pixels[:] = 240
    wide = rng.uniform(12, 28)
    colour = [(35, 38, 40), (30, 70, 55), (25, 35, 60)][rng.integers(3)]
    field = Canvas(frame.width - 2 * wide, frame.height - 2 * wide, colour)
    placed(field, write, label, rng, 0.4, 0.65, (240, 240, 235))
    for inner, outer, x in ((field, frame, wide), (frame, wall, edge)):
        right, low = outer.width - x, outer.height - x
        inner.laid_on(outer, [(x, x), (right, x), (right, low), (x, low)])
    wall.photographed(rng)
    return wall.saved_as("jpg")


@kind(DIGIT, apart=True)
def chalk(write, label, rng):
    """Crumbly chalk on a wiped board that fills the picture."""
    canvas = Canvas(600, 450, [(40, 44, 46), (32, 72, 58)][rng.integers(2)])
    canvas.pixels += (9 * c.soft_noise(rng, 450, 600, 7).clip(-1, 2))[..., None]
    mark = write.by_hand(label, rng.uniform(200, 300), rng.uniform(14, 24))
    dust = rng.standard_normal(mark.shape, dtype=np.float32) + 0.5 * c.soft_noise(rng, *mark.shape, 90)
    canvas.centred(mark * (0.75 + 0.35 * dust).clip(0, 1), (238, 236, 228), label)
    canvas.photographed(rng, 0.8, 4)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def sticky_note_on_a_screen(write, label, rng):
    """A sticky note on a screen that shows windows with text."""
    screen = Canvas(800, 600, (232, 234, 238))

    def paint(draw):
        draw.rectangle([0, 0, 800, 26], fill=(50, 55, 70))
        for _ in range(4):
            x, y = rng.uniform(0, 560), rng.uniform(40, 420)
            draw.rectangle([x, y, x + 260, y + 190], fill=(252, 252, 252), outline=(120, 120, 130))
            draw.rectangle([x, y, x + 260, y + 18], fill=(90, 120, 190))
            for line in range(9):
                width = rng.uniform(60, 230)
                draw.rectangle([x + 12, y + 30 + 17 * line, x + 12 + width, y + 36 + 17 * line], fill=(95, 95, 100))

    screen.draw(paint)
    side = rng.uniform(210, 300)
    colour = [(255, 236, 110), (255, 170, 200), (170, 235, 160)][rng.integers(3)]
    note = Canvas(side, side, colour)
    placed(note, write, label, rng, 0.5, 0.68, (30, 35, 90))
    note.laid_on(screen, c.sheet_corners(rng, screen, side, side, rng.uniform(-9, 9), 0.01, 0.7), 0.25)
    screen.photographed(rng, 0.6, 3, 2)
    return screen.saved_as("jpg")


@kind(DIGIT, apart=True)
def dithered(write, label, rng):
    """Paper as a fax machine sends it: black and white dots alone, in the mean as dark as what they stand for."""
    canvas = placed(page(rng), write, label, rng, 0.4, 0.7)
    canvas.lit(c.slope(rng, 0.2))
    canvas.photographed(rng, 0.6, 2)
    canvas.pixels[:] = np.asarray(canvas.picture().convert("1"), np.float32)[..., None] * 255
    return black(canvas)


@kind(DIGIT, apart=True)
def cardboard(write, label, rng):
    """A marker on brown cardboard, whose flutes show as stripes."""
    canvas = Canvas(640, 480, np.array([176, 136, 92]) * rng.uniform(0.85, 1.1))
    angle, period = rng.uniform(-0.1, 0.1), rng.uniform(14, 26)
    y, x = np.mgrid[:480, :640].astype(np.float32)
    along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    canvas.pixels *= (1 + rng.uniform(0.02, 0.05) * np.sin(along) + 0.03 * c.soft_noise(rng, 480, 640, 120))[..., None]
    mark = write.by_hand(label, rng.uniform(210, 320), rng.uniform(16, 30))
    colour = [(28, 26, 30), (30, 40, 110), (140, 25, 25)][rng.integers(3)]
    canvas.centred(mark, colour, label, *rng.uniform(0.4, 0.6, 2))
    canvas.lit(c.slope(rng, 0.3))
    canvas.photographed(rng, 0.7, 4, 2)
    return canvas.saved_as("jpg")


@kind(DIGIT, apart=True)
def plastic_sleeve(write, label, rng):
    """A sheet in a plastic sleeve: bright reflections of a window, also across the digit."""
    canvas = placed(page(rng), write, label, rng, 0.4, 0.65)
    y, x = np.mgrid[:480, :640].astype(np.float32)
    for _ in range(int(rng.integers(2, 5))):
        angle, at = rng.uniform(0.6, 1.2), rng.uniform(100, 650)
        away = np.abs(x * np.cos(angle) + y * np.sin(angle) - at) / rng.uniform(8, 45)
        bright = rng.uniform(0.2, 0.5) * np.clip(3 - 3 * away, 0, 1)
        canvas.pixels += bright[..., None] * (255 - canvas.pixels)
    canvas.photographed(rng, 0.7, 3, 1)
    return canvas.saved_as("jpg")


@kind(DIGIT, apart=True)
def torn_paper(write, label, rng):
    """A torn piece of paper, without a straight edge, on a desk."""
    desk = c.DESKS[rng.integers(len(c.DESKS))](rng, 720, 540)
    turns = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(rng.normal(0, 0.05 / k) * np.sin(k * turns + rng.uniform(0, 6.3)) for k in range(2, 7))
    radius = (1 + waves + rng.normal(0, 0.012, 90)) * rng.uniform(170, 225)
    x, y = rng.uniform(300, 420), rng.uniform(240, 300)
    outline = np.stack([x + 1.15 * radius * np.cos(turns), y + radius * np.sin(turns)], 1)
    shade = np.array(rng.uniform(208, 238) * np.array([1, 0.99, 0.95]))
    desk.draw(lambda draw: draw.polygon([tuple(at) for at in (outline + 4).tolist()], fill=(40, 36, 32)), smooth=True)
    colour = tuple(int(level) for level in shade)
    desk.draw(lambda draw: draw.polygon([tuple(at) for at in outline.tolist()], fill=colour), smooth=True)
    mark = write(label, rng.uniform(130, 190))
    desk.write(mark, x - mark.shape[1] / 2, y - mark.shape[0] / 2, ink(rng), label)
    desk.photographed(rng, 0.7, 3, 1)
    return desk.saved_as("jpg")


@kind(DIGIT, apart=True)
def fogged_window(write, label, rng):
    """A finger on a fogged window: what is outside shows through the strokes, and a drop or two run down from them."""
    outside = Canvas(640, 480, np.array([70, 85, 100]) * rng.uniform(0.6, 1.2))
    outside.pixels *= (1 + 0.25 * c.soft_noise(rng, 480, 640, 5))[..., None]
    mark = write.by_hand(label, rng.uniform(220, 320), rng.uniform(20, 32))
    left, top = round(320 - mark.shape[1] / 2), round(225 - mark.shape[0] / 2)
    wiped = np.zeros((480, 640), np.float32)
    wiped[top : top + mark.shape[0], left : left + mark.shape[1]] = mark
    for _ in range(int(rng.integers(1, 3))):
        column = int(rng.integers(mark.shape[1] // 4, 3 * mark.shape[1] // 4))
        start = top + int(np.flatnonzero(mark[:, column] > 0.5).max(initial=mark.shape[0] // 2))
        wiped[start : start + int(rng.uniform(25, 70)), left + column : left + column + 3] = 0.8
    fog = np.array([178, 184, 188]) * (1 + 0.03 * c.soft_noise(rng, 480, 640, 40))[..., None]
    outside.pixels += (0.8 * (1 - wiped))[..., None] * (fog - outside.pixels)
    right, low = left + mark.shape[1], top + mark.shape[0]
    outside.digits.append((label, mark, np.array([(left, top), (right, top), (right, low), (left, low)], float)))
    outside.photographed(rng, 1.0, 4, 2)
    return outside.saved_as("jpg")


# ------------------------------------------------------------------------------------------- frames, figures, screens


@kind(DIGIT)
def frame_one_line(write, label, rng):
    """A line around the digit, at the border of the picture or some way inside."""
    return framed(write, label, rng, 1)


@kind(DIGIT)
def frame_two_lines(write, label, rng):
    """Two lines around the digit."""
    return framed(write, label, rng, 2)


def framed(write, label, rng, lines):
    canvas = Canvas(320, 320)
    inset, wide = rng.uniform(0, 45), int(rng.integers(2, 7))
    line_colour = int(rng.integers(0, 110))

    def paint(draw):
        for i in range(lines):
            at = inset + 3 * wide * i
            draw.rectangle([at, at, 319 - at, 319 - at], outline=(line_colour,) * 3, width=wide)

    canvas.draw(paint)
    canvas.centred(write(label, 320 * rng.uniform(0.35, 0.5)), 0, label)
    return black(canvas)


@kind(DIGIT)
def box_around(write, label, rng):
    """A narrow box of a form around the digit, with other boxes' lines beside it."""
    canvas = Canvas(260, 220, (248, 250, 246))
    mark = write.by_hand(label, 110, rng.uniform(5, 9))
    colour = [(200, 90, 70), (60, 60, 60), (80, 130, 90)][rng.integers(3)]
    half = max(62, mark.shape[1] / 2 + 12)

    def paint(draw):
        draw.rectangle([130 - half, 30, 130 + half, 190], outline=colour, width=2)
        if rng.random() < 0.5:
            draw.line([(0, 30), (260, 30)], fill=colour, width=2)
            draw.line([(0, 190), (260, 190)], fill=colour, width=2)

    canvas.draw(paint)
    canvas.centred(mark, (25, 30, 60), label)
    return canvas.saved_as("png")


@kind(DIGIT)
def keypad_button(write, label, rng):
    """A digit in a ring, as on a keypad."""
    dark = rng.random() < 0.5
    canvas = Canvas(300, 300, 30 if dark else 235)
    radius = rng.uniform(105, 135)
    line = (200, 200, 205) if dark else (60, 60, 70)
    box = [150 - radius, 150 - radius, 150 + radius, 150 + radius]
    canvas.draw(lambda draw: draw.ellipse(box, outline=line, width=int(rng.integers(3, 9))), smooth=True)
    canvas.centred(write(label, radius * rng.uniform(0.75, 1.0)), line, label)
    return canvas.saved_as("png")


@kind(DIGIT)
def filled_button(write, label, rng):
    """A light digit on a filled disc on a light page."""
    canvas = Canvas(320, 260, 245)
    radius = rng.uniform(95, 115)
    colour = [(30, 110, 200), (200, 60, 60), (60, 60, 66)][rng.integers(3)]
    box = [160 - radius, 130 - radius, 160 + radius, 130 + radius]
    canvas.draw(lambda draw: draw.ellipse(box, fill=colour), smooth=True)
    canvas.centred(write(label, radius * rng.uniform(0.8, 1.05)), (255, 255, 255), label)
    return canvas.saved_as("png")


def figure(write, label, rng, *, light_on_dark=True, axes=True, title="", colours=None, size=(640, 480)):
    """What plt.imshow and savefig make: an image of 28 × 28 in a white figure, with axes, ticks and their numbers."""
    canvas = Canvas(*size)
    image = np.zeros((28, 28), np.float32)
    mark = write.image(label, 20, 1)
    mark = scaled(mark, 20, min(20, mark.shape[1]))
    top, left = 4, 14 - mark.shape[1] // 2
    image[top : top + 20, left : left + mark.shape[1]] = mark
    side = round(0.77 * size[1])
    large = np.repeat(np.repeat(image, -(-side // 28), 0), -(-side // 28), 1)
    large = c.stretched(large, side, side).clip(0, 1)
    x, y = (size[0] - side) // 2, (size[1] - side) // 2
    shade = large if light_on_dark else 1 - large
    region = shade[..., None] * 255 if colours is None else colours[np.rint(shade * 255).astype(int)]
    canvas.pixels[y : y + side, x : x + side] = region
    unit = side / 28
    at = np.array([left, top]) * unit + (x, y)
    corners = at + np.array([(0, 0), (mark.shape[1], 0), (mark.shape[1], 20), (0, 20)]) * unit
    canvas.digits.append((label, mark, corners))
    canvas.draw(lambda draw: axis_lines(draw, x, y, side, axes, title))
    return canvas.saved_as("png")


def axis_lines(draw, x, y, side, axes, title):
    face = c.font(13)
    if title:
        draw.text((x + side / 2, y - 16), title, fill=0, font=face, anchor="mm")
    if not axes:
        return
    draw.rectangle([x, y, x + side, y + side], outline=(0, 0, 0))
    for tick in range(0, 28, 5):
        at = (tick + 0.5) * side / 28
        draw.line([(x + at, y + side), (x + at, y + side + 4)], fill=(0, 0, 0))
        draw.line([(x - 4, y + at), (x, y + at)], fill=(0, 0, 0))
        draw.text((x + at, y + side + 7), str(tick), fill=(0, 0, 0), font=face, anchor="mt")
        draw.text((x - 8, y + at), str(tick), fill=(0, 0, 0), font=face, anchor="rm")


@kind(DIGIT)
def figure_gray(write, label, rng):
    """As plt.imshow(image, cmap="gray"): a light digit on black in a white figure with axes."""
    return figure(write, label, rng)


@kind(DIGIT)
def figure_without_axes(write, label, rng):
    """The same with plt.axis("off")."""
    return figure(write, label, rng, axes=False)


@kind(DIGIT)
def figure_binary(write, label, rng):
    """As cmap="binary": a dark digit on white in a box with axes."""
    return figure(write, label, rng, light_on_dark=False)


@kind(DIGIT, apart=True)
def figure_with_title(write, label, rng):
    """A figure of another size with a title above the axes."""
    size = [(432, 288), (500, 500), (800, 600)][rng.integers(3)]
    title = ["an example", "training image", "prediction"][rng.integers(3)]
    return figure(write, label, rng, light_on_dark=rng.random() < 0.7, title=title, size=size)


@kind(DIGIT, apart=True, needs=("matplotlib",))
def figure_viridis(write, label, rng):
    """As plt.imshow(image) without a colour map: yellow on violet, with axes."""
    from matplotlib import colormaps

    return figure(write, label, rng, colours=255 * colormaps["viridis"](np.arange(256))[:, :3])


@kind(DIGIT, apart=True, needs=("matplotlib",), slow=True)
def figure_by_matplotlib(write, label, rng):
    """What matplotlib itself saves, with a colour bar at times."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    image = np.zeros((28, 28), np.float32)
    mark = write.image(label, 20, 1)
    left = 14 - min(20, mark.shape[1]) // 2
    image[4:24, left : left + min(20, mark.shape[1])] = mark[:, :20]
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn_image = axes.imshow(image, cmap=["gray", "binary", "gray"][rng.integers(3)])
    if rng.random() < 0.3:
        figure.colorbar(drawn_image)
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)
    canvas = Canvas(pixels.shape[1], pixels.shape[0])
    canvas.pixels = pixels.copy()
    inside = [
        (left - 0.5, 3.5),
        (left + mark.shape[1] - 0.5, 3.5),
        (left + mark.shape[1] - 0.5, 23.5),
        (left - 0.5, 23.5),
    ]
    corners = axes.transData.transform(inside)
    corners[:, 1] = canvas.height - corners[:, 1]
    canvas.digits.append((label, mark, corners))
    return canvas.saved_as("png")


@kind(DIGIT)
def screenshot(write, label, rng):
    """A window of a drawing program: a bar with a title, a line of tools, and a white area."""
    canvas = Canvas(520, 420)
    dark = rng.random() < 0.3
    bar, tool = ((45, 45, 50), (90, 90, 98)) if dark else ((225, 227, 232), (150, 152, 160))

    def paint(draw):
        draw.rectangle([0, 0, 520, 52], fill=bar)
        draw.line([(0, 52), (520, 52)], fill=(120, 120, 125))
        draw.text((10, 5), "Untitled - Paint", fill=(245,) * 3 if dark else (20,) * 3, font=c.font(13))
        for i in range(9):
            draw.rectangle([10 + 28 * i, 26, 30 + 28 * i, 46], outline=tool, fill=COLOURS[i % 6][1] if i > 4 else None)

    canvas.draw(paint)
    mark = write(label, rng.uniform(160, 260))
    canvas.write(mark, rng.uniform(40, 480 - mark.shape[1]), rng.uniform(72, 400 - mark.shape[0]), 0, label)
    return canvas.saved_as("png")


@kind(DIGIT, apart=True)
def phone_screen(write, label, rng):
    """A tall screenshot of a phone's dark drawing app: status line above, buttons below."""
    canvas = Canvas(360, 640, (18, 18, 20))

    def paint(draw):
        draw.text((14, 8), "Sketch", fill=(200, 200, 205), font=c.font(13))
        for i in range(3):
            draw.rectangle([300 + 16 * i, 10, 311 + 16 * i, 18], fill=(200, 200, 205))
        draw.line([(0, 560), (360, 560)], fill=(80, 80, 86), width=2)
        for i in range(4):
            x = 45 + 90 * i
            draw.rounded_rectangle([x - 26, 580, x + 26, 620], 8, fill=(58, 60, 68))

    canvas.draw(paint)
    mark = write(label, rng.uniform(170, 280))
    left = rng.uniform(25, max(26, 335 - mark.shape[1]))
    canvas.write(mark, left, rng.uniform(60, 535 - mark.shape[0]), (250, 250, 250), label)
    return canvas.saved_as("png")


# ------------------------------------------------------------------------------------------------- dirt beside a digit


@kind(DIGIT)
def specks(write, label, rng):
    """A scan with dust: small specks around the digit."""
    canvas = Canvas(360, 360, 248)
    canvas.centred(write(label, rng.uniform(150, 240)), 15, label)

    def paint(draw):
        for x, y, r in zip(*rng.uniform(5, 355, (2, 25)), rng.uniform(0.3, 2.2, 25), strict=True):
            draw.ellipse([x - r, y - r, x + r, y + r], fill=(60, 60, 60))

    canvas.draw(paint)
    return black(canvas)


@kind(DIGIT, may_refuse=True)
def coffee_ring(write, label, rng):
    """A pale brown ring of a cup beside or across the digit."""
    canvas = page(rng, 600, 480)
    x, y, r = rng.uniform(150, 450), rng.uniform(120, 360), rng.uniform(110, 160)
    yy, xx = np.mgrid[:480, :600]
    away = np.abs(np.hypot(xx - x, yy - y) - r) / rng.uniform(5, 9)
    stain = np.exp(-(away**2)).astype(np.float32) * (0.8 + 0.3 * c.soft_noise(rng, 480, 600, 9)).clip(0, 1)
    canvas.pixels *= 1 - stain[..., None] * np.array([0.12, 0.22, 0.35], np.float32)
    placed(canvas, write, label, rng, 0.35, 0.55, (20, 25, 45))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT, may_refuse=True)
def crossed_out_neighbour(write, label, rng):
    """Beside the digit something that was crossed out, smaller than it."""
    from drawing.hands import along

    canvas = page(rng, 640, 420)
    height = rng.uniform(170, 230)
    mark = write.by_hand(label, height, rng.uniform(8, 13))
    right = rng.random() < 0.5
    canvas.centred(mark, (20, 25, 60), label, 0.62 if right else 0.38)
    size = height * 0.5
    points = np.stack([np.linspace(0, size, 16), np.tile([0, size * 0.8], 8)], 1) + rng.normal(0, 5, (16, 2))
    scribble = along([points, np.array([(0, size * 0.5), (size, size * 0.3)])], 6)
    canvas.centred(scribble, (20, 25, 60), None, 0.2 if right else 0.82, rng.uniform(0.4, 0.6))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT, apart=True)
def punched_and_stapled(write, label, rng):
    """A scanned sheet with two punched holes at its left edge and a staple in a corner."""
    canvas = Canvas(480, 600, 246)
    canvas.centred(write(label, rng.uniform(190, 300)), ink(rng), label, rng.uniform(0.5, 0.6), rng.uniform(0.45, 0.55))

    def paint(draw):
        for y in (215, 385):
            draw.ellipse([22, y, 46, y + 24], fill=(70, 70, 72))
        draw.line([(30, 40), (62, 22)], fill=(90, 90, 95), width=3)

    canvas.draw(paint, smooth=True)
    canvas.photographed(rng, 0, 2)
    return canvas.saved_as("png")


@kind(DIGIT, apart=True)
def creased_paper(write, label, rng):
    """A sheet that was folded twice: four fields of different brightness with thin dark folds."""
    canvas = page(rng)
    x, y = int(rng.integers(220, 420)), int(rng.integers(160, 320))
    placed(canvas, write, label, rng, 0.35, 0.6)
    shades = np.ones((480, 640), np.float32)
    for rows in (slice(None, y), slice(y, None)):
        for columns in (slice(None, x), slice(x, None)):
            shades[rows, columns] = rng.uniform(0.86, 1)
    shades[y - 1 : y + 1] *= 0.88
    shades[:, x - 1 : x + 1] *= 0.88
    canvas.lit(shades)
    canvas.photographed(rng, 0.7, 3, 1)
    return canvas.saved_as("jpg")


@kind(DIGIT, apart=True)
def seen_through(write, label, rng):
    """Thin paper through which a page of text shines, mirrored and pale."""
    canvas = page(rng)
    text = Canvas(640, 480)

    def paint(draw):
        face = c.font(20)
        for y in range(10, 480, 30):
            words = ["lorem", "ipsum", "dolor", "amet", "elit", "sed", "magna"]
            draw.text((20, y), " ".join(rng.permutation(words).tolist()) * 2, fill=(0, 0, 0), font=face)

    text.draw(paint)
    soft = np.asarray(text.picture().convert("L").filter(ImageFilter.GaussianBlur(1.5)), np.float32)[:, ::-1]
    canvas.pixels -= (rng.uniform(0.06, 0.14) * (255 - soft))[..., None]
    placed(canvas, write, label, rng, 0.4, 0.6, (20, 25, 50))
    canvas.photographed(rng)
    return canvas.saved_as("jpg")


@kind(DIGIT)
def thin_on_a_sheet(write, label, rng):
    """A ball pen's thin strokes on a turned sheet, photographed with noise."""
    draw_desk = (c.wood, c.dark, c.two_tone)[rng.integers(3)]
    desk = draw_desk(rng, 800, 600)
    sheet = Canvas(560, 420, paper_for(draw_desk, rng))
    height = rng.uniform(150, 240)
    sheet.centred(write.by_hand(label, height, height / rng.uniform(38, 55)), ink(rng), label)
    sheet.laid_on(desk, c.sheet_corners(rng, desk, 560, 420, rng.uniform(-10, 10), 0.02, 0.6), 0.3)
    desk.photographed(rng, 0.5, 4, 3)
    return desk.saved_as("jpg")
