"""`evaluate --images`: every picture counts once, as right, wrong or refused; and what the page shows of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import own_pictures
from helpers.fork_server import run
from helpers.on_mnist import mnist_run  # noqa: F401  # a fixture
from helpers.pages import Page, checked
from helpers.programs import Collector, program, refused
from PIL import Image

from mnist_mlp.data.pictures import decode, inputs, labelled
from mnist_mlp.data.sets import class_names
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import command, pictures, pictures_page, pictures_text
from mnist_mlp.evaluate.pictures import Score, Shown
from mnist_mlp.files.atomic import read_json
from mnist_mlp.report import png_images
from mnist_mlp.stats.metrics import wilson_interval

AS_THEY_ARE = inputs.Settings(reframe=False)


def framed(path, value):
    """A picture in MNIST's frame, all of whose pixels have one value: what the false network below answers by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((28, 28), value, np.uint8)
    picture[0, 0] = len(list(path.parent.iterdir()))  # no two have the same content
    Image.fromarray(picture).save(path)


def answers_by_value(calls=None):
    """A network that answers d with 0.9 for an image whose pixels are 10·d."""

    def predict(images):
        if calls is not None:
            calls.append(len(images))
        p = np.full((len(images), 10), np.float32(0.1 / 9))
        p[np.arange(len(images)), images[:, 14, 14] // 10] = 0.9
        return p

    return predict


def scored(folder, batch_size=32, calls=None, settings=AS_THEY_ARE):
    found = labelled.find(str(folder), class_names({"name": "mnist"})).pictures
    reporter = Collector()
    score = pictures.score_of(answers_by_value(calls), found, settings, batch_size, reporter)
    assert len(reporter.progress_seen) == len(found)
    return score


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of which 5 are right, 3 wrong and 2 no pictures."""
    for number, (label, value) in enumerate([(0, 0), (3, 3), (3, 3), (3, 8), (7, 7), (7, 1), (9, 9), (9, 4)]):
        framed(tmp_path / "own" / str(label) / f"{number}.png", 10 * value)
    (tmp_path / "own/3/zz.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Image.new("L", (40, 30)).save(tmp_path / "own/9/large.png")
    return tmp_path / "own"


def test_every_picture_counts_once(folder):
    score = scored(folder)
    result = score.to_dict()
    assert (result["total"], result["correct"], result["answered"], result["refused"]) == (10, 5, 8, 2)
    assert result["accuracy"] == 0.5 and result["interval"] == list(wilson_interval(5, 10))
    assert result["answered_accuracy"] == 5 / 8 and result["answered_interval"] == list(wilson_interval(5, 8))
    assert np.trace(result["confusion"]) == 5 and np.sum(result["confusion"]) == 8
    assert [each["file"].rpartition("own/")[2] for each in result["mistakes"]] == ["3/3.png", "7/5.png", "9/7.png"]
    assert [(each["label"], each["class"]) for each in result["mistakes"]] == [(3, 8), (7, 1), (9, 4)]
    heic, large = result["refusals"]
    assert heic["reason"].startswith("expected a picture (PNG, JPEG") and "a HEIC picture" in heic["reason"]
    assert large == {
        "file": f"{folder}/9/large.png",
        "label": 9,
        "reason": "--no_reframe: expected a picture of 28×28 pixels, received 40×30",
    }
    nine, eight = result["per_class"][9], result["per_class"][8]
    assert (nine["examples"], nine["correct"], nine["refused"], nine["recall"]) == (3, 1, 1, 1 / 3)
    assert (eight["examples"], eight["recall"], eight["precision"]) == (0, None, 0.0)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_batches_change_nothing(folder, batch_size):
    calls = []
    assert scored(folder, batch_size, calls).to_dict() == scored(folder).to_dict()
    assert max(calls) <= batch_size and sum(calls) == 8


def test_no_more_pictures_are_kept_than_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "SHOWN", 3)
    for number in range(9):
        framed(tmp_path / "own/3" / f"{number}.png", 50)
        (tmp_path / "own/3" / f"x{number}.png").write_bytes(b"no picture %d" % number)
    score = scored(tmp_path / "own")
    assert len(score.mistakes) == len(score.refusals) == 9
    assert len(score.shown_mistakes) == len(score.shown_refusals) == 3


def outcome(p_of_label, number):
    p = [0.0] * 10
    p[3], p[5] = p_of_label, 1 - p_of_label
    return Shown({"class": 5, "p": p, "number": number}, None, np.zeros((28, 28), np.uint8))


def test_the_worst_mistakes_are_shown_worst_first(monkeypatch):
    monkeypatch.setattr(pictures, "SHOWN", 3)
    score = Score()
    for number, p in enumerate([0.4, 0.1, 0.3, 0.1, 0.2, 0.45]):
        score.answer(number, labelled.Labelled(f"{number}.png", 3), outcome(p, number))
    assert [shown.outcome["number"] for shown in score.shown_mistakes] == [1, 3, 4]


def test_what_the_network_doubts_is_refused_with_its_answer(tmp_path):
    """As in `predict`: a five that the network takes for something else."""
    data, name = own_pictures.make(45)  # a 5 drawn on a tablet
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / name).write_bytes(data)
    (found,) = labelled.find(str(tmp_path), class_names({"name": "mnist"})).pictures

    def takes_it_for(digit):
        p = np.full((1, 10), np.float32(0.01))
        p[0, digit] = 0.91
        return lambda images: p

    right = pictures.score_of(takes_it_for(5), [found], inputs.Settings(), 32, Collector())
    assert right.confusion[5, 5] == 1 and not right.refusals
    doubtful = pictures.score_of(takes_it_for(8), [found], inputs.Settings(), 32, Collector()).to_dict()
    (refusal,) = doubtful["refusals"]
    assert doubtful["answered"] == 0 and doubtful["answered_accuracy"] is None
    assert "takes for a 8 (p 0.91), and that is more like a 5" in refusal["reason"]
    assert refusal["class"] == 8 and refusal["p"][8] == 0.91
    anything = inputs.Settings(digits=False)  # networks of clothes: nothing asks whether it is a digit
    assert pictures.score_of(takes_it_for(8), [found], anything, 32, Collector()).confusion[5, 8] == 1


# ---- the page and the text


def content(score, **more):
    settings = {"reframe": True, "segment": False, "digits": True}
    about = {"images": "own", "layout": "the folder of each picture", "notes": ["no pictures of 1, 2"]}
    about |= {"settings": settings, "run_dir": "runs/<b>", "dataset": "mnist", "classes": list("0123456789")}
    about |= {"device": {"actual": "CPU: a & b"}, "backend": "tensorflow", "date": "2026-01-02T03:04:05+0000"}
    return {**about, **score.to_dict(), **more}


def test_the_page(folder, tmp_path):
    score = scored(folder)
    result = content(score, images=str(folder))
    path = tmp_path / "pictures.html"
    path.write_text(pictures_page.render(result, score.shown_mistakes, score.shown_refusals), encoding="utf-8")
    page = checked(path)
    assert "50.0% of 10 pictures" in page.text and "5 were recognized, 3 mistaken for another class, and 2 refused" in (
        page.text
    )
    assert "No pictures of 1, 2." in page.text and "runs/<b>, trained on MNIST" in page.text
    assert page.rows("Rows: true class. Columns: predicted class.")[4] == [
        *("3", "·", "·", "·", "2", "·", "·", "·", "·", "1", "·", "1", "4")
    ]
    assert page.rows("Pictures by class")[10][:4] == ["9", "3", "1", "1"]
    assert "3 mistaken for 8 predicted 90.0%, true 1.1%" in page.text
    assert "a HEIC picture; save it as JPEG or PNG 3/zz.heic" in page.text
    assert len(page.all("img", **{"class": "photo"})) == 4  # the HEIC has none
    assert len(page.all("img", **{"class": "digit"})) == 3
    assert len(page.all("svg", **{"class": "ten"})) == 3


def test_a_picture_in_colours_is_shown_in_grey(tmp_path):
    picture = Image.new("RGB", (300, 200), (200, 60, 40))
    picture.paste((40, 60, 200), (90, 60, 110, 140))
    picture.save(tmp_path / "a.jpg")
    decoded = decode.read_file(tmp_path / "a.jpg")
    assert decoded.ndim == 3  # else it shows nothing about colours
    thumbnail = pictures.thumbnail_of(decoded)
    assert (thumbnail.mode, thumbnail.size) == ("L", (112, 75))
    assert "data:image/" in png_images.photo(thumbnail, "a picture")


def test_a_page_that_does_not_show_all(folder, monkeypatch):
    monkeypatch.setattr(pictures, "SHOWN", 1)
    score = scored(folder)
    page = Page(pictures_page.render(content(score), score.shown_mistakes, score.shown_refusals))
    assert "The 1 of 3 mistakes with the lowest probability of their label; pictures.json lists all" in page.text
    assert "The 1 of 2 refusals that came first" in page.text


def test_a_page_without_mistakes_or_with_refusals_alone(tmp_path):
    framed(tmp_path / "right/3/a.png", 30)
    score = scored(tmp_path / "right")
    page = Page(pictures_page.render(content(score), [], []))
    assert "100.0% of 1 picture" in page.text and "There are none among the answered" in page.text
    assert "No picture was refused." in page.text
    (tmp_path / "none/3").mkdir(parents=True)
    (tmp_path / "none/3/<i>.png").write_bytes(b"")
    score = scored(tmp_path / "none")
    page = Page(pictures_page.render(content(score), [], score.shown_refusals))
    assert "0.0% of 1 picture" in page.text and "No answer is wrong." in page.text
    assert "expected a picture, received an empty file" in page.text and "<i>.png" in page.text
    assert page.all("i") == []


def test_the_text_lists_fifty_and_says_how_many_more(tmp_path):
    (tmp_path / "3").mkdir()
    for number in range(53):
        (tmp_path / "3" / f"{number:02}\x1b.png").write_bytes(b"no picture %d" % number)
    text = pictures_text.closing(content(scored(tmp_path)))
    lines = [line for line in text.split("\n") if "expected a picture" in line]
    assert len(lines) == 50 and "… and 3 more: --output and --json list all of them" in text
    assert "\x1b" not in text and r"00\x1b.png" in text
    assert "0 of 53 = 0.00%" in text and "answered" not in text


# ---- flags


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"label_pattern": r"(\d)"}, "--label_pattern: expected pictures of your own"),
        ({"no_reframe": True}, "--no_reframe: expected pictures"),
        ({"output": "x"}, "--output writes a page and has no effect without --images or --corruptions"),
        ({"images": "x", "data_dir": "y"}, "cannot be combined with --data_dir"),
        ({"images": "x", "gate": True}, "cannot be combined with --gate"),
    ],
)
def test_flags_that_do_not_go_together(flags, words):
    with pytest.raises(UserError, match=words):
        command.Options(run_dir="r", **flags)


# ---- the program


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder of a dozen pictures as a person makes them, and what else lies there."""
    place = tmp_path_factory.mktemp("mine") / "digits"
    files = own_pictures.write(place, 10)
    shutil.copy(files[4], place / "4/again.jpg")
    Image.new("L", (200, 200), 250).save(place / "2/blank.png")
    (place / "2/notes.txt").write_text("mine")
    return place


def evaluated(*argv, backend="tensorflow", **more):
    return run("evaluate", *argv, f"--backend={backend}", "--strategy=cpu", backend=backend, **more)


@pytest.fixture(scope="module")
def on_tensorflow(trained, mine, tmp_path_factory):
    """What was written about these pictures on TensorFlow, and what was printed."""
    place = tmp_path_factory.mktemp("tensorflow") / "out"
    done = evaluated(f"--run_dir={trained}", f"--images={mine}", f"--output={place}", "--json")
    assert done.returncode == 0, done.stderr
    (place / "stdout").write_text(done.stdout)
    (place / "stderr").write_text(done.stderr)
    return place


@pytest.mark.slow
@pytest.mark.xla(False)
def test_evaluate_says_of_each_picture_what_predict_says(trained, mine, on_tensorflow):
    said = (on_tensorflow / "stderr").read_text()
    result = json.loads((on_tensorflow / "stdout").read_text())
    assert result == read_json(on_tensorflow / "pictures.json")
    assert "1 picture is a copy of others" in said and "no pictures of" not in said
    assert result["total"] == 11 and result["refused"] >= 1
    files = [str(path) for path in sorted(mine.glob("*/*")) if path.suffix != ".txt" and path.name != "again.jpg"]
    flags = ("--strategy=cpu", "--backend=tensorflow", "--format=jsonl")
    said = run("predict", f"--run_dir={trained}", *flags, "--input", *files, backend="tensorflow")
    rows = {row["input"]: row for row in map(json.loads, said.stdout.splitlines())}
    assert result["answered"] == len(rows) and {each["file"] for each in result["refusals"]} == set(files) - set(rows)
    for each in result["mistakes"]:
        assert each["class"] == rows[each["file"]]["class"] != each["label"]
        assert np.allclose(each["p"], rows[each["file"]]["p"], atol=1e-5)
    assert result["correct"] == sum(int(Path(file).parent.name) == row["class"] for file, row in rows.items())
    page = checked(on_tensorflow / "pictures.html")
    assert f"of {result['total']} pictures" in page.text and "2/blank.png" in page.text


@pytest.mark.slow
@pytest.mark.xla(False)
def test_the_other_backend_says_the_same(trained, mine, on_tensorflow):
    done = evaluated(f"--run_dir={trained}", f"--images={mine}", "--json", backend="jax")
    assert done.returncode == 0, done.stderr
    result, other = json.loads(done.stdout), read_json(on_tensorflow / "pictures.json")
    assert (result["backend"], other["backend"]) == ("jax", "tensorflow")
    for key in ("total", "correct", "refused", "confusion", "per_class"):
        assert result[key] == other[key]


@pytest.mark.slow
@pytest.mark.xla(False)
def test_nothing_that_could_be_scored(trained, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/3_a.png").write_bytes(b"no picture")
    flags = (f"--run_dir={trained}", f"--images={tmp_path / 'mine'}")
    done = evaluated(*flags, f"--output={tmp_path / 'out'}")
    assert done.returncode == 2 and "0 of 1 = 0.00%" in done.stdout and "3_a.png: expected a picture" in done.stdout
    assert done.stderr.count("error: ") == 1 and "nothing could be scored: the only picture was refused" in done.stderr
    assert read_json(tmp_path / "out/pictures.json")["answered"] == 0
    checked(tmp_path / "out/pictures.html")


@pytest.mark.slow
def test_bad_input_is_refused_before_a_framework_is_imported(trained, tmp_path):
    (tmp_path / "mine/3").mkdir(parents=True)
    (tmp_path / "mine/10").mkdir()
    for name in ("3/a.png", "10/b.png"):
        (tmp_path / "mine" / name).write_bytes(name.encode())
    flags = (f"--run_dir={trained}", "--strategy=cpu", "--backend=tensorflow")
    mine = f"--images={tmp_path / 'mine'}"
    refused(program("evaluate", *flags, mine, f"--output={tmp_path / 'out'}"), "received '10'; move it away")
    shutil.rmtree(tmp_path / "mine/10")
    refused(program("evaluate", *flags, mine, f"--output={trained / 'result.json'}"), "received a file")
    refused(program("evaluate", *flags, mine, f"--output={tmp_path / 'a/b'}"), "there is no")
    refused(program("evaluate", *flags, f"--images={tmp_path}/absent"), "found nothing there")
    refused(program("evaluate", f"--images={tmp_path / 'mine'}"), "use --run_dir=DIR")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


@pytest.mark.slow
def test_pictures_of_ones_own_on_mnist(mnist_run, tmp_path, full):  # noqa: F811
    """The default network on pictures by a hand, and of kinds, that no limit of the reader was chosen by."""
    own_pictures.write(tmp_path / "mine", 300 if full else 20)
    done = evaluated(f"--run_dir={mnist_run}", f"--images={tmp_path / 'mine'}", "--json")
    result = json.loads(done.stdout)
    assert result["total"] == (300 if full else 20)
    if full:
        assert result["correct"] >= 275 and result["answered_accuracy"] >= 0.96, done.stderr
    assert result["correct"] >= 17, done.stderr


def test_own_pictures_are_always_the_same_and_all_different():
    first = own_pictures.make(13)
    assert first == own_pictures.make(13) and first != own_pictures.make(13, seed=1)
    assert first[1].startswith("0013-") and first != own_pictures.make(3)


@pytest.mark.slow
@pytest.mark.parametrize("width, scheme", [(420, "dark"), pytest.param(1200, "light", marks=pytest.mark.full)])
def test_the_page_in_a_browser(browser, folder, width, scheme, tmp_path):
    (folder / "3" / f"{'x' * 200}.png").write_bytes(b"no picture")  # a name and a reason of any length
    score = scored(folder)
    path = tmp_path / "pictures.html"
    path.write_text(pictures_page.render(content(score), score.shown_mistakes, score.shown_refusals), encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()] and said == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    inverted = "getComputedStyle(document.querySelector('.{}')).filter"
    assert (tab.evaluate(inverted.format("digit")) != "none") == (scheme == "dark")
    assert tab.evaluate(inverted.format("photo")) == "none"  # a photograph stays as it is
    tab.close()
