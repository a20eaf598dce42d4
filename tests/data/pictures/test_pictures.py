"""Your own pictures: formats, damaged files, MNIST's frame, several digits, the preview in the terminal."""

import csv
import errno
import io
import json
import os
import time
import zlib

import numpy as np
import pytest
from helpers.fork_server import run as run_program
from helpers.fork_server import run_code
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from helpers.programs import Collector, program
from PIL import Image, ImageDraw

from mnist_mlp import predict
from mnist_mlp.cli.terminal import PRINT
from mnist_mlp.data.pictures import decode, inputs, normalize, reading, strokes
from mnist_mlp.data.pictures.ink import EVEN, InkMap, maps_of
from mnist_mlp.data.pictures.preview import render
from mnist_mlp.errors import UserError
from mnist_mlp.files import atomic, lock
from mnist_mlp.models import keras_file
from mnist_mlp.text import spelled_out


@pytest.fixture(scope="module")
def seven(digits):
    """A 7 with a soft edge, grey levels light on dark."""
    return digits.test.images[digits.test.labels == 7][0]


def drawing(image, side=280, *, dark_on_light=True):
    """Return the digit as a square picture, as a drawing program would save it."""
    large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return Image.eval(large, lambda level: 255 - level) if dark_on_light else large


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return io.BytesIO(file.getvalue())


def same(found, image, limit=16.0):
    """Assert that it is the same digit: the mean difference is below `limit` grey levels."""
    assert found.dtype == np.uint8 and found.shape == (28, 28)
    assert np.abs(found.astype(int) - image).mean() < limit


def framed(levels):
    """Return the digit that is read, in MNIST's frame."""
    return reading.digit_in(levels).image


def coloured(picture, ink, paper):
    """Return the drawing in two colours."""
    mask = Image.eval(picture, lambda level: 255 - level)
    return Image.composite(Image.new("RGB", picture.size, ink), Image.new("RGB", picture.size, paper), mask)


def on_glass(picture, ink):
    """Return the drawing in one colour on a transparent background."""
    layer = Image.new("RGBA", picture.size, (*ink, 0))
    layer.putalpha(Image.eval(picture, lambda level: 255 - level))
    return layer


