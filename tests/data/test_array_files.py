"""Array files of every kind, valid and damaged: an array, or one `UserError` that names the file."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from mnist_mlp.data import array_files
from mnist_mlp.data.array_files import read_idx, read_images, read_npz
from mnist_mlp.errors import UserError
from mnist_mlp.files import archives
from mnist_mlp.files.archives import read_arrays

IMAGES = np.arange(5 * 28 * 28).reshape(5, 28, 28).astype(np.uint8)


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(compressed=False, **arrays):
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def header(shape, dtype="|u1"):
    """Return a .npy header without the array that it announces."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zipped(packing=zipfile.ZIP_DEFLATED, **members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def twice(content):
    """Rename the member imagez of an archive, so that two members are called images."""
    return content.replace(b"imagez", b"images")


def encrypted(content):
    """Mark the first member of an archive as encrypted."""
    at = content.rindex(b"PK\1\2")
    return flipped(content, at + 8)


def newer(content, version):
    """Return the same .npy file in NumPy's format 2.0 or 3.0."""
    length = content[8:10] + bytes(2)
    return content[:6] + bytes([version, 0]) + length + content[10:]


def flipped(content, at):
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


@pytest.fixture
def small(monkeypatch):
    """Let MNIST have a hundredth of its images."""
    monkeypatch.setattr(
        array_files, "SHAPES", {key: (n // 100, *rest) for key, (n, *rest) in array_files.SHAPES.items()}
    )


def mnist_shaped(**changed):
    arrays = {key: np.zeros(shape, np.uint8) for key, shape in array_files.SHAPES.items()}
    return {**arrays, **changed}


@pytest.fixture
def write(tmp_path):
    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        *(idx(IMAGES), gzip.compress(idx(IMAGES)), npy(IMAGES), npy(np.asfortranarray(IMAGES))),
        *(npy(IMAGES.reshape(5, 784)), npy(IMAGES[..., None]), npy(IMAGES.astype(np.int64))),
        *(npy(IMAGES / 255), npy((IMAGES / 255).astype(np.float32)), npy(IMAGES.astype(">u2"))),
        *(npz(any_name=IMAGES), npz(images=IMAGES, labels=IMAGES), npz(True, x_test=IMAGES, y_test=IMAGES)),
    ],
)
def test_images_are_the_same_from_every_format(write, content):
    images = read_images(write(content))
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)


def test_one_image_and_half_grey(write):
    assert read_images(write(npy(IMAGES[0]))).shape == (1, 28, 28)
    assert read_images(str(write(npy(np.full((28, 28), 0.5)))))[0, 0, 0] == 128  # 127.5, to even


