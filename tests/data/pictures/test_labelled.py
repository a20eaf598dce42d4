"""Which pictures with which labels a place holds: folders of classes, names, tables; and what is refused."""

import os

import pytest

from mnist_mlp.data.pictures import label_table, labelled
from mnist_mlp.data.sets import DIGITS, class_names
from mnist_mlp.errors import UserError

FASHION = class_names({"name": "fashion_mnist"})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make files, each of a content of its own unless one is given, and go there."""
    monkeypatch.chdir(tmp_path)

    def make(*names, content=None):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if content is not None else f"content of {name}".encode())

    return make


def found(text, classes=DIGITS, pattern=""):
    return {path: label for path, label in labelled.find(str(text), classes, pattern).pictures}


def refusal(text, classes=DIGITS, pattern=""):
    with pytest.raises(UserError) as error:
        labelled.find(str(text), classes, pattern)
    message = str(error.value)
    assert message.startswith(("--images=", "--label_pattern=")) and "\n" not in message
    return message


# ---- folders of classes


def test_folders_of_classes_with_deeper_ones(place):
    place("d/3/b.png", "d/3/old/deep/a.JPG", "d/7/7.png", "d/3/.hidden.png", "d/3/.thumbs/x.png", "d/.git/9/x.png")
    place("d/__MACOSX/3/x.png", "d/readme.txt", "d/3/notes.md")
    collection = labelled.find("d", DIGITS)
    assert collection.pictures == [("d/3/b.png", 3), ("d/3/old/deep/a.JPG", 3), ("d/7/7.png", 7)]
    assert collection.layout == "the folder of each picture"
    assert collection.notes == (
        "passed over 2 files without the suffix of a picture: readme.txt, notes.md",
        "no pictures of 0, 1, 2, 4, 5, 6, 8, 9",
    )


def test_pictures_that_no_reader_opens_are_not_passed_over(place, tmp_path):
    place("d/3/a.png", "d/3/IMG_1.HEIC")
    (tmp_path / "d/3/gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "d/3/pipe.png")
    assert len(found("d")) == 4


def test_links_to_folders_are_followed_but_not_in_circles(place, tmp_path):
    place("real/a.png", "d/1/b.png")
    (tmp_path / "d/3").symlink_to(tmp_path / "real")
    (tmp_path / "real/again").symlink_to(tmp_path / "real")
    assert labelled.find("d", DIGITS).pictures == [("d/1/b.png", 1), ("d/3/a.png", 3)]


def test_names_of_classes(place):
    place("d/T-shirt/a.png", "d/ankle_boot/b.png", "d/Bag/c.png", "d/trouser/d.png", "d/6/e.png")
    assert found("d", FASHION) == {
        "d/T-shirt/a.png": 0,
        "d/ankle_boot/b.png": 9,
        "d/Bag/c.png": 8,
        "d/trouser/d.png": 1,
        "d/6/e.png": 6,
    }
    assert "received 'Bag' and 3 others; move them away" in refusal("d")


@pytest.mark.parametrize("name", ["10", "-1", "seven", "07", "٣", "digit 3"])
def test_folders_that_are_no_labels(name, place):
    place("d/3/a.png", f"d/{name}/b.png")
    assert refusal("d").endswith(f"named after labels (0 to 9), received {name!r}; move it away")


def test_folders_1_to_10(place):
    place(*(f"d/{label}/a.png" for label in range(1, 11)))
    assert refusal("d").endswith("received '10'; rename it to 0, if 0 is what its pictures show")


def test_an_empty_folder_that_is_no_label_does_no_harm(place, tmp_path):
    place("d/3/a.png", "d/results/pictures.json")
    assert found("d") == {"d/3/a.png": 3}


def test_one_level_too_high(place):
    place("d/test/3/a.png", "d/train/3/b.png")
    assert "try --images=d/test" in refusal("d")


def test_folders_beside_loose_files(place):
    place("d/3/a.png", "d/7_b.png")
    assert "received both (3/ and 7_b.png)" in refusal("d")


def test_a_pattern_for_names_beside_folders(place):
    place("d/3/a.png")
    assert "lie in folders of classes; omit it" in refusal("d", pattern=r"(\d).*")


def test_nothing_there(place, tmp_path):
    (tmp_path / "empty").mkdir()
    place("d/notes.txt", "t/labels.csv", "a/images.npy", content=b"\x93NUMPY\1\0 something")
    assert "found an empty folder" in refusal("empty")
    assert "none, but a table; try --images=t/labels.csv" in refusal("t")
    assert "images.npy is a NumPy array" in refusal("a")
    assert "found nothing there" in refusal("absent") and "found nothing there" in refusal("absent.png")
    assert "found no match" in refusal("d/*.png")
    assert "is a NumPy array" in refusal("a/images.npy") or "received a NumPy array" in refusal("a/images.npy")
    assert "received a URL" in refusal("https://example.org/digits")


# ---- names


@pytest.mark.parametrize(
    "names, labels, where",
    [
        (("7_a.png", "3 b.png", "0.png", "9-12.png"), (7, 3, 0, 9), "beginning"),
        (("digit-7.jpg", "a_3.png", "x.0.png"), (7, 3, 0), "end"),
        (("1.png", "2.png"), (1, 2), "beginning"),
        (("7_7.png", "3-b-3.png"), (7, 3), "beginning"),
        (("7_1.png", "7_2.png", "3_10.png"), (7, 7, 3), "beginning"),  # a series of each
        (("12_7.png", "3_4.png"), (7, 4), "end"),
    ],
)
def test_names_that_carry_a_label(names, labels, where, place):
    place(*(f"d/{name}" for name in names))
    collection = labelled.find("d", DIGITS)
    expected = {f"d/{name}": label for name, label in zip(names, labels, strict=True)}
    assert dict(collection.pictures) == expected and where in collection.layout
    assert found("d/*") == expected
    one = f"d/{names[0]}"
    if names[0] != "7_1.png":
        assert found(one) == {one: labels[0]}


def test_names_without_a_label(place):
    place("d/7_a.png", "d/IMG_0007.png", "d/x.png")
    assert "as in 7_a.png or digit-7.jpg; received 'IMG_0007' and 1 other without one" in refusal("d")
    for name in ("10_a.png", "a10.png", "a7.png", "7a.png", "-1.png", "a_-1.png", "seven.png", "٣.png"):
        place(f"{name}-/{name}")
        assert "without one; sort them" in refusal(f"{name}-"), name


def test_names_with_two_labels(place):
    place("d/7_1.png", "d/3_2.png")
    assert r"received 3_2, which begins and ends with one; try --label_pattern='(\d).*'" in refusal("d")
    assert found("d", pattern=r"(\d).*") == {"d/7_1.png": 7, "d/3_2.png": 3}
    assert found("d", pattern=r".*(\d)") == {"d/7_1.png": 1, "d/3_2.png": 2}


def test_names_with_a_class(place):
    place("d/bag_1.png", "d/ankle-boot-2.png", "d/T-shirt 3.png")
    assert found("d", FASHION) == {"d/bag_1.png": 8, "d/ankle-boot-2.png": 9, "d/T-shirt 3.png": 0}
    assert found("d/bag_1.png", FASHION) == {"d/bag_1.png": 8}
    place("t/tshirt_1.png", "t/AnkleBoot 2.png", "t/T-shirt-top.png")
    assert list(found("t", FASHION).values()) == [9, 0, 0]
    place("e/x-T-shirt.png", "e/y-shirt.png", "e/1 ankle boot.png")
    assert found("e", FASHION) == {"e/x-T-shirt.png": 0, "e/y-shirt.png": 6, "e/1 ankle boot.png": 9}


def test_names_of_classes_that_are_no_words(place):
    """Such a class has its digit alone: signs are no letters, and two classes may have the same ones."""
    classes = ("+", "-", "a b", "ab", *"456789")
    place("d/0/a.png", "d/ab/b.png")
    assert "received 'ab'" in refusal("d", classes)
    place("e/+/a.png", "e/3/c.png")
    assert "received '+'" in refusal("e", classes)


def test_a_pattern_of_names(place):
    place("d/a7b.png", "d/c3d.png")
    assert found("d", pattern=r"[a-z](\d)[a-z]") == {"d/a7b.png": 7, "d/c3d.png": 3}
    assert "match each name as a whole, without suffix; it does not match 'c3d'" in refusal("d", pattern=r"a(\d)b")
    assert "does not match 'a7b' and 1 other" in refusal("d", pattern=r"(\d)")
    place("d/a12b.png")
    assert """expected labels 0 to 9, received "'12' in a12b""" in refusal("d", pattern=r"[a-z](\d+)[a-z]")


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("7_.*", "expected one group"),
        (r"(\d)(.*)", "received 2; write (?:…)"),
        ("(", "a wrong one"),
        ("[", "a wrong one"),
    ],
)
def test_patterns_that_say_no_label(pattern, words, place):
    place("d/7_a.png")
    assert words in refusal("d", pattern=pattern)