def sixteen(picture):
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def turned(picture):
    """Rotate, with a camera's metadata that say how to turn it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture.rotate(90, expand=True), {"exif": exif}


PICTURES = {
    "dark on light": lambda p: saved(p),
    "light on dark": lambda p: saved(Image.eval(p, lambda level: 255 - level)),
    "jpeg": lambda p: saved(p, "JPEG", quality=60),
    "webp": lambda p: saved(p, "WEBP", quality=60),
    "bmp": lambda p: saved(p, "BMP"),
    "gif": lambda p: saved(p, "GIF"),
    "tiff": lambda p: saved(p, "TIFF"),
    "one bit": lambda p: saved(p.convert("1", dither=Image.Dither.NONE)),
    "palette": lambda p: saved(coloured(p, (20, 20, 160), (250, 240, 200)).quantize(16)),
    "16 bits": lambda p: saved(sixteen(p)),
    "16 bits, tiff": lambda p: saved(sixteen(p), "TIFF"),
    "float, tiff": lambda p: saved(Image.fromarray(np.asarray(p).astype(np.float32) / 255), "TIFF"),
    "cmyk": lambda p: saved(coloured(p, (0, 0, 0), (255, 255, 255)).convert("CMYK"), "JPEG"),
    "red on yellow": lambda p: saved(coloured(p, (150, 0, 0), (255, 240, 0))),
    "black on glass": lambda p: saved(on_glass(p, (0, 0, 0))),
    "white on glass": lambda p: saved(on_glass(p, (255, 255, 255))),
    "grey and alpha": lambda p: saved(on_glass(p, (0, 0, 0)).convert("LA")),
    "turned by its camera": lambda p: saved(turned(p)[0], "JPEG", **turned(p)[1]),
    "large": lambda p: saved(p.resize((3000, 3000))),
    "wide": lambda p: saved(on_paper(p, (900, 300), (500, 10))),
}


def test_broken_metadata_are_ignored(seven):
    whole = saved(drawing(seven)).getvalue()
    broken = whole[:33] + chunk(b"eXIf", b"garbage" * 100) + whole[33:]
    same(framed(decode.read(io.BytesIO(broken), "p")), seven, 18.0)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_sixteen_bits_of_which_some_are_used(bits, seven):
    picture = Image.fromarray(np.asarray(drawing(seven)).astype(np.uint16) << (bits - 8))
    levels = decode.read(saved(picture, "TIFF"), "p")
    assert levels.max() > 250
    same(framed(levels), seven, 18.0)


def on_paper(picture, size, place):
    paper = Image.new("L", size, 255)
    paper.paste(picture, place)
    return paper


QUICK = ("dark on light", "light on dark", "jpeg", "black on glass", "turned by its camera")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in PICTURES]
)
def test_every_kind_of_picture_gives_the_same_digit(kind, seven):
    levels = decode.read(PICTURES[kind](drawing(seven)), "p")
    assert levels.dtype == np.float32 and levels.min() >= 0 and levels.max() <= 255
    same(framed(levels), framed(np.asarray(drawing(seven), np.float32)))
    same(framed(levels), seven, 18.0)


@pytest.mark.parametrize("light", ["from the side", "a lamp above", "dim"])
def test_a_photograph_with_uneven_light(light, seven):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:700j, -1:1:600j]
    paper = {"from the side": 160 + 70 * x, "a lamp above": 220 - 60 * (x**2 + y**2), "dim": 60 + 15 * y}[light]
    strokes = np.asarray(on_paper(drawing(seven, 400), (600, 700), (120, 170)), float) / 255
    photograph = paper * (0.45 + 0.55 * strokes) + rng.normal(0, 3, paper.shape)
    picture = Image.fromarray(photograph.clip(0, 255).astype(np.uint8))
    same(framed(decode.read(saved(picture, "JPEG", quality=80), "p")), seven, 20.0)


def a_shadow(paper, y, x):
    return paper * np.where(x + 0.3 * y > 0.1, 1, 0.6)[..., None]


def a_desk(paper, y, x):
    return np.where((abs(x) > 0.75) | (abs(y) > 0.85), 90.0, paper[..., 0])[..., None]


def a_frame(paper, y, x):
    line = (np.maximum(abs(x), abs(y)) < 0.9) & (np.maximum(abs(x), abs(y)) > 0.88)
    return np.where(line, 20.0, paper[..., 0])[..., None]


def a_border(paper, y, x):
    return np.where(np.maximum(abs(x), abs(y)) > 0.98, 0.0, paper[..., 0])[..., None]


def lines(paper, y, x):
    rows = np.arange(len(paper))[:, None] + (4 * x).astype(int)  # not quite level
    return np.where(rows % 36 < 2, np.minimum(paper[..., 0], 190), paper[..., 0])[..., None]


def squares(paper, y, x):
    rows, columns = np.indices(paper.shape[:2])
    return np.where((rows % 25 < 2) | (columns % 25 < 2), np.minimum(paper[..., 0], 190), paper[..., 0])[..., None]


@pytest.mark.parametrize("around", [a_shadow, a_desk, a_frame, a_border, lines, squares])
@pytest.mark.parametrize("label", [0, *(pytest.param(label, marks=pytest.mark.slow) for label in (1, 4, 7))])
def test_what_is_around_the_digit_is_no_ink(around, label, digits):
    image = digits.train.images[digits.train.labels == label][0]
    y, x = np.mgrid[-1:1:480j, -1:1:640j]
    paper = 40 + 200 * np.asarray(on_paper(drawing(image, 240), (640, 480), (190, 110)), float)[..., None] / 255
    noise = np.random.default_rng(0).normal(0, 1, (480, 640))
    picture = Image.fromarray((around(paper, y, x)[..., 0] + noise).clip(0, 255).astype(np.uint8))
    plain = framed(np.asarray(drawing(image, 240), np.float32))
    found = reading.digit_in(decode.read(saved(picture, "JPEG", quality=90), "p"))
    assert found.digit == label
    same(found.image, plain, 36.0)


def test_a_sheet_that_only_its_colour_shows(seven):
    """A pink note, partly on lines of text, on a screen that is as light as the note."""
    picture = Image.new("RGB", (400, 300), (199, 199, 199))
    draw = ImageDraw.Draw(picture)
    for y in range(10, 290, 16):
        draw.rectangle([12, y, 200, y + 6], fill=(90, 90, 90))
    picture.paste((255, 170, 200), (130, 70, 310, 250))
    picture.paste((30, 35, 90), (170, 110), drawing(seven, 100, dark_on_light=False))
    found = decode.read(saved(picture), "p")
    assert found.shape == (300, 400, 2) and decode.read(saved(picture.convert("L")), "p").shape == (300, 400)
    read = reading.digit_in(found)
    assert read.digit == 7 and "sheet" in str(read)
    same(read.image, seven, 18.0)
    with pytest.raises(UserError):
        reading.digit_in(found[..., 0])


def test_colours_that_hardly_differ_are_none():
    """Paper in warm light with JPEG's noise, and a pen of its own colour, which covers too little to be a sheet."""
    chroma = 128 + np.random.default_rng(0).normal(0, 2, (300, 400, 2)).astype(np.float32)
    chroma[100:120, 100:160] += 40
    assert decode.colours_of(chroma) is None
    chroma[100:200, 100:200] += 40
    colours = decode.colours_of(chroma)
    assert abs(np.median(colours) - 128) < 2 and abs(np.median(colours[120:200, 100:200]) - 128) > 40


