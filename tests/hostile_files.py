"""Files that are damaged, absurd or meant to do harm, by kind of file.

Each entry is an ending and a function that writes the file; a function given the path of the valid file may read it.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from hostile_study import ORIGIN, SIZE, SPACING, labels, points

Writer = Callable[[Path], object]
NIFTI_TYPES = {"u1": (2, 8), "i2": (4, 16), "f4": (16, 32), "c8": (32, 64), "rgb": (128, 24)}


def nifti(
    data: bytes = b"",
    sizes: tuple[int, ...] = SIZE,
    kind: str = "u1",
    spacing: tuple[float, ...] = SPACING,
    affine: Any = None,
    forms: tuple[int, int] = (0, 1),
) -> bytes:
    """A NIfTI file whose header says whatever is wanted."""
    code, bits = NIFTI_TYPES[kind]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(sizes), *(sizes + (1,) * (7 - len(sizes))))
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, *spacing, *(1,) * (7 - len(spacing)))
    struct.pack_into("<ff", header, 108, 352, 1)
    header[123] = 2
    struct.pack_into("<hh", header, 252, *forms)
    rows = affine or [[-SPACING[0], 0, 0, -ORIGIN[0]], [0, -SPACING[1], 0, -ORIGIN[1]], [0, 0, SPACING[2], ORIGIN[2]]]
    struct.pack_into("<12f", header, 280, *(value for row in rows for value in row))
    header[344:348] = b"n+1\0"
    return bytes(header) + data


def packed_zeros(head: bytes, count: int) -> bytes:
    """A gzip file of `head` and very many zeros, made of one compressed block; its checksum is wrong."""

    def packed(content: bytes, mode: int) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(content) + packer.flush(mode)

    blocks = packed(bytes(1 << 22), zlib.Z_FULL_FLUSH) * (count >> 22)
    length = (len(head) + (count >> 22 << 22)) % 2**32
    start = b"\x1f\x8b\x08" + bytes(6) + b"\xff" + packed(head, zlib.Z_FULL_FLUSH)
    return start + blocks + packed(b"", zlib.Z_FINISH) + struct.pack("<II", 0, length)


def bytes_of(content: bytes | Callable[[], bytes]) -> Writer:
    """A file of these bytes; a function that makes them is called once."""
    made = cache(content) if callable(content) else lambda: content
    return lambda path: path.write_bytes(made())


def text_of(content: str, encoding: str = "utf-8") -> Writer:
    return lambda path: path.write_bytes(content.encode(encoding))


def image_of(array: np.ndarray, **geometry: Any) -> Writer:
    """A volume on the study's grid, or on another one."""

    def write(path: Path) -> None:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(geometry.get("spacing", SPACING))
        image.SetOrigin(geometry.get("origin", ORIGIN))
        image.SetDirection(geometry.get("direction", (1, 0, 0, 0, 1, 0, 0, 0, 1)))
        sitk.WriteImage(image, str(path))

    return write