def test_files_in_folders_of_classes_are_not_read_by_name(place):
    place("d/3/IMG_1.png", "d/7/IMG_2.png")
    assert "try --images=d" in refusal("d/*/*.png")
    assert found("d/*/*.png", pattern=r"IMG_(\d)") == {"d/3/IMG_1.png": 1, "d/7/IMG_2.png": 2}


# ---- tables


TABLES = {
    "plain": "a.png,3\nsub/b.png,7\n",
    "header": "file,label\na.png,3\nsub/b.png,7\n",
    "header, other order": "label,file\n3,a.png\n7,sub/b.png\n",
    "header in other words": "Bild;Ziffer\na.png;3\nsub/b.png;7\n",
    "no header, other order": "3,a.png\n7,sub/b.png\n",
    "BOM, CRLF": "\ufefffile;label\r\na.png;3\r\nsub/b.png;7\r\n",
    "quotes": '"a.png","3"\n"sub/b.png", 7\n',
    "tabs": "file name\tclass\na.png\t3\nsub/b.png\t7\n",
    "more columns": "id,Path,who,Digit\n1,a.png,me,3\n2,sub/b.png,you,7\n",
    "blank lines": "\na.png,3\n\n ,\nsub/b.png,7",
}


@pytest.mark.parametrize("table", TABLES)
def test_tables(table, place, tmp_path):
    place("d/a.png", "d/sub/b.png")
    (tmp_path / "d/labels.csv").write_text(TABLES[table], encoding="utf-8", newline="")
    assert found("d/labels.csv") == {"d/a.png": 3, "d/sub/b.png": 7}