def test_a_stroke_across_a_picture_is_no_ruled_line():
    """The bar of a closely cropped 4 is as strong and as wide as the rest."""
    picture = Image.new("L", (200, 260), 255)
    draw = ImageDraw.Draw(picture)
    for ends in ([(120, 0), (0, 170)], [(0, 170), (200, 170)], [(150, 60), (150, 260)]):
        draw.line(ends, fill=0, width=3)
    (ink,) = [
        each.ink for each in maps_of(np.asarray(picture, np.float32)) if (each.pen, each.method) == ("dark", EVEN)
    ]
    assert ink[168:172, 5:-5].max(0).min() > 0.9


@pytest.mark.parametrize("slope", [-0.011, 0.004, 0.009])
def test_squares_as_dark_as_the_pen_are_removed(slope):
    """Thin lines that are not quite level are removed to their ends, and where they cross."""
    picture = Image.new("L", (480, 480), 250)
    draw = ImageDraw.Draw(picture)
    for at in range(5, 500, 41):
        draw.line([(0, at), (480, at + 480 * slope)], fill=30)
        draw.line([(at, 0), (at - 480 * slope, 480)], fill=30)
    draw.line([(225, 120), (250, 360)], fill=25, width=16)
    small = np.asarray(picture.resize((280, 280), Image.Resampling.BOX), np.float32)
    (ink,) = [each.ink for each in maps_of(small) if (each.pen, each.method) == ("dark", EVEN)]
    rows, columns = np.nonzero(ink > 0.3)
    assert abs(columns - np.interp(rows, [70, 210], [131, 146])).max() < 9 and abs(rows - 140).max() < 78
    assert rows.size > 0.8 * 140 * 9


def test_what_is_plainly_not_one_digit(digits):
    page = Image.new("L", (600, 200), 255)
    for place in range(3):
        page.paste(drawing(digits.test.images[place], 140), (20 + 200 * place, 30))
    with pytest.raises(UserError, match="expected one digit, received 3; crop it to one"):
        framed(np.asarray(page, np.float32))
    with pytest.raises(UserError, match="expected a digit, received a drawing that looks like none"):
        framed(dotted(40))