BOMB = gzip.compress(idx(IMAGES)[:4] + struct.pack(">3I", 1, 28, 28) + bytes(10_000_000))
REFUSED = {
    "empty": (b"", "received an empty file; copy or download it again"),
    "of another kind": (b"\x89PNX\r\n", "begins with b'\\x89PNX'"),
    "IDX labels": (idx(IMAGES[:, 0, 0]), "received IDX labels (one dimension); give the file of the images"),
    "IDX of 16-bit numbers": (b"\0\0\x0b\3" + idx(IMAGES)[4:], "received IDX of 16-bit numbers; save them as unsign"),
    "IDX header cut": (idx(IMAGES)[:10], "damaged"),
    "IDX body cut": (idx(IMAGES)[:-1], "only 3919"),
    "IDX with a tail": (idx(IMAGES) + b"x", "more than that"),
    "IDX of 4 billion images": (idx(IMAGES)[:4] + b"\xff" * 4 + idx(IMAGES)[8:], "4294967295×28×28"),
    "IDX of other frames": (idx(IMAGES.reshape(20, 14, 14)), "20×14×14"),
    "IDX without images": (idx(IMAGES[:0]), "n ≥ 1"),
    "gzip cut": (gzip.compress(idx(IMAGES))[:-9], "damaged"),
    "gzip with a flipped CRC": (flipped(gzip.compress(idx(IMAGES)), -5), "CRC"),
    "gzip with a flipped body": (flipped(gzip.compress(idx(IMAGES), 0), 100), "CRC"),
    "gzip bomb": (BOMB, "more than that"),
    "npy header cut": (npy(IMAGES)[:30], "damaged"),
    "npy body cut": (npy(IMAGES)[:-1], "received 3919"),
    "npy of a petabyte": (header((2**20, 2**30)), "received 0"),
    "npy of negative length": (header((-1, 28, 28)), "received 0"),
    "npy of version 9": (flipped(npy(IMAGES), 6), "format 1.0, received 0.0"),
    "npy of objects": (npy(np.array([{}] * 3), allow_pickle=True), "never loaded"),
    "npz of objects": (npz(images=np.array([{}])), "never loaded"),
    "npz with a flipped bit": (flipped(npz(images=IMAGES), 400), "CRC"),
    "npz cut": (npz(images=IMAGES)[:-30], "damaged"),
    "npz of a terabyte": (zipped(images=header((2**12, 2**28))), "received 0"),
    "npz with two arrays of one name": (twice(npz(images=IMAGES, imagez=IMAGES[:1])), "the same name"),
    "npz encrypted": (encrypted(npz(images=IMAGES)), "encrypted"),
    "npz packed by bzip2": (zipped(zipfile.ZIP_BZIP2, images=npy(IMAGES)), "compression method 12"),
    "npz packed by LZMA": (zipped(zipfile.ZIP_LZMA, images=npy(IMAGES)), "compression method 14"),
    "npz with another name before the member": (
        (lambda content: content[:26] + (3000).to_bytes(2, "little") + content[28:])(npz(images=IMAGES)),
        "File name in directory",
    ),
    "npz with a tail": (npz(images=IMAGES) + b"x", "does not end like a zip archive"),
    "npz of odd names": (npz(**{"a\n\x1b[31m": IMAGES, "b" * 999: IMAGES}), "received 'a\\n\\x1b[31m, bbb"),
    "npz of names beyond number": (npz(**{f"a{i}": 0 for i in range(99)}), "a9, …"),
    "npy of format 2": (newer(npy(IMAGES), 2), "expected NumPy's format 1.0, received 2.0"),
    "npy of format 3": (newer(npy(IMAGES), 3), "expected NumPy's format 1.0, received 3.0"),
    "npy of two negative lengths": (header((-1, -784)) + bytes(784), "received 784"),
    "records": (npy(np.zeros(3, [("a", int)])), "expected numbers"),
    "npz empty": (npz(), "received a zip archive; unpack it first"),
    "npz of other names": (npz(a=IMAGES, b=IMAGES), "received a, b"),
    "words": (npy(np.array(["seven"] * 784).reshape(1, 784)), "expected numbers, received <U5"),
    "NaN": (npy(np.full((28, 28), np.nan)), "received NaN"),
    "infinity": (npy(np.full((28, 28), np.inf)), "infinity"),
    "floats 0–255": (npy(IMAGES * 0.999), "expected 0–1, since one of the numbers is not an integer, received"),
    "negative": (npy(IMAGES.astype(np.int16) - 1), "int16 -1–254"),
    "integers above 255": (npy(IMAGES.astype(int) + 1), "1–256"),
    "one number": (npy(np.uint8(3)), "received []"),
    "colour": (npy(np.zeros((2, 28, 28, 3), np.uint8)), "[2, 28, 28, 3]"),
    "zero images": (npy(np.zeros((0, 784))), "[0, 784]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_images_are_refused_in_one_line(write, case):
    content, reason = REFUSED[case]
    path = write(content)
    tracemalloc.start()
    with pytest.raises(UserError) as raised:
        read_images(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    message = str(raised.value)
    assert message.startswith(str(path)) and "expected" in message and "\n" not in message
    assert message.endswith("; try another file with --input=FILE")
    assert reason in message
    assert len(message) < 300 + len(str(path))
    assert peak < 5_000_000


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for path, reason in [
        *[(tmp_path, "a directory"), (tmp_path / "absent", "no such file")],
        *[(tmp_path / "pipe", "a special file"), (tmp_path / "absent/file", "no such file")],
    ]:
        with pytest.raises(UserError, match=reason):
            read_images(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(write):
    path = write(idx(IMAGES))
    path.chmod(0)
    with pytest.raises(UserError, match="may not be read"):
        read_images(path)


@pytest.mark.parametrize("content", [idx(IMAGES), gzip.compress(idx(IMAGES)), npy(IMAGES), npz(images=IMAGES)])
def test_random_damage_ends_in_images_or_in_a_user_error(write, content):
    random = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(content[: random.integers(1, len(content) + 1)] if random.random() < 0.3 else content)
        places = random.integers(0, min(len(changed), 200), 3)
        for place in (*places, -1 - places[0] % min(len(changed), 100)):
            changed[place] = random.integers(256)
        try:
            assert read_images(write(bytes(changed))).shape[1:] == (28, 28)
        except UserError as error:
            assert "\n" not in str(error)


def test_idx_of_another_count_is_refused_before_its_body_is_read(write):
    with pytest.raises(UserError, match="expected an IDX file of 7×28×28 bytes, received .* 5×28×28"):
        read_idx(write(gzip.compress(idx(IMAGES))), (7, 28, 28))


@pytest.mark.parametrize("dotted", [False, True])
def test_idx_names(tmp_path, dotted):
    for name in array_files.IDX_NAMES.values():
        name = name.replace("-idx", ".idx") if dotted else name
        (tmp_path / f"{name}.gz").touch()
        assert len(set(array_files.find_idx(tmp_path).values())) == len(list(tmp_path.iterdir()))
    (tmp_path / "t10k-labels-idx1-ubyte").touch()
    assert array_files.find_idx(tmp_path)["y_test"].suffix == ""  # plain before packed
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()
    assert array_files.find_idx(tmp_path)["x_test"].is_file()  # and a file before a directory


@pytest.mark.slow
def test_npz_of_mnist(write):
    arrays = mnist_shaped(y_test=np.arange(10000, dtype=np.uint8) % 10)
    read = read_npz(write(npz(True, **arrays)))
    assert all((read[key] == arrays[key]).all() for key in array_files.SHAPES)


@pytest.mark.parametrize(
    "changed, reason",
    [
        (
            {"x_train": np.zeros((600, 28, 28), np.float32)},
            "x_train as uint8 600×28×28, received float32",
        ),
        ({"x_test": np.zeros((99, 28, 28), np.uint8)}, "received uint8 99×28×28"),
        ({"y_train": np.zeros((600, 1), np.uint8)}, "received uint8 600×1"),
        ({"y_test": np.full(100, 10, np.uint8)}, "expected labels 0–9, received 10"),
        ({"y_test": np.array([None])}, "never loaded"),
    ],
)
def test_bad_npz_of_mnist(write, small, changed, reason):
    with pytest.raises(UserError, match=reason):
        read_npz(write(npz(True, **mnist_shaped(**changed))))


def test_npz_without_an_array(write):
    with pytest.raises(UserError, match="expected an array x_train, received images.npy"):
        read_npz(write(npz(images=IMAGES)))


def test_an_archive_behind_something_else(write, small):
    """Python's zipfile would read it, NumPy does not."""
    with pytest.raises(UserError, match="does not start like a zip archive"):
        read_npz(write(b"#!" + npz(True, **mnist_shaped())))


def test_a_header_that_python_warns_of_is_refused_without_a_warning(write, recwarn):
    content = header((5, 28, 28)).replace(b"'|u1'", b"'\\p1'")
    with pytest.raises(UserError, match="damaged"):
        read_images(write(content))
    assert not len(recwarn)


ARRAYS = {
    "model/hidden_1/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i2"),
    "half": np.float16([1, np.nan]),
    "complex": np.complex64([1j]),
    "yes": np.array([True, False]),
    "step": np.uint64(2**63),
    "nothing": np.zeros((0, 3)),
}


@pytest.mark.parametrize("arrays", [ARRAYS, {}])
def test_arrays_are_those_that_savez_wrote(write, arrays):
    read = read_arrays(write(npz(**arrays)))
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert not read[name].flags.writeable


def shared(count):
    """Return an archive of `count` arrays of 100 kB that share the bytes of the first."""
    content = npz(a=np.zeros(100_000, np.uint8))
    start = content.rindex(b"PK\1\2")
    entry, end = content[start:-22], content[-22:]
    entries = [entry.replace(b"a.npy", b"%c.npy" % (97 + i)) for i in range(count)]
    counts = struct.pack("<HHI", count, count, count * len(entry))
    return content[:start] + b"".join(entries) + end[:8] + counts + end[16:]


@pytest.mark.parametrize(
    "content, reason",
    [
        (npz(True, a=IMAGES), "compressed"),
        (shared(9), "claim to be larger than the file"),
        (twice(npz(images=IMAGES, imagez=IMAGES[:1])), "the same name"),
        (encrypted(npz(a=IMAGES)), "encrypted"),
        (flipped(npz(a=IMAGES), 400), "CRC"),
        (npz(a=IMAGES)[:-1], "does not end like a zip archive"),
        (npz(a=np.array([{}])), "never loaded"),
        (npz(a=np.array(["x"])), "expected numbers"),
        (zipped(zipfile.ZIP_STORED, a=npy(IMAGES) + b"x"), "received 3921"),
        (zipped(zipfile.ZIP_STORED, a=header((10**10,))), "received 0"),
        (npz(a=IMAGES).replace(b"a.npy", b"a.txt"), "'a.txt' is not an array"),
        (idx(IMAGES), "does not start like a zip archive"),
        (b"", "does not start like a zip archive"),
    ],
)
def test_arrays_that_savez_did_not_write(write, content, reason):
    with pytest.raises(UserError, match=reason) as raised:
        read_arrays(write(content))
    assert str(raised.value).startswith(str(write(b""))) and "\n" not in str(raised.value)


def test_arrays_of_more_than_a_gigabyte(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    np.savez(tmp_path / "file.npz", a=IMAGES)
    with pytest.raises(UserError, match="at most 1000 bytes, received"):
        read_arrays(tmp_path / "file.npz")


def test_members_beyond_number(write):
    """Python needs ten times the size of the directory to hold it."""
    with pytest.raises(UserError, match="too many members"):
        read_arrays(write(zipped(zipfile.ZIP_STORED, **{f"{i:0200}": b"" for i in range(6000)})))
