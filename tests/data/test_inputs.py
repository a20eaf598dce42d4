"""What `predict --input` finds in a directory, and IDX files that are not quite the wanted ones."""

import gzip
import struct

import numpy as np
import pytest
from helpers.programs import Collector
from PIL import Image, ImageDraw

from mnist_mlp.data.pictures import inputs
from mnist_mlp.errors import UserError

IMAGES = np.arange(3 * 784).reshape(3, 28, 28).astype(np.uint8)


def a_one(path):
    picture = Image.new("L", (90, 90), 255)
    ImageDraw.Draw(picture).line([(50, 15), (40, 75)], fill=0, width=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def test_hidden_files_are_passed_over_as_with_a_pattern(tmp_path):
    a_one(tmp_path / "one.png")
    for name in ("._one.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    reporter = Collector()
    for source in (tmp_path, f"{tmp_path}/*.png"):
        assert [digit.name for digit in inputs.read(str(source), reporter=reporter)] == [f"{tmp_path}/one.png"]
    assert reporter.lines == []
    (tmp_path / "one.png").unlink()
    with pytest.raises(UserError, match="expected a directory with pictures .*found none"):
        inputs.read(str(tmp_path))


def test_a_directory_without_pictures_says_what_it_has(tmp_path):
    a_one(tmp_path / "tree" / "1" / "a.png")
    with pytest.raises(UserError) as error:
        inputs.read(str(tmp_path / "tree"))
    pattern = str(error.value).partition("try --input='")[2].rstrip("'")
    assert [digit.name for digit in inputs.read(pattern)] == [f"{tmp_path}/tree/1/a.png"]
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", IMAGES)
    with pytest.raises(UserError, match=r"x.npy is a NumPy array \(.npy\); try --input=.*/arrays/x.npy"):
        inputs.read(str(tmp_path / "arrays"))
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UserError, match="IMG_1.HEIC is a HEIC picture; save it as JPEG or PNG"):
        inputs.read(str(tmp_path / "phone"))


HEAD = bytes([0, 0, 8, 3])
BIG, LITTLE = struct.pack(">3I", *IMAGES.shape), struct.pack("<3I", *IMAGES.shape)
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3])
IDX = {
    "lengths in the other byte order": (HEAD + LITTLE + IMAGES.tobytes(), "highest byte first; write 3×28×28 so"),
    "all of it": (
        HEAD[::-1] + LITTLE + IMAGES.tobytes(),
        "IDX in the other byte order; IDX has the highest",
    ),
    "labels": (LABELS, "IDX labels (one dimension); give the file of the images, such as t10k-images-idx3-ubyte"),
    "labels, packed": (gzip.compress(LABELS), "IDX labels (one dimension)"),
    "floats": (bytes([0, 0, 13, 3]) + BIG, "IDX of floats; save them as unsigned bytes, 0–255"),
    "two dimensions": (bytes([0, 0, 8, 2]) + BIG, "IDX of 2 dimensions"),
    "no images": (HEAD + struct.pack(">3I", 0, 28, 28), "n ≥ 1, received [0, 28, 28]"),
    "ends early": (
        gzip.compress(HEAD + BIG + IMAGES.tobytes())[:-12],
        "it ends early, as after an interrupted",
    ),
    "nothing packed": (gzip.compress(b""), "nothing, packed with gzip"),
}


@pytest.mark.parametrize("case", IDX)
def test_idx_files_that_are_not_quite_the_wanted_ones(case, tmp_path):
    content, words = IDX[case]
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError) as error:
        inputs.read(str(tmp_path / "images-idx3-ubyte"))
    assert words in str(error.value) and "\n" not in str(error.value)
