"""Kinds of pictures of several digits, whose answer is their labels in reading order."""

from drawing import canvas as c
from drawing.canvas import Canvas
from drawing.registry import ROW, kind
from drawing.single import INKS, black, page, paper_for

PAD = 45


def line_of(write, labels, rng, height=70.0, gap=(0.25, 0.5), uneven=0.0, drift=0.0, rise=0.0, pen=None, image=None):
    """Return a canvas with one line of digits, black on white, cut closely.

    `gap` is the least and the largest distance between two in shares of the height; `uneven` by how much of it their
    heights vary, `drift` by how much of it they lie above or below the base line, `rise` by how much of it the base
    line rises from one to the next.
    """
    image = rng.random() < 0.5 if image is None else image  # one hand a line
    pen = height * rng.uniform(0.07, 0.12) if pen is None else pen
    x, marks = 0.0, []
    for i, label in enumerate(labels):
        tall = height * (1 + uneven * rng.uniform(-1, 1))
        mark = write.image(label, tall) if image else write.by_hand(label, tall, pen)
        base = -rise * height * i + drift * height * rng.uniform(-1, 1)
        marks.append((mark, x, base - mark.shape[0], label))
        x += mark.shape[1] + height * rng.uniform(*gap)
    top = min(mark[2] for mark in marks)
    low = max(y + mark.shape[0] for mark, _, y, _ in marks)
    canvas = Canvas(marks[-1][1] + marks[-1][0].shape[1] + 1, low - top + 1)
    for mark, left, y, label in marks:
        canvas.write(mark, left, y - top, 0, label)
    return canvas


def pasted(canvas, row, x, y, colour=0):
    """Write the digits of a row on a canvas."""
    for label, mark, corners in row.digits:
        canvas.write(mark, x + corners[0, 0], y + corners[0, 1], colour, label)
    return canvas


def with_margin(row, margin=PAD):
    return pasted(Canvas(row.width + 2 * margin, row.height + 2 * margin), row, margin, margin)


@kind(ROW)
def row(write, labels, rng):
    """A level row on a white area."""
    return black(with_margin(line_of(write, labels, rng)))


@kind(ROW)
def row_turned(write, labels, rng):
    """A row turned by up to 12 degrees, clockwise or counterclockwise."""
    whole = with_margin(line_of(write, labels, rng, 80)).turned(rng.uniform(-12, 12))
    return black(whole)


@kind(ROW)
def row_rising(write, labels, rng):
    """A base line that rises or falls, the digits upright."""
    rise = rng.choice([-1, 1]) * rng.uniform(0.05, 0.16)
    return black(with_margin(line_of(write, labels, rng, rise=rise)))


@kind(ROW)
def row_uneven(write, labels, rng):
    """Digits of uneven height that lie above and below the base line."""
    return black(with_margin(line_of(write, labels, rng, uneven=0.3, drift=0.2)))


@kind(ROW)
def two_lines(write, labels, rng):
    """Two lines of digits, light on dark at times."""
    half = len(labels) // 2 + len(labels) % 2
    return black(lines_of(write, [labels[:half], labels[half:]], rng, rng.uniform(0.4, 0.9), rng.random() < 0.3))


def lines_of(write, parts, rng, between, light=False, **how):
    image = rng.random() < 0.5
    rows = [line_of(write, part, rng, 60, image=image, **how) for part in parts]
    gap = 60 * between
    height = sum(each.height for each in rows) + gap * (len(rows) - 1)
    canvas = Canvas(max(each.width for each in rows) + 2 * PAD, height + 2 * PAD, 0 if light else 255)
    y = PAD
    for each in rows:
        pasted(canvas, each, PAD + rng.uniform(0, 12), y, 255 if light else 0)
        y += each.height + gap
    return canvas


@kind(ROW)
def row_on_paper(write, labels, rng):
    """A row on photographed paper with light from one side, turned by up to 5 degrees."""
    line = line_of(write, labels, rng, 70, uneven=0.12, drift=0.06)
    canvas = Canvas(line.width + 160, 360, rng.uniform(205, 240))
    canvas.grain(rng, 1.5)
    pasted(canvas, line, 80, 180 - line.height / 2, INKS[rng.integers(5)])
    whole = canvas.turned(rng.uniform(-5, 5), tuple(canvas.pixels.mean((0, 1)).tolist()))
    inner = 22
    whole.pixels = whole.pixels[inner:-inner, inner:-inner].copy()
    whole.digits = [(label, mark, corners - inner) for label, mark, corners in whole.digits]
    whole.lit(c.slope(rng, 0.35))
    whole.photographed(rng)
    return whole.saved_as("jpg")


