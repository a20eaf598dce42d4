"""Recognize a file of another kind by its first bytes, so that a refusal can name it and say what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import zlib
from pathlib import Path

START = 1024  # bytes that tell every kind below
IDX_TYPES = {0x09: "signed bytes", 0x0B: "16-bit numbers", 0x0C: "32-bit numbers", 0x0D: "floats", 0x0E: "doubles"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a file is, as a message says it, and what its owner can do."""

    name: str  # with its article
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}; {self.remedy}"


AS_PICTURE = "save it as JPEG or PNG"
AS_ARRAY = "save the arrays with np.save or np.savez"
TABLE = "a table of images is read by train --data_dir"
AS_TABLE = "save it as CSV"
MODEL = "models of other programs are not read yet: --run_dir takes the directory of a run, as train writes it"
UNPACK = "unpack it first"
NEVER = f"pickles can run any code and are never loaded: {AS_ARRAY}"

PICKLE = Kind("a pickle", NEVER)
KERAS = Kind("a Keras model (.keras)", MODEL)
HDF5 = Kind("an HDF5 file, such as a Keras model (.h5)", MODEL)
ONNX = Kind("a model (ONNX)", MODEL)
TFLITE = Kind("a model (LiteRT, .tflite)", MODEL)
SAVED_MODEL = Kind("a model (TensorFlow's SavedModel)", MODEL)
TORCH = Kind("a PyTorch file, which is a pickle", NEVER)
CSV = Kind("a CSV file", TABLE)
WEB_PAGE = Kind("a web page (HTML), as of a login or an error", "download the file itself")
EMPTY = Kind("an empty file", "copy or download it again")
SVG = Kind("an SVG drawing", AS_PICTURE)
HEIC, AVIF = Kind("a HEIC picture", AS_PICTURE), Kind("an AVIF picture", AS_PICTURE)
PICTURE = Kind("a picture", "give it to predict --input")
ARRAY = Kind("a NumPy array (.npy)", "give it to predict --input")
NUMBERS = Kind("numbers as text", "read them with np.loadtxt and save them with np.save")
MODELS = (KERAS, HDF5, ONNX, TFLITE, SAVED_MODEL)
READABLE = (PICTURE, ARRAY)  # kinds that `predict` reads
TAR = Kind("a tar archive", UNPACK)
OFFICE = Kind("a document or table of an office program", AS_TABLE)

STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"version https://git-lfs.github.com/", Kind("a pointer of Git LFS, not the file itself", "run: git lfs pull")),
    (b"%PDF-", Kind("a PDF", AS_PICTURE)),
    (b"%!PS", Kind("PostScript", AS_PICTURE)),
    (b"8BPS", Kind("a Photoshop file", AS_PICTURE)),
    (b"\xff\x0a", Kind("a JPEG XL picture", AS_PICTURE)),
    (b"\0\0\0\x0cJXL ", Kind("a JPEG XL picture", AS_PICTURE)),
    (b"\0\0\0\x0cjP  ", Kind("a JPEG 2000 picture", AS_PICTURE)),
    (b"\0\5\x16\7", Kind("a Mac's notes about the file of this name without ._", "use that file")),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"PAR1", Kind("a Parquet file", TABLE)),
    (b"ARROW1", Kind("an Arrow file", AS_TABLE)),
    (b"SQLite format 3\0", Kind("an SQLite database", AS_TABLE)),
    (b"MATLAB 5.0", Kind("a MATLAB file", AS_ARRAY)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", UNPACK)),
    (b"Rar!", Kind("a RAR archive", UNPACK)),
    (b"\xfd7zXZ\0", Kind("an xz archive", UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("a Zstandard archive", UNPACK)),
    (b"\x93NUMPY", ARRAY),
    (b"\x89PNG\r\n\x1a\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"II*\0", PICTURE),
    (b"MM\0*", PICTURE),
    (b"\0\0\1\0", Kind("an icon", AS_PICTURE)),
)
BRANDS = {  # of the container that HEIC, AVIF and videos share: bytes 8 to 12
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
}
SUFFIXES = {  # of kinds whose first bytes say too little
    **dict.fromkeys((".pkl", ".pickle", ".p", ".joblib"), PICKLE),
    **dict.fromkeys((".pt", ".pth"), TORCH),
    **dict.fromkeys((".csv", ".tsv"), CSV),
    **{".onnx": ONNX, ".pb": SAVED_MODEL, ".bz2": Kind("a bzip2 archive", UNPACK)},
}


def recognize(start: bytes, suffix: str = "") -> Kind | None:
    """Return the kind of a file, of which `start` is the first START bytes; None if it is none of those known here.

    `suffix` is that of its name, for the kinds whose bytes say too little.
    """
    if not start:
        return EMPTY
    if re.match(rb"\0\0[\x08-\x0e][\x01-\x04]", start):  # IDX
        return None
    for first, kind in STARTS:
        if start.startswith(first):
            return kind
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:12], Kind("a video", "save one of its frames as JPEG or PNG"))
    if start[8:12] == b"WEBP":
        return PICTURE
    if start[4:8] == b"TFL3":
        return TFLITE
    if start[257:262] == b"ustar":
        return TAR
    if re.match(rb"\x80[\x02-\x05]", start):  # protocols 2 to 5; older ones look like text
        return PICKLE
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _of_zip(start)
    if start.startswith(b"\x1f\x8b"):
        return _of_gzip(start, suffix)
    return _of_text(start) or SUFFIXES.get(suffix.lower()) or _of_lines(start)