def cut(share: float) -> Writer:
    """The valid file without its end."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"\0\xff" * 9 + content[218:])


def replaced(old: bytes, new: bytes) -> Writer:
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new))


def nrrd(sizes: str, data: bytes, encoding: str = "raw", more: str = "") -> bytes:
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
    head += "space directions: (1,0,0) (0,1.25,0) (0,0,2.5)\nkinds: domain domain domain\n"
    head += f"encoding: {encoding}\nspace origin: (30,-12,60)\n{more}"
    return head.encode() + b"\n" + data


def mha(sizes: str, data: bytes, where: str = "LOCAL", more: str = "") -> bytes:
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\n" + more
    head += f"ElementSpacing = 1 1.25 2.5\nOffset = 30 -12 60\nDimSize = {sizes}\nElementType = MET_UCHAR\n"
    return (head + f"ElementDataFile = {where}\n").encode() + data


def segmentation(label_value: str = "1", name: str = "one", layer: str = "0") -> bytes:
    """As 3D Slicer writes it."""
    more = f"Segment0_ID:=S\nSegment0_LabelValue:={label_value}\nSegment0_Layer:={layer}\nSegment0_Name:={name}\n"
    return nrrd("24 20 9", gzip.compress(labels().tobytes()), "gzip", more)


def unreadable_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


_FULL = labels()
_LARGE = (1024, 1024, 1600)
_NAN, _INFINITY = math.nan, math.inf
_PACKED = "CompressedData = True\nCompressedDataSize = 9\n"
_ODD_ROW = [[_NAN, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]

_at_infinity = nifti(_FULL.tobytes())[:108] + struct.pack("<f", _INFINITY) + nifti(_FULL.tobytes())[112:]

ANY_VOLUME: dict[str, tuple[str, Writer]] = {
    "empty": (".nii.gz", bytes_of(b"")),
    "text": (".nii.gz", text_of("hello")),
    "truncated": (".nii.gz", cut(0.6)),
    "one byte missing": (".nii.gz", cut(0.999)),
    "damaged in the middle": (".nii.gz", damaged),
    "header alone": (".nii", bytes_of(nifti())),
    "claims 4 GB": (".nii", bytes_of(nifti(b"\0" * 99, (2000, 2000, 1000)))),
    "claims 27 TB": (".nii", bytes_of(nifti(b"\0" * 99, (30000, 30000, 30000)))),
    "claims 27 TB, packed": (".nii.gz", bytes_of(gzip.compress(nifti(b"\0" * 99, (30000, 30000, 30000))))),
    "unpacks to 1.5 GB": (".nii.gz", bytes_of(lambda: packed_zeros(nifti(sizes=_LARGE), math.prod(_LARGE)))),
    "holds more than it claims": (".nii", bytes_of(nifti(_FULL.tobytes() + bytes(1 << 20)))),
    "holds more than it claims, packed": (".nii.gz", bytes_of(lambda: packed_zeros(nifti(_FULL.tobytes()), 1 << 26))),
    "negative size": (".nii", bytes_of(nifti(b"\0" * 99, (-5, 5, 5)))),
    "no voxels": (".nii", bytes_of(nifti(b"\0" * 99, (0, 5, 5)))),
    "NaN in the affine": (".nii", bytes_of(nifti(_FULL.tobytes(), affine=_ODD_ROW))),
    "NaN spacing": (".nii", bytes_of(nifti(_FULL.tobytes(), spacing=(_NAN, 1, 1), forms=(0, 0)))),
    "sheared": (".nii", bytes_of(nifti(_FULL.tobytes(), affine=[[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]))),
    "2D": (".nii", bytes_of(nifti(bytes(480), (24, 20)))),
    "4D": (".nii", bytes_of(nifti(bytes(8640), (24, 20, 9, 2)))),
    "7D": (".nii", bytes_of(nifti(bytes(8640), (24, 20, 9, 1, 1, 1, 2)))),
    "RGB": (".nii", bytes_of(nifti(bytes(12960), kind="rgb"))),
    "complex": (".nii", bytes_of(nifti(bytes(34560), kind="c8"))),
    "only NaN": (".nii.gz", image_of(np.full(_FULL.shape, np.nan, np.float32))),
    "only NaN, nrrd": (".nrrd", image_of(np.full(_FULL.shape, np.nan, np.float32))),
    "infinite": (".mha", image_of(np.full(_FULL.shape, np.inf))),
    "nrrd claims 1 GB": (".nrrd", bytes_of(nrrd("1000 1000 1000", b"\0" * 99))),
    "nrrd claims 1 GB, packed": (".nrrd", bytes_of(nrrd("1000 1000 1000", gzip.compress(b"\0" * 99), "gzip"))),
    "nrrd unpacks to 1.5 GB": (
        ".nrrd",
        bytes_of(lambda: nrrd("1024 1024 1600", packed_zeros(b"", math.prod(_LARGE)), "gzip")),
    ),
    "nrrd with /etc/passwd": (".nrrd", bytes_of(nrrd("1 1 9", b"", more="data file: /etc/passwd\n"))),
    "nrrd with a long field": (".nrrd", bytes_of(nrrd("24 20 9", b"", more="space dir" + "9" * 5000 + ": (1,0,0)\n"))),
    "nrrd with a long vector": (".nrrd", bytes_of(nrrd("24 20 9", b"").replace(b"(0,1.25,0)", b"(0," + b"(" * 3000))),
    "nrrd without sizes": (".nrrd", bytes_of(nrrd("", b""))),
    "mha claims 1 GB": (".mha", bytes_of(mha("1000 1000 1000", b"\0" * 99))),
    "mha claims 1 GB, packed": (
        ".mha",
        bytes_of(mha("1000 1000 1000", zlib.compress(b"\0" * 99), more=_PACKED)),
    ),
    "mhd with /etc/passwd": (".mhd", bytes_of(mha("1 1 9", b"", "/etc/passwd"))),
    "mhd with a file elsewhere": (".mhd", bytes_of(mha("1 1 9", b"", "../scores.csv"))),
    "mha of -1 dimensions": (".mha", bytes_of(mha("24 20 9", _FULL.tobytes()).replace(b"NDims = 3", b"NDims = -1"))),
    "mhd with a long name": (".mhd", bytes_of(mha("24 20 9", b"", "x" * 300))),
    "voxels at infinity": (".nii", lambda p: p.write_bytes(_at_infinity)),
    "mhd without its file": (".mhd", bytes_of(mha("24 20 9", b"", "nowhere.raw"))),
    "a folder": (".nii.gz", unreadable_folder),
    "a link to itself": (".nii.gz", loop),
    "a pipe": (".nii.gz", pipe),
}  # fmt: skip
"""Refused as an image and as a label map."""

LABEL_MAPS: dict[str, tuple[str, Writer]] = {
    "halves": (".nii.gz", image_of(_FULL * np.float32(0.5))),
    "negative": (".nii.gz", image_of(-_FULL.astype(np.int16))),
    "2e9": (".nii.gz", image_of(_FULL.astype(np.int32) * 1_000_000_000)),
    "a value of no label": (".nii.gz", image_of(_FULL * 7)),
}

OTHER_GRIDS: dict[str, tuple[str, Writer]] = {
    "another size": (".nii.gz", image_of(_FULL[1:])),
    "another spacing": (".nii.gz", image_of(_FULL, spacing=(1.0, 1.25, 2.6))),
    "half a voxel away": (".nii.gz", image_of(_FULL, origin=(30.5, -12.0, 60.0))),
    "flipped": (".nii.gz", image_of(_FULL, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))),
    "flipped in all axes": (".nii.gz", image_of(_FULL, direction=(-1, 0, 0, 0, -1, 0, 0, 0, -1))),
    "flipped, mha": (".mha", image_of(_FULL, direction=(1, 0, 0, 0, -1, 0, 0, 0, -1))),
}

SEGMENTATIONS: dict[str, tuple[str, Writer]] = {
    "label value x": (".seg.nrrd", bytes_of(segmentation("x"))),
    "label value of 5000 digits": (".seg.nrrd", bytes_of(segmentation("9" * 5000))),
    "layer 99": (".seg.nrrd", bytes_of(segmentation(layer="99"))),
    "layer -1": (".seg.nrrd", bytes_of(segmentation(layer="-1"))),
    "a name with escapes": (".seg.nrrd", bytes_of(segmentation(name="\x1b]0;x\x07"))),
    "truncated": (".seg.nrrd", bytes_of(segmentation()[:-50])),
    "unpacks to 1.5 GB": (
        ".seg.nrrd",
        bytes_of(lambda: nrrd("1024 1024 1600", packed_zeros(b"", math.prod(_LARGE)), "gzip", "Segment0_Name:=one\n")),
    ),
}

_HEAD = "case,region,quality,error\n"
_ROWS = "".join(f"{case},{region},3,under\n" for case in ("c0", "c1") for region in ("one", "two"))
_RECORDS = [["case", "region", "quality", "error"], *[row.split(",") for row in _ROWS.splitlines()]]


def workbook(change: Callable[[Any], None] | None = None, parts: Callable[[str, bytes], bytes] | None = None) -> Writer:
    """A workbook of scores, with something changed by openpyxl or in its parts."""

    def write(path: Path) -> None:
        import openpyxl

        book, stream = openpyxl.Workbook(), io.BytesIO()
        for row in _RECORDS:
            book.active.append(row)
        if change is not None:
            change(book.active)
        book.save(stream)
        with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, parts(name, old.read(name)) if parts is not None else old.read(name))

    return write


def in_sheet(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content.replace(old, new) if "sheet1" in name else content


def laughing(name: str, content: bytes) -> bytes:
    if "sheet1" not in name:
        return content
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    cell = b'<sheetData><row r="9"><c r="A9" t="inlineStr"><is><t>&a9;</t></is></c></row>'
    return f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'.encode() + content.replace(b"<sheetData>", cell)


def blown_up(name: str, content: bytes) -> bytes:
    return content + bytes(1 << 28) if "sheet1" in name else content


def far_cell(name: str) -> Writer:
    return workbook(lambda sheet: sheet.__setitem__(name, " "))


_MERGED = b'<mergeCells><mergeCell ref="A9:XFD1048576"/></mergeCells>'
SCORE_TABLES: dict[str, tuple[str, Writer]] = {
    "empty": (".csv", bytes_of(b"")),
    "header alone": (".csv", text_of(_HEAD)),
    "a picture": (".csv", bytes_of(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)),
    "NUL": (".csv", text_of(_HEAD + _ROWS.replace("c1", "c\0001"))),
    "quote never closed": (".csv", text_of(_HEAD + _ROWS + 'c1,one,"3,under\n' + "x" * 200_000)),
    "a million rows": (".csv", bytes_of(lambda: (_HEAD + _ROWS + "x,one,3,under\n" * 1_000_000).encode())),
    "thousands of other cases": (
        ".csv",
        bytes_of(lambda: (_HEAD + _ROWS + "".join(f"u{n},one,3,under\n" for n in range(5000))).encode()),
    ),
    "40 MB": (".csv", bytes_of(lambda: (_HEAD + "x" * (40 << 20)).encode())),
    "quality of 5000 digits": (".csv", text_of(_HEAD + _ROWS + "c1,one," + "9" * 5000 + ",under\n")),
    "quality 1e400": (".csv", text_of(_HEAD + _ROWS.replace(",3,", ",1e400,"))),
    "quality NaN": (".csv", text_of(_HEAD + _ROWS.replace(",3,", ",inf,"))),
    "brackets": (".csv", text_of(_HEAD + _ROWS + "c1,one,3," + "(" * 100_000 + "\n")),
    "escapes": (".csv", text_of(_HEAD + _ROWS + "\x1b]0;owned\x07,one,3,under\n")),
    "a case elsewhere": (".csv", text_of(_HEAD + _ROWS + "../../c0,one,3,under\n")),
    "a folder": (".csv", unreadable_folder),
    "no workbook": (".xlsx", bytes_of(b"PK\3\4" + bytes(900))),
    "zip without a workbook": (".xlsx", lambda p: zipfile.ZipFile(p, "w").writestr("x", "y")),
    "truncated workbook": (".xlsx", lambda p: (workbook()(p), os.truncate(p, 1500))),
    "password": (".xlsx", bytes_of(bytes.fromhex("d0cf11e0a1b11ae1") + b"E\0n\0c\0r\0y\0p\0t\0e\0d\0" + bytes(4000))),
    "entities": (".xlsx", workbook(parts=laughing)),
    "256 MB sheet": (".xlsx", workbook(parts=blown_up)),
    "a cell at D1048576": (".xlsx", far_cell("D1048576")),
    "a cell at XFD1048576": (".xlsx", far_cell("XFD1048576")),
    "a merged sheet": (
        ".xlsx",
        workbook(parts=in_sheet(b"</sheetData>", b"</sheetData>" + _MERGED)),
    ),
    "a sheet that is no XML": (".xlsx", workbook(parts=in_sheet(b"<sheetData>", b"<sheetData"))),
    "a formula without result": (".xlsx", workbook(lambda sheet: sheet.__setitem__("C2", "=1+2"))),
    "old Excel": (".xls", bytes_of(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(900))),
    "key twice": (".json", text_of('{"c0":{"one":[3,"under"]},"c0":{"one":[1,"over"]}}')),
    "quality of 400 digits": (
        ".json",
        text_of('[{"case":"c0","region":"one","quality":' + "9" * 400 + ',"error":"under"}]'),
    ),
    "a list for a quality": (".json", text_of('[{"case":"c0","region":"one","quality":[3],"error":"under"}]')),
    "an object for a case": (".json", text_of('[{"case":{"a":1},"region":"one","quality":3,"error":"under"}]')),
    "a column for each record": (
        ".json",
        bytes_of(lambda: json.dumps([{"case": "c0", f"k{n}": 1} for n in range(20_000)]).encode()),
    ),
}  # fmt: skip

PATIENT_TABLES: dict[str, tuple[str, Writer]] = {
    "empty": (".csv", bytes_of(b"")),
    "other columns": (".csv", text_of("a;b\nc0;p\n")),
    "a case missing": (".csv", text_of("case,patient\nc0,p\n")),
    "two patients": (".csv", text_of("case,patient\nc0,p\nc0,q\nc1,q\n")),
    "no patient": (".csv", text_of("case,patient\nc0,p\nc1\n")),
    "not UTF-8": (".csv", bytes_of(b"case,patient\nc0,M\xfcller\nc1,p\n")),
    "a giant cell": (".csv", text_of("case,patient\nc0,p\nc1," + "x" * 200_000 + "\n")),
    "a folder": (".csv", unreadable_folder),
}


def markups(change: Callable[[list[list[Any]]], Any], **more: Any) -> Writer:
    positions = change([list(map(float, p)) for p in points()])
    control = [{"id": str(n), "label": f"F-{n}", "position": p} for n, p in enumerate(positions)]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": control, **more}
    return text_of(json.dumps({"markups": [markup]}))


_MPS = '<?xml version="1.0"?>{}<point_set_file><point_set><time_series>{}</time_series></point_set></point_set_file>'
_MPS_POINT = "<point><id>0</id><x>{}</x><y>1</y><z>1</z></point>"
_LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "1">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)) + "]>"
)
_PASSWD = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'

POINT_FILES: dict[str, tuple[str, Writer]] = {
    "empty": (".csv", bytes_of(b"")),
    "binary": (".csv", bytes_of(bytes(range(256)))),
    "without header": (".csv", text_of("1,2,3\n" * 20)),
    "a giant line": (".csv", text_of("l,p,s\n" + "1," * 500_000)),
    "a class elsewhere": (".csv", text_of("l,p,s,class\n" + "30,-10,70,../../x\n" * 9)),
    "escapes": (".csv", text_of("l,p,s,class\n" + "30,-10,70,\x1b[2J\n" * 9)),
    "digits": (".csv", text_of("l,p,s\n" + "9" * 5000 + ",1,1\n")),
    "1e300": (".mrk.json", markups(lambda p: [[1e300, 1, 1], *p])),
    "NaN": (".mrk.json", markups(lambda p: [[math.nan, 1, 1], *p])),
    "400 digits": (".mrk.json", markups(lambda p: [[10**400, 1, 1], *p])),
    "texts": (".mrk.json", markups(lambda p: [["a", "b", "c"], *p])),
    "two coordinates": (".mrk.json", markups(lambda p: [[1, 2], *p])),
    "three points": (".mrk.json", markups(lambda p: p[:3])),
    "no points": (".mrk.json", markups(lambda p: [])),
    "one place": (".mrk.json", markups(lambda p: p[:1] * 20)),
    "a plane": (".mrk.json", markups(lambda p: [[x, y, 70.0] for x, y, _ in p])),
    "far away": (".mrk.json", markups(lambda p: [[x + 1000, y, z] for x, y, z in p])),
    "100,000 points": (".mrk.json", markups(lambda p: [[x, y, z] for x, y, z in p for _ in range(3400)])),
    "6,000 different points": (
        ".mrk.json",
        markups(lambda p: [[x + n % 20 * 1e-3, y + n // 20 * 1e-3, z] for n in range(200) for x, y, z in p]),
    ),
    "a type without surface": (".mrk.json", markups(lambda p: p, type={"a": 1})),
    "a unit that is none": (".mrk.json", markups(lambda p: p, coordinateUnits=[])),
    "markups an object": (".mrk.json", text_of('{"markups": {"a": 1}}')),
    "points a text": (".mrk.json", text_of('{"markups": [{"coordinateSystem": "LPS", "controlPoints": "abc"}]}')),
    "system a list": (".mrk.json", text_of('{"markups": [{"coordinateSystem": [], "controlPoints": []}]}')),
    "objects a number": (".json", text_of('{"coordinate_system": "LPS", "objects": 3}')),
    "labels an object": (".json", text_of('{"objects": [{"points_mm": [[1,2,3]], "labels": {"a": 1}}]}')),
    "system an object": (".json", text_of('{"coordinate_system": {}, "points_mm": [[1,2,3]]}')),
    "fcsv without positions": (".fcsv", text_of("# columns = id,a,b\n1,2,3\n")),
    "entities": (".mps", text_of(_MPS.format(_LAUGHS, _MPS_POINT.format("&a9;")))),
    "entities in UTF-16": (".mps", text_of(_MPS.format(_LAUGHS, _MPS_POINT.format("&a9;")), "utf-16")),
    "an entity of a file": (".mps", text_of(_MPS.format(_PASSWD, _MPS_POINT.format("&e;")))),
    "no XML": (".mps", text_of("hello")),
    "nested tags": (".mps", text_of("<a>" * 200_000)),
    "a folder": (".csv", lambda p: (p.unlink(missing_ok=True), p.mkdir())),
}  # fmt: skip

JSON_FILES: dict[str, Writer] = {
    "empty": bytes_of(b""),
    "cut": cut(0.5),
    "a number": text_of("3"),
    "a list": text_of("[1, 2]"),
    "null": text_of("null"),
    "an empty object": text_of("{}"),
    "100,000 brackets": text_of("[" * 100_000),
    "100 levels": text_of('{"a": ' * 100 + "1" + "}" * 100),
    "5000 digits": text_of('{"a": ' + "9" * 5000 + "}"),
    "half a surrogate pair": text_of('{"\\ud800": "\\udfff"}'),
    "not UTF-8": bytes_of(b'{"a": "\xff"}'),
    "UTF-16": text_of('{"a": 1}', "utf-16"),
    "a folder": unreadable_folder,
}


class _Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def saved(content: Any) -> Writer:
    def write(path: Path) -> None:
        import torch

        torch.save(content, path)

    return write


def _weights(entry: Any) -> Any:
    return {"network_weights": {"decoder.seg_layers.0.bias": entry}, "trainer_name": "nnUNetTrainer"}


CHECKPOINTS: dict[str, Writer] = {
    "empty": bytes_of(b""),
    "text": text_of("hello"),
    "cut": cut(0.5),
    "code": saved({"network_weights": {}, "x": _Evil()}),
    "a pickle with code": bytes_of(lambda: pickle.dumps(_Evil())),
    "a list": saved([1, 2]),
    "without weights": saved({"a": 1}),
    "weights a list": saved({"network_weights": [1]}),
    "weights texts": saved(_weights("x")),
    "no weights": saved({"network_weights": {}}),
    "a folder": unreadable_folder,
}