@kind(ROW, apart=True)
def row_close(write, labels, rng):
    """Digits set closely: 4 to 12% of the height between them."""
    return black(with_margin(line_of(write, labels, rng, 80, gap=(0.04, 0.12))))


@kind(ROW, apart=True)
def row_turned_and_uneven(write, labels, rng):
    """Uneven digits in a row that is turned by 4 to 10 degrees."""
    line = line_of(write, labels, rng, 70, uneven=0.22, drift=0.12)
    return black(with_margin(line).turned(rng.choice([-1, 1]) * rng.uniform(4, 10)))


@kind(ROW, apart=True)
def row_along_an_arc(write, labels, rng):
    """A base line that bends up or down like an arc."""
    bend = rng.choice([-1, 1]) * rng.uniform(0.3, 0.7)
    line = line_of(write, labels, rng, 70)
    middle, half = line.width / 2, line.width / 2
    canvas = Canvas(line.width + 2 * PAD, line.height + 2 * PAD + 70 * abs(bend))
    for label, mark, corners in line.digits:
        away = (corners[0, 0] + mark.shape[1] / 2 - middle) / half
        y = PAD + corners[0, 1] + 70 * (bend * away**2 if bend > 0 else bend * (away**2 - 1))
        canvas.write(mark, PAD + corners[0, 0], y, 0, label)
    return black(canvas)


@kind(ROW, apart=True)
def three_lines(write, labels, rng):
    """Three lines of uneven digits."""
    third = -(-len(labels) // 3)
    parts = [labels[:third], labels[third : 2 * third], labels[2 * third :]]
    return black(lines_of(write, parts, rng, rng.uniform(0.5, 0.9), uneven=0.12, drift=0.06))


@kind(ROW, apart=True)
def two_lines_turned(write, labels, rng):
    """Two lines that are turned by 3 to 7 degrees together."""
    half = -(-len(labels) // 2)
    canvas = lines_of(write, [labels[:half], labels[half:]], rng, rng.uniform(0.6, 1.0))
    return black(canvas.turned(rng.choice([-1, 1]) * rng.uniform(3, 7)))


@kind(ROW, apart=True)
def date(write, labels, rng):
    """A date: groups of digits with wide gaps."""
    image = rng.random() < 0.5
    cut = [labels[:2], labels[2:4], labels[4:]]
    parts = [line_of(write, part, rng, 64, image=image, drift=0.05) for part in cut if part]
    gap = rng.uniform(0.9, 1.5) * 64
    canvas = Canvas(sum(part.width for part in parts) + gap * (len(parts) - 1) + 2 * PAD, 64 * 1.3 + 2 * PAD)
    x = PAD
    for part in parts:
        pasted(canvas, part, x, PAD + 64 * 1.1 - part.height)
        x += part.width + gap
    return black(canvas)


@kind(ROW, apart=True)
def row_on_a_strip(write, labels, rng):
    """A strip of paper with a row, turned on a desk."""
    line = line_of(write, labels, rng, 60, uneven=0.1, drift=0.05)
    draw_desk = c.DESKS[rng.integers(5)]
    strip = Canvas(line.width + 90, line.height + 80, paper_for(draw_desk, rng))
    pasted(strip, line, 45, 40, INKS[rng.integers(5)])
    desk = draw_desk(rng, strip.width + 180, strip.height + 260)
    strip.laid_on(desk, c.sheet_corners(rng, desk, strip.width, strip.height, rng.uniform(-6, 6), 0.01, 0.4), 0.2)
    desk.photographed(rng)
    return desk.saved_as("jpg")


@kind(ROW, apart=True)
def row_on_ruled_paper(write, labels, rng):
    """A row on a line of ruled paper."""
    line = line_of(write, labels, rng, 70, uneven=0.12, gap=(0.3, 0.55))
    canvas = page(rng, line.width + 120, 300)
    step, base = 85, 150 + line.height / 2 + 3

    def paint(draw):
        for i in range(-4, 5):
            draw.line([(0, base + step * i), (canvas.width, base + step * i)], fill=(150, 170, 200), width=2)

    canvas.draw(paint)
    pasted(canvas, line, 60, 150 - line.height / 2, INKS[rng.integers(5)])
    canvas.photographed(rng)
    return canvas.saved_as("jpg")
