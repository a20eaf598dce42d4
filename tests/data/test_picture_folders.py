"""Pictures in folders 0 to 9 as a data set of one's own: what is read, held out, left out and refused."""

import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mnist_mlp import data
from mnist_mlp.cli.terminal import ERASE
from mnist_mlp.config import Config
from mnist_mlp.data import Split
from mnist_mlp.data.dataset import _in_both
from mnist_mlp.data.pictures import inputs, reading_cache
from mnist_mlp.errors import UserError


@pytest.fixture
def few(digits):
    """Three images of each class: indices of the embedded digits."""
    return np.concatenate([np.flatnonzero(digits.train.labels == label)[:3] for label in range(10)])


def written(folder, split, indices):
    for index in indices:
        place = folder / str(split.labels[index])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.images[index]).save(place / f"{index:04d}.png")


def load(path, dataset="custom", source="auto"):
    return data.load(Config(dataset=dataset, data_dir=str(path), data_source=source))


def as_sorted(split, indices=slice(None)):
    pairs = zip(split.images[indices], split.labels[indices], strict=True)
    return sorted((int(label), image.tobytes()) for image, label in pairs)


def test_folders_of_both_splits(few, digits, tmp_path):
    split = digits.train
    written(tmp_path / "train", split, few[::2])
    written(tmp_path / "test", split, few[1::2])
    found = load(tmp_path)
    assert as_sorted(found.train) == as_sorted(split, few[::2])
    assert as_sorted(found.test) == as_sorted(split, few[1::2])
    assert (found.name, found.source, found.verified) == ("custom", f"pictures in {tmp_path}", False)
    again = load(tmp_path, source="pictures")
    np.testing.assert_array_equal(again.train.images, found.train.images)  # in the same order: runs can be resumed


def test_without_a_split_some_of_each_class_are_held_out(few, digits, tmp_path):
    written(tmp_path, digits.train, few)
    found = load(tmp_path)
    assert len(found.train) == 20 and sorted(found.test.labels) == list(range(10))
    assert "10 of the 30 that have, one in" in " ".join(found.notes)


def test_a_folder_of_training_pictures_alone_is_enough(few, digits, tmp_path):
    written(tmp_path / "mine" / "train", digits.train, few)
    found, same = load(tmp_path / "mine"), load(tmp_path / "mine" / "train")
    np.testing.assert_array_equal(found.test.images, same.test.images)
    assert (len(found.train), len(found.test)) == (20, 10)


def test_too_few_pictures_to_hold_some_out_are_refused(few, digits, tmp_path):
    written(tmp_path, digits.train, np.delete(few, [0, 1, 9, 10]))  # one of class 0, one of class 3
    with pytest.raises(UserError, match="two images or more of each class.*; received one of 0, 3; "):
        load(tmp_path)


def test_pictures_beside_another_data_set_are_never_passed_over(few, digits, tmp_path):
    written(tmp_path, digits.train, few)
    (tmp_path / "labels.csv").write_text("file,label\n0/0000.png,0\n")
    with pytest.raises(UserError, match="received labels.csv in .* and folders of pictures; .*--data_source=csv or"):
        load(tmp_path)
    assert len(load(tmp_path, source="pictures").train) == 20


