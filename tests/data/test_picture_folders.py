"""Pictures in folders 0 to 9 as a data set of one's own: what is read, held out, left out and refused."""

import numpy as np
import pytest
from PIL import Image

from mnist_mlp import data
from mnist_mlp.config import Config
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
    for label in "01":
        (tmp_path / "blank" / label).mkdir(parents=True)
        Image.new("L", (50 + int(label), 60), 255).save(tmp_path / "blank" / label / "a.png")
    with pytest.raises(
        UserError, match="expected pictures that can be read, received 2, all refused, such as .*0/a.png: exp"
    ):
        load(tmp_path / "blank")


def test_only_a_data_set_of_ones_own_may_be_pictures(tmp_path):
    for dataset in ("mnist", "auto"):
        with pytest.raises(
            UserError, match=f"--data_source=pictures: .* received --dataset={dataset}; use --dataset=c"
        ):
            load(tmp_path, dataset, "pictures")