def recognize_path(path: Path) -> Kind | None:
    """Return the kind of a file, or of a directory that is a model. None also for one that cannot be read."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            return SAVED_MODEL if (path / "saved_model.pb").is_file() else None
        if path.is_file():  # opening a named pipe would block
            with path.open("rb") as file:
                return recognize(file.read(START), path.suffix)
    return None


def _of_zip(start: bytes) -> Kind | None:
    """Return the kind of a zip archive by the name of its first member; None for NumPy's .npz."""
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")].decode("utf-8", "replace")
    if ".npy" in name:
        return None
    if name in ("metadata.json", "config.json", "model.weights.h5"):
        return KERAS
    if name.endswith(("/data.pkl", "/.format_version", "/.data/serialization_id")):
        return TORCH
    if name == "[Content_Types].xml":
        return OFFICE
    return Kind("a zip archive", UNPACK)


def _of_gzip(start: bytes, suffix: str) -> Kind | None:
    """Return the kind of what is packed; None for what may be IDX."""
    try:
        inside = zlib.decompressobj(31).decompress(start, START)
    except zlib.error:
        return None
    if inside.startswith(b"\x1f\x8b"):
        return Kind("a gzip file within a gzip file", "unpack it once")
    kind = recognize(inside) if inside else None
    return kind and Kind(f"{kind.name}, packed with gzip", kind.remedy)


def _of_text(start: bytes) -> Kind | None:
    """Return the kind of a text that begins with a tag."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.match(rb"<svg[\s>]", text) or (text.startswith(b"<?xml") and b"<svg" in text):
        return SVG
    if re.match(rb"<(!doctype html|html|head|body|!--)", text):
        return WEB_PAGE
    return Kind("an XML file", "download or save the images themselves") if text.startswith(b"<?xml") else None


def _of_lines(start: bytes) -> Kind | None:
    """Return CSV for lines with equally many commas, semicolons or tabs, and NUMBERS for numbers between spaces."""
    if re.search(rb"[^\t\n\r -~]", start) or start.lstrip().startswith((b"{", b"[")):  # JSON has commas, too
        return None
    lines = start.decode().splitlines()
    whole = lines[: max(1, len(lines) - 1)][:3]  # the last may be cut
    for separator in ",;\t":
        counts = {line.count(separator) for line in whole}
        if len(counts) == 1 and counts.pop() >= 2:
            return CSV
    numbers = re.fullmatch(r"[\s\d.eE+-]+", "".join(whole)) and len(whole[0].split()) > 1
    return NUMBERS if numbers else None