def test_what_is_refused_is_left_out_and_said(few, digits, tmp_path):
    written(tmp_path, digits.train, few)
    Image.new("L", (200, 200), 255).save(tmp_path / "3" / "blank.png")
    (tmp_path / "4" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    notes = " ".join(load(tmp_path).notes)
    assert (
        f"2 of 32 pictures in {tmp_path} are refused and left out, such as {tmp_path}/3/blank.png: expected a d"
        in notes
    )


def test_what_cannot_be_a_data_set_is_refused(few, digits, tmp_path):
    written(tmp_path / "mine", digits.train, few)
    with pytest.raises(UserError, match="it has folders of pictures, one for each class: use --dataset=custom"):
        load(tmp_path / "mine", "mnist")
    (tmp_path / "mine" / "ten").mkdir()
    Image.fromarray(digits.train.images[0]).save(tmp_path / "mine" / "ten" / "a.png")
    with pytest.raises(UserError, match=rf"--data_dir={tmp_path}/mine: expected .*ten"):
        load(tmp_path / "mine")
    for label in range(10):
        (tmp_path / "blank" / str(label)).mkdir(parents=True)
        Image.new("L", (50 + label, 60), 255).save(tmp_path / "blank" / str(label) / "a.png")
    with pytest.raises(
        UserError, match="expected pictures that can be read, received 10, all refused, such as .*0/a.png: exp"
    ):
        load(tmp_path / "blank")


def test_an_empty_class_is_refused_before_a_picture_is_read(few, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "one_digit", None)
    for part in ("train", "test"):
        written(tmp_path / part, digits.train, few[few != few[12]] if part == "test" else few)
    shutil.rmtree(tmp_path / "test" / "4")
    (tmp_path / "test" / "4").mkdir()
    with pytest.raises(UserError, match="test: expected pictures of all ten classes, received none of 4; repair it or"):
        load(tmp_path)


def test_pictures_in_both_splits_are_counted(few, digits, tmp_path):
    written(tmp_path / "train", digits.train, few)
    written(tmp_path / "test", digits.test, range(100, 140))
    assert "training images, too" not in " ".join(load(tmp_path).notes)
    written(tmp_path / "test", digits.train, few[:5])
    notes = " ".join(load(tmp_path).notes)
    assert "5 of the 45 test images are training images, too: the network knows them, which flatters" in notes


def test_the_same_picture_with_two_classes_is_refused_also_in_two_splits(few, digits, tmp_path):
    written(tmp_path / "train", digits.train, few)
    written(tmp_path / "test", digits.test, range(40))
    one, other = next((tmp_path / "train" / "3").iterdir()), tmp_path / "test" / "5" / "copy.png"
    shutil.copy(one, other)
    with pytest.raises(UserError, match=f"received {one} as 3 and {other}, the same bytes, as 5; keep one"):
        load(tmp_path)


def test_images_of_both_splits_with_other_labels(digits):
    train, test = (Split(split.images[:20], split.labels[:20]) for split in (digits.train, digits.test))
    assert _in_both(train, test) == []
    images = np.concatenate([test.images, train.images[:3]])
    mixed = Split(
        images, np.concatenate([test.labels, train.labels[:2], [(train.labels[2] + 1) % 10]]).astype(np.uint8)
    )
    assert _in_both(train, mixed) == [
        "3 of the 23 test images are training images, too (1 of them with another label): the network knows them, "
        "which flatters the accuracy"
    ]


def test_what_lies_beside_train_and_test_is_said_to_be_passed_over(few, digits, tmp_path):
    written(tmp_path / "train", digits.train, few)
    written(tmp_path / "test", digits.test, range(40))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert "passed over" not in " ".join(load(tmp_path).notes)
    written(tmp_path, digits.train, few[:4])
    written(tmp_path / "more", digits.train, few[:1])
    Image.fromarray(digits.train.images[0]).save(tmp_path / "loose.png")
    assert "passed over the pictures beside train and test: 0, 1, loose.png, more" in load(tmp_path).notes
    shutil.rmtree(tmp_path / "test")
    for label in "01":
        shutil.rmtree(tmp_path / label)
    assert "passed over the pictures beside train: loose.png, more" in load(tmp_path).notes


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal(few, digits, tmp_path, monkeypatch):
    written(tmp_path, digits.train, few)
    monkeypatch.setattr("sys.stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    load(tmp_path)
    shown = sys.stderr.getvalue().split("\r")
    assert shown[1] == f"0 of 30 pictures read{ERASE}" and shown[-2:] == [f"29 of 30 pictures read{ERASE}", ERASE]


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MNIST_MLP_CACHE", str(place))
    return place


def read_by(load_it, monkeypatch):
    """Return how many pictures the reader is asked about."""
    asked = []
    with monkeypatch.context() as patch:
        one_digit = inputs.one_digit
        patch.setattr(inputs, "one_digit", lambda *given: asked.append(given[0]) or one_digit(*given))
        load_it()
    return len(asked)


def test_a_picture_is_read_once(few, digits, tmp_path, cache, monkeypatch):
    written(tmp_path / "a", digits.train, few)
    Image.new("L", (200, 200), 255).save(tmp_path / "a" / "3" / "blank.png")
    first = load(tmp_path / "a")
    (file,) = (cache / "pictures").iterdir()
    assert read_by(lambda: load(tmp_path / "a"), monkeypatch) == 1  # a refusal is made anew
    (tmp_path / "a").rename(tmp_path / "b")
    again = load(tmp_path / "b")
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert [note.replace(f"{tmp_path}/b", f"{tmp_path}/a") for note in again.notes] == list(first.notes)
    written(tmp_path / "b", digits.test, [7])
    assert read_by(lambda: load(tmp_path / "b"), monkeypatch) == 2
    monkeypatch.setattr(reading_cache, "version", lambda package: "another")
    assert read_by(lambda: load(tmp_path / "b"), monkeypatch) == 32 and len(list((cache / "pictures").iterdir())) == 2
    assert file.exists()


def test_without_a_good_cache_all_is_read(few, digits, tmp_path, cache, monkeypatch):
    written(tmp_path, digits.train, few)
    kept = load(tmp_path)
    (file,) = (cache / "pictures").iterdir()
    for content in (b"", file.read_bytes()[:-99], b"PK\3\4" + bytes(99)):
        file.write_bytes(content)
        assert read_by(lambda: load(tmp_path), monkeypatch) == 30
        assert read_by(lambda: load(tmp_path), monkeypatch) == 0  # it is whole again
    file.parent.chmod(0o777)  # others could put images there
    assert read_by(lambda: load(tmp_path), monkeypatch) == 30
    monkeypatch.setenv("MNIST_MLP_CACHE", "off")
    assert read_by(lambda: load(tmp_path), monkeypatch) == 30
    monkeypatch.setenv("MNIST_MLP_CACHE", str(file))  # no directory
    np.testing.assert_array_equal(load(tmp_path).train.images, kept.train.images)


def test_two_at_a_time_keep_what_both_have_read(few, digits, tmp_path, cache, monkeypatch):
    written(tmp_path / "a", digits.train, few)
    written(tmp_path / "b", digits.test, range(30))
    one, other = (sorted(path for path in (tmp_path / name).rglob("*.png"))[:2] for name in "ab")
    with reading_cache.opened(inputs.Settings()) as first, reading_cache.opened(inputs.Settings()) as second:
        for picture, another in zip(one, other, strict=True):
            first(picture)
            second(another)
    with reading_cache.opened(inputs.Settings()) as again:
        assert read_by(lambda: [again(picture) for picture in (*one, *other)], monkeypatch) == 0


def test_a_process_that_is_killed_has_kept_most_of_what_it_read(few, digits, tmp_path, cache, monkeypatch):
    written(tmp_path, digits.train, few)
    pictures = sorted(tmp_path.rglob("*.png"))
    with reading_cache.opened(inputs.Settings()) as read:
        read(pictures[0])
        assert not list((cache / "pictures").iterdir())  # not at each picture
        monkeypatch.setattr(reading_cache, "EVERY", 0.0)
        read(pictures[1])
        with reading_cache.opened(inputs.Settings()) as again:
            assert read_by(lambda: [again(picture) for picture in pictures[:2]], monkeypatch) == 0


def test_a_cache_is_bounded(few, digits, tmp_path, cache, monkeypatch):
    written(tmp_path, digits.train, few)
    monkeypatch.setattr(reading_cache, "MOST", 12)
    monkeypatch.setattr(reading_cache, "KEEP", 1)
    for number in range(3):
        monkeypatch.setattr(reading_cache, "version", lambda package, number=number: str(number))
        load(tmp_path)
        assert read_by(lambda: load(tmp_path), monkeypatch) == 18
    assert len(list((cache / "pictures").iterdir())) == 2


def test_only_a_data_set_of_ones_own_may_be_pictures(tmp_path):
    for dataset in ("mnist", "auto"):
        with pytest.raises(
            UserError, match=f"--data_source=pictures: .* received --dataset={dataset}; use --dataset=c"
        ):
            load(tmp_path, dataset, "pictures")