def test_odd_names_in_tables(place, tmp_path):
    place("d/a,b.png", "d/c;d.png", 'd/e"f.png')
    (tmp_path / "d/labels.csv").write_text('"a,b.png",3\nc;d.png,4\n"e""f.png",5\n')
    assert found("d/labels.csv") == {"d/a,b.png": 3, "d/c;d.png": 4, 'd/e"f.png': 5}
    (tmp_path / "d/labels.csv").write_text('a,b.png;3\n"c;d.png";4\n')
    assert found("d/labels.csv") == {"d/a,b.png": 3, "d/c;d.png": 4}
    absolute = tmp_path / "d/a,b.png"
    (tmp_path / "labels.csv").write_text(f'"{absolute}",3\n')
    assert found("labels.csv") == {str(absolute): 3}


BAD_TABLES = {
    "absent files": ("a.png,3\nx.png,4\ny.png,5\n", "received x.png (line 2) and 1 other"),
    "a folder": ("a.png,3\nsub,4\n", "received sub (line 2)"),
    "one column": ("a.png\nb.png\n", "received 1 column"),
    "three without a header": ("a.png,3,x\n", "received 3 columns"),
    "pixels": (",".join(["label", *map(str, range(784))]), "give it to train --data_dir"),
    "label 10": ("a.png,10\n", "received '10' in line 1"),
    "label 10 below a header": ("file,label\na.png,10\na.png,x\n", "received '10' in line 2 and 1 other"),
    "label nan": ("file,label\na.png,nan\n", "received 'nan' in line 2"),
    "label -1": ("a.png,3\na.png,-1\n", "received '-1' in line 2"),
    "no label": ("a.png,3\na.png,\n", "received '' in line 2"),
    "ragged": ("a.png,3\na.png,3,4\n", "line 2: expected 2 cells"),
    "two labels": ("a.png,3\na.png,4\n", "a.png as 3 and as 4; keep one"),
    "empty": ("", "an empty file"),
    "blank": ("\n ,\n", "an empty one"),
    "header alone": ("file,label\n", "its header alone"),
    "open quotes": ('"a.png,3\n', "a damaged one"),
    "words after quotes": ('"a.png"x,3\n', "a damaged one"),
    "a field without end": (f'"{"x" * 200_000}",3\n', "a damaged one"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(case, place, tmp_path):
    content, words = BAD_TABLES[case]
    place("d/a.png", "d/sub/b.png")
    (tmp_path / "d/labels.csv").write_text(content)
    assert words in refusal("d/labels.csv")


def test_tables_of_other_encodings_and_files_of_other_kinds(place, tmp_path):
    place("d/a.png")
    (tmp_path / "d/labels.csv").write_bytes("ä.png,3\n".encode("cp1252"))
    assert "save it as CSV UTF-8" in refusal("d/labels.csv")
    (tmp_path / "d/labels.csv").write_bytes(b"a\0.png,3\n")
    refusal("d/labels.csv")
    place("d/digits.zip", content=b"PK\3\4" + bytes(40))
    assert "received a zip archive" in refusal("d/digits.zip")
    place("d/x-ubyte", content=bytes([0, 0, 8, 3]) + bytes(40))
    assert "received x-ubyte" in refusal("d/x-ubyte")
    place("secret/3/a.png")
    place("secret/3/note\x1b.txt")
    assert labelled.find("secret", DIGITS).notes[0].endswith(r"note\x1b.txt")
    os.mkfifo(tmp_path / "pipe")
    assert "found a pipe" in refusal("pipe")


def test_a_huge_table_is_refused_before_it_is_read(place, tmp_path, monkeypatch):
    with open(tmp_path / "labels.csv", "wb") as file:
        file.write(b"a.png,3\n")
        file.truncate(label_table.MAX_BYTES + 1)  # sparse
    assert "received 104,857,601; try a part of it" in refusal("labels.csv")
    place("a.png")
    (tmp_path / "labels.csv").write_text("a.png,3\n" * 11)
    monkeypatch.setattr(labelled, "MOST", 10)
    assert "at most 10 rows" in refusal("labels.csv")
    place(*(f"d/3/{i}.png" for i in range(11)))
    assert "at most 10 pictures" in refusal("d")


# ---- copies


def test_copies_count_once(place):
    place("d/3/a.png", "d/3/b.png", "d/3/c/d.png", content=b"same")
    place("d/3/e.png")
    collection = labelled.find("d", DIGITS)
    assert collection.pictures == [("d/3/a.png", 3), ("d/3/e.png", 3)]
    assert "2 pictures are copies of others, byte for byte: each content counts once" in collection.notes


def test_a_picture_in_two_classes(place):
    place("d/3/a.png", "d/5/b.png", content=b"same")
    assert "d/3/a.png as 3 and d/5/b.png, the same bytes, as 5; keep one" in refusal("d")


def test_empty_files_are_no_copies(place):
    place("d/3/a.png", "d/5/b.png", content=b"")
    assert len(found("d")) == 2  # each is refused when it is read
