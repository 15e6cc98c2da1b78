"""Files that people give in the place of a table: what each of them is, and the line that makes a table of it."""

from __future__ import annotations

import re

from edge_runtime.errors import InputError

_PANDAS = "python -c \"import pandas; pandas.{read}.to_csv('table.csv', index=False)\""
_NUMPY = "python -c \"import numpy; numpy.savetxt('table.csv', numpy.load('rows.npy'), delimiter=',')\""


def _pandas(read: str) -> str:
    return "convert it: " + _PANDAS.format(read=read)


# The first bytes of a kind of file, what it is, and what helps. A longer beginning stands before a shorter one.
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer and not the data itself", "fetch the data: git lfs pull"),
    (b"version https://hawser", "a Git LFS pointer and not the data itself", "fetch the data: git lfs pull"),
    (b"PAR1", "a Parquet file", _pandas("read_parquet('FILE')")),
    (b"ARROW1", "a Feather (Arrow) file", _pandas("read_feather('FILE')")),
    (b"FEA1", "a Feather file", _pandas("read_feather('FILE')")),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _pandas("read_hdf('FILE')")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls)", _pandas("read_excel('FILE')")),
    (b"SQLite format 3\0", "an SQLite database", _pandas("read_sql('select * from TABLE', 'sqlite:///FILE')")),
    (b"\x93NUMPY", "a NumPy array", "name it .npy"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "give a table: one row a picture, one column a pixel"),
    (b"\xff\xd8\xff", "a JPEG image", "give a table: one row a picture, one column a pixel"),
    (b"GIF8", "a GIF image", "give a table: one row a picture, one column a pixel"),
    (b"%PDF-", "a PDF document", "copy its table into a CSV file"),
    (b"BZh", "packed by bzip2", "unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ\0", "packed by xz", "unpack it: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it: unzstd FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and give the table that is in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it, and give the table that is in it"),
    (b"RDX", "data of R (.rda)", "in R: write.csv(TABLE, 'table.csv', row.names = FALSE)"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "in MATLAB: writematrix(X, 'table.csv')"),
    (b"{\\rtf", "an RTF document", "save it as CSV"),
)
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|body|\?xml|!--|svg)", re.IGNORECASE)
_JSON = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\"])")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_ZIP_MAGIC = b"PK\x03\x04"


def refuse_not_data(content: bytes | bytearray, what: str) -> None:
    """Raise InputError if `content` is not the text of a table, and begins as a well-known other kind of file does.

    The message names the kind of file and the line that converts it.
    """
    kind = _kind(content)
    if kind is not None:
        raise InputError(f"{what}: {kind[0]}, expected a table as text (CSV); {kind[1]}")


def _kind(content: bytes | bytearray) -> tuple[str, str] | None:
    head = bytes(content[:4096])
    for beginning, name, advice in _BEGINNINGS:
        if head.startswith(beginning):
            return name, advice
    if head.startswith(_ZIP_MAGIC):
        return _zip_kind(content)
    if _PICKLE.match(head):
        return "a pickle, which can run code", _pandas("read_pickle('FILE')")
    if _WEB_PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "a web page (HTML or XML) and not the data itself", "download the file behind the link, often 'raw'"
    if _JSON.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "JSON", _pandas("read_json('FILE')")
    return None


def _zip_kind(content: bytes | bytearray) -> tuple[str, str]:
    if content.find(b"xl/", 0, 1 << 20) >= 0 or content.find(b"[Content_Types].xml", 0, 1 << 20) >= 0:
        return "an Excel file (.xlsx)", _pandas("read_excel('FILE')")
    if content.find(b"opendocument.spreadsheet", 0, 1 << 20) >= 0:
        return "an OpenDocument spreadsheet (.ods)", _pandas("read_excel('FILE', engine='odf')")
    if content.find(b".npy", 0, 1 << 20) >= 0:
        return "a NumPy archive", "name it .npz"
    return "a zip archive", "unpack it, and give the table that is in it"