def dotted(step, side=800):
    levels = np.full((side, side), 255, np.float32)
    for y, x in np.ndindex(3, 3):
        levels[y + 2 :: step, x + 2 :: step] = 0
    return levels


@pytest.mark.slow
def test_specks_without_number_take_no_time(full):
    for step in (40, 26, 20, 8) if full else (26, 8):
        for read in (reading.digit_in, reading.digits_in):
            began = time.process_time()
            with pytest.raises(UserError, match="expected "):
                read(dotted(step))
            assert time.process_time() - began < 8  # it was 63 seconds and more


@pytest.mark.slow
def test_a_thin_pen_in_a_large_picture_is_still_seen():
    picture = Image.new("L", (800, 800), 255)
    ImageDraw.Draw(picture).line([(200, 100), (600, 100), (350, 700)], fill=0, width=4)
    found = framed(np.asarray(picture, np.float32))
    assert found.max() == 255 and 0.05 < (found > 128).mean() < 0.25


def test_scipy_is_not_imported_before_there_is_a_picture():
    """Its import takes 0.2 s, which a start, a refusal and `--help` must not pay."""
    code = "import sys, mnist_mlp.predict, mnist_mlp.train, mnist_mlp.evaluate.command; print('scipy' in sys.modules)"
    assert run_code(code, backend=None).stdout == "False\n"


def test_the_frame():
    """The ink fills a box of 20×20 with its proportions kept, centre of mass at pixel (14, 14)."""
    picture = np.zeros((300, 400), np.float32)
    picture[50:250, 300:320] = 255
    found = framed(picture)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert len(rows) == 20 and 2 <= len(columns) <= 4
    for axis in (0, 1):
        mass = found.sum(1 - axis)
        assert mass @ np.arange(28) / mass.sum() == pytest.approx(14, abs=0.51)


# ---- bad pictures ----


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def bomb(side=60_000):
    """Return a PNG of 3.6 billion pixels in a few kilobytes."""
    size = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(10**6)))


@pytest.fixture
def bad(seven):
    """Names, contents, and parts of the messages."""
    whole = saved(drawing(seven)).getvalue()
    return {
        "empty.png": (b"", "expected a picture, received an empty file"),
        "cut.png": (whole[: len(whole) // 2], "cannot decode this picture: "),
        "cut.jpg": (saved(drawing(seven), "JPEG").getvalue()[:900], "cannot decode this picture: "),
        "text.png": (b"this is no picture\n" * 10, "expected a picture (PNG, JPEG, WEBP, BMP, GIF, TIFF)"),
        "bomb.png": (bomb(), "expected at most 100,000,000 pixels"),
        "blank.png": (saved(Image.new("L", (200, 200), 255)).getvalue(), "received a picture without any ink"),
        "glass.png": (saved(Image.new("RGBA", (50, 50))).getvalue(), "received a picture without any ink"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "expected a picture (PNG"),
    }


def test_bad_pictures_get_a_line_each_and_the_rest_goes_on(bad, seven, tmp_path):
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good.png").write_bytes(saved(drawing(seven)).getvalue())
    (tmp_path / "notes.txt").write_text("no picture, and not meant as one")
    reporter = Collector()
    found = inputs.read(f"{tmp_path}/*.[pje]*", reporter=reporter)
    assert [digit.name for digit in found] == [f"{tmp_path}/good.png"]
    for line, name in zip(reporter.lines, sorted(bad), strict=True):
        assert line.startswith(f"{tmp_path}/{name}: ") and bad[name][1] in line and "\n" not in line
    reporter.lines.clear()
    assert len(inputs.read(str(tmp_path), reporter=reporter)) == 1  # a directory: files with a picture's suffix
    assert len(reporter.lines) == len(bad) - 1


def test_what_names_nothing(tmp_path):
    for place, words in (
        (str(tmp_path), "a directory with pictures"),
        (f"{tmp_path}/*.png", "found no match"),
    ):
        with pytest.raises(UserError, match=words):
            inputs.read(place)
    reporter = Collector()
    assert inputs.read(f"{tmp_path}/absent.png", reporter=reporter) == []
    assert "absent.png: cannot read this picture: No such file" in reporter.lines[0]


# ---- several digits ----


def test_several_digits_in_the_order_of_reading(digits):
    chosen = [int(np.argmax(digits.test.labels == label)) for label in (3, 1, 4, 1, 5, 9, 2, 6)]
    page = Image.new("L", (700, 500), 255)
    for place, index in enumerate(chosen):
        x, y = 40 + place % 4 * 160, 40 + place // 4 * 220 + 15 * (place % 2)
        page.paste(drawing(digits.test.images[index], 140), (x, y))
    found = [each.image for each in reading.digits_in(np.asarray(page, np.float32))]
    assert len(found) == 8
    for image, index in zip(found, chosen, strict=True):
        same(image, digits.test.images[index], 20.0)


def test_what_hangs_together():
    drawn = ["#..#.##", "#..#..#", ".#.##.#", "....#..", "##.....", "..#...#"]
    inked = np.array([[place == "#" for place in row] for row in drawn])
    labels = strokes.pieces_of(inked.astype(np.float32)).labels
    assert ((labels > 0) == inked).all()
    groups = {frozenset(zip(*np.nonzero(labels == number), strict=True)) for number in np.unique(labels[inked])}
    seen, expected = set(), set()
    for start in zip(*np.nonzero(inked), strict=True):  # by walking from pixel to pixel
        if start in seen:
            continue
        group, ahead = set(), [start]
        while ahead:
            y, x = ahead.pop()
            if (y, x) not in group and 0 <= y < 6 and 0 <= x < 7 and inked[y, x]:
                group.add((y, x))
                ahead += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        seen |= group
        expected.add(frozenset(group))
    assert groups == expected and len(groups) > 2


def test_ink_beside_no_stroke_is_haze():
    """Of two ways to see a digit in a shadow, the one that leaves the shadow out is taken."""
    ink = np.zeros((200, 200), np.float32)
    ink[40:160, 92:108] = ink[144:160, 50:150] = 1  # an upright stroke with a base
    in_shadow = ink.copy()
    in_shadow[60:120, 50:85] = 0.28  # not enough for a piece of ink
    images = [normalize.in_frame(each) for each in (ink, in_shadow)]
    assert normalize.haze_of(images[0]) == 0 and normalize.haze_of(images[1]) > 0.1

    paper = reading.Paper(reading.WHOLE, np.where(ink > 0.5, 40, 200).astype(np.float32))
    costs = []
    for each in (ink, in_shadow):
        hypothesis = reading.Hypothesis(paper, InkMap(each, "dark", EVEN, 160.0, 0.0), {})
        costs.append(sum(reading.Candidate(hypothesis, [0]).costs.values()))
    assert costs[1] > costs[0] + 0.05


def test_the_terminal():
    image = np.zeros((28, 28), np.uint8)
    image[4, 3:5] = 128, 255
    probabilities = np.array([0.0, 0.75, 0.25] + 7 * [0.0], np.float32)
    lines = render(image, probabilities, "0123456789").split("\n")
    assert len(lines) == 28 and lines[4] == " " * 6 + "▓▓██"
    assert lines[10].endswith(" *1   75.0%  " + 15 * "█") and lines[11].endswith("  2   25.0%  █████")
    assert render(image, probabilities, "0123456789", plain=True).isascii()


# ---- what is typed ----


def rows(names):
    return np.full((len(names), 10), 0.1, np.float32)


def test_output_never_replaces_an_input(seven, tmp_path):
    folder = tmp_path / "over"
    folder.mkdir()
    for name in ("a.png", "b.png", "notes.txt"):
        (folder / name).write_bytes(saved(drawing(seven)).getvalue())
    (tmp_path / "link.csv").symlink_to(folder / "b.png")
    for place in (folder, f"{folder}/*.png", folder / "b.png"):
        for output in (folder / "b.png", tmp_path / "link.csv"):
            with pytest.raises(UserError, match="--input and --output: expected two different files"):
                predict.output_file(predict.Options(input=("-", str(place)), output=str(output)))
        predict.output_file(predict.Options(input=(str(place),), output=str(folder / "notes.txt")))


def test_output_is_never_a_file_of_the_run(tmp_path):
    place = tmp_path / "run"
    for folder in ("checkpoints", "tensorboard/train", "profile"):
        (place / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "elsewhere.csv").symlink_to(place / "report.html")
    own = [
        "model.keras",
        "report.html",
        lock.NAME,
        "checkpoints/step-000000001.npz",
        "tensorboard/train/x",
        "profile/x",
    ]
    for path in [f"{folder}/{name}" for name in own for folder in (place, tmp_path / "link")] + ["elsewhere.csv"]:
        with pytest.raises(UserError, match="this would overwrite a file of the run"):
            predict.output_file(predict.Options(run_dir=str(place), output=str(tmp_path / path)))
    predict.output_file(predict.Options(run_dir=str(place), output=str(place / "predictions.csv")))


STRANGE = ["new\nline", "cr\rx", "esc\x1b[31m", "\udcff", 'a,b"c', "c1\x9b31m", "\u202egnp", "ls\u2028", "ü€日本"]


def test_strange_names_have_a_line_each_and_steer_no_terminal(seven):
    spelled = [spelled_out(name) for name in STRANGE]
    assert spelled[:5] == ["new\\nline", "cr\\rx", "esc\\x1b[31m", "\\udcff", 'a,b"c']
    assert spelled[5:] == ["c1\\x9b31m", "\\u202egnp", "ls\\u2028", "ü€日本"]
    text = predict.as_csv(STRANGE, rows(STRANGE)).encode().decode()
    assert text.count("\n") == len(STRANGE) + 1
    assert [row[0] for row in csv.reader(text.splitlines())][1:] == spelled
    lines = predict.as_json_lines(STRANGE, rows(STRANGE)).splitlines()
    assert [json.loads(line)["input"] for line in lines] == STRANGE and all(map(str.isascii, lines))
    for name in STRANGE:
        shown_so = predict.as_preview([inputs.Digit(name, seven)], rows([name]), "0123456789")
        assert shown_so.split("\n")[0] == spelled_out(name) and len(shown_so.split("\n")) == 31


def test_a_name_that_begins_as_a_home_directory(seven, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nouser.png").write_bytes(saved(drawing(seven)).getvalue())
    np.save(tmp_path / "~nouser.npy", seven[None])
    assert len(inputs.read("~nouser.png")) == len(inputs.read("~nouser.npy")) == 1
    with pytest.raises(UserError, match="which names an unknown user"):
        inputs.read("~nouser.jpg")
    with pytest.raises(UserError, match="received: File name too long"):
        inputs.read(300 * "x" + ".png")


def test_one_bad_word_does_not_stop_the_others(seven, tmp_path):
    good, empty = tmp_path / "good.png", tmp_path / "empty"
    good.write_bytes(saved(drawing(seven)).getvalue())
    empty.mkdir()
    bad = [str(empty), f"{tmp_path}/*.gif", f"{tmp_path}/absent.npy", f"{tmp_path}/absent.png", "~nouser.png"]
    reporter = Collector()
    found = predict.read_digits(predict.Options(input=(*bad[:2], str(good), *bad[2:])), inputs.Settings(), reporter)
    assert [digit.name for digit in found] == [str(good)] and len(reporter.lines) == len(bad)
    for word, line in zip(bad, reporter.lines, strict=True):
        assert word in line and ("expected" in line or "cannot read" in line)
    with pytest.raises(UserError, match="expected a directory with pictures"):
        predict.read_digits(predict.Options(input=(str(empty),)), inputs.Settings(), reporter)


def test_arrays_among_other_inputs(seven, tmp_path):
    words = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", np.stack([seven, seven]))
        words.append(f"{tmp_path}/{folder}/x.npy")
    found = predict.read_digits(predict.Options(input=tuple(words)), inputs.Settings(), PRINT)
    assert [digit.name for digit in found] == [f"{word}:{index}" for word in words for index in (0, 1)]
    assert predict.read_digits(predict.Options(input=tuple(words[:1])), inputs.Settings(), PRINT)[0][0] == "x.npy:0"
    for flag, settings in ("segment", inputs.Settings(segment=True)), ("no_reframe", inputs.Settings(reframe=False)):
        with pytest.raises(UserError, match=f"--{flag}: expected pictures, received arrays"):
            predict.read_digits(predict.Options(input=(words[0],)), settings, PRINT)


def test_a_pipe_is_told_to_come_by_standard_input(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    reporter = Collector()
    assert (
        inputs.read(f"{tmp_path}/pipe.png", reporter=reporter) == [] and "use - for standard input" in reporter.lines[0]
    )


def test_what_cannot_be_written_gets_advice_that_helps(tmp_path):
    for number, advice in (
        (errno.EACCES, "that you can write to"),
        (errno.ENOSPC, "free space"),
        (errno.EIO, "try another"),
    ):
        assert advice in str(atomic.cannot_write(tmp_path, OSError(number, os.strerror(number))))


# ---- the program ----


def run(*arguments, **options):
    return run_program("predict", *arguments, backend="tensorflow", **options)


@pytest.mark.slow
def test_the_program(trained, bad, seven, tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(saved(drawing(seven)).getvalue())
    (tmp_path / "text.png").write_bytes(bad["text.png"][0])
    (tmp_path / "bad\x1b\nerror.gif").write_bytes(b"x")
    several = [good, "-", tmp_path]  # as a shell makes them of good.*
    with good.open("rb") as picture:
        done = run(f"--run_dir={trained}", "--input", *several, "--format=jsonl", stdin=picture)
    assert done.returncode == 2
    first, second, last = done.stderr.splitlines()
    assert "bad\\x1b\\nerror.gif: expected a picture" in first and "\x1b" not in done.stderr
    assert "text.png: expected a picture" in second and "2 of 4 pictures could not be used" in last
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["input"].rpartition("/")[2] for row in read] == ["good.png", "stdin", "good.png"]
    assert {row["class"] for row in read} == {7}


@pytest.mark.slow
def test_the_program_shows_a_picture_of_standard_input(trained, seven, tmp_path):
    (tmp_path / "good.png").write_bytes(saved(drawing(seven)).getvalue())
    with (tmp_path / "good.png").open("rb") as picture:
        done = run(f"--run_dir={trained}", "--input=-", "--show", f"--output={tmp_path}/p.csv", stdin=picture)
    assert done.returncode == 0 and done.stdout.startswith("stdin\n") and "*7" in done.stdout
    assert "1 prediction in" in done.stderr and len((tmp_path / "p.csv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_standard_output_by_its_name(trained, seven, tmp_path):
    """In a pipe, and appended to a file."""
    (tmp_path / "good.png").write_bytes(saved(drawing(seven)).getvalue())
    (tmp_path / "log").write_text("first\n")
    flags = [f"--run_dir={trained}", f"--input={tmp_path}/good.png", "--output=/dev/stdout"]
    done = run(*flags)
    assert len(done.stdout.splitlines()) == 2 and "1 prediction in" in done.stderr
    with (tmp_path / "log").open("a") as log:
        assert run(*flags, stdout=log).returncode == 0
    assert len((tmp_path / "log").read_text().splitlines()) == 3


@pytest.mark.slow
def test_standard_input_that_is_closed(trained, seven, tmp_path):
    (tmp_path / "good.png").write_bytes(saved(drawing(seven)).getvalue())
    code = """
import os, runpy, sys
os.close(0)
sys.stdin = sys.__stdin__ = None  # as Python begins then
runpy.run_module("mnist_mlp.predict", run_name="__main__", alter_sys=True)
"""
    done = run_code(code, f"--run_dir={trained}", "--input", tmp_path / "good.png", "-", backend="tensorflow")
    assert len(done.stdout.splitlines()) == 2 and "Traceback" not in done.stderr
    assert "standard input is closed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, flags, words",
    [
        ("text.png", [], "none of the pictures could be used"),
        ("good.png", ["--no_reframe"], "expected a picture of 28×28 pixels, received 280×280"),
    ],
)
def test_the_program_refuses_before_a_framework_is_imported(trained, bad, seven, tmp_path, name, flags, words):
    (tmp_path / "good.png").write_bytes(saved(drawing(seven)).getvalue())
    (tmp_path / "text.png").write_bytes(bad["text.png"][0])
    done = program("predict", f"--run_dir={trained}", f"--input={tmp_path / name}", *flags)
    assert done.returncode == 2 and not done.stdout and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_test_images_as_pictures(mnist, mnist_run, tmp_path, full):  # noqa: F811
    """Unchanged, they give the probabilities of the network's weights; read as pictures, too, but for what is refused.

    No image of the sample is refused; with --full, at most two of all images.
    """
    chosen = np.arange(10_000) if full else np.arange(0, 10_000, 125)
    folder, images, labels = tmp_path / "pictures", mnist.test.images[chosen], mnist.test.labels[chosen]
    folder.mkdir()
    for index, image in zip(chosen, images, strict=True):
        Image.fromarray(image).save(folder / f"{index:05}.png")
    found = {}
    for flag in ("--no_reframe", "--format=csv"):
        done = run(f"--run_dir={mnist_run}", f"--input={folder}", flag)
        refused = [line for line in done.stderr.splitlines() if "looks like none" in line]
        assert done.returncode == (2 if refused else 0), done.stderr
        rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
        indices = [int(os.path.basename(row[0])[:5]) for row in rows]
        assert indices == sorted(indices) and len(indices) + len(refused) == len(chosen)
        found[flag] = np.searchsorted(chosen, indices), np.array([[float(value) for value in row[1:]] for row in rows])
    (every, as_they_are), (kept, framed) = found.values()
    assert len(every) == len(chosen) and len(kept) >= len(chosen) - (2 if full else 0)
    np.testing.assert_allclose(as_they_are[:, 1:], by_hand(mnist_run, images), rtol=1e-3, atol=1e-6)
    right = as_they_are[:, 0] == labels
    lost = right[kept] & (framed[:, 0] != labels[kept])
    assert lost.mean() < (0.001 if full else 0.02)  # one of the sample
    if full:
        counts = np.bincount(10 * labels + as_they_are[:, 0].astype(int), minlength=100).reshape(10, 10)
        result = json.loads((mnist_run / "result.json").read_text())
        np.testing.assert_array_equal(counts, result["test"]["confusion"])
        assert (framed[:, 0] == labels[kept]).sum() >= right.sum() - 10
    again = np.stack([digit.image for digit in inputs.read(str(folder))])
    assert (again == images[kept]).all((1, 2)).mean() >= 0.999  # they are in MNIST's frame, and stay as they are


def by_hand(run_dir, images):
    """Return the probabilities that the weights of a run's network give, in float64."""

    model, x = keras_file.load(run_dir / "model.keras"), images.reshape(-1, 784) / 255
    for name in ("hidden_1", "hidden_2", "logits"):
        layer = model.get_layer(name)
        x = x @ layer.kernel.numpy().astype(np.float64) + layer.bias.numpy()
        x = np.maximum(x, 0) if name != "logits" else x
    shares = np.exp(x - x.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)
