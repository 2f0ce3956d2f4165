"""Does any file that the package reads bring it down, whatever bytes it holds?

Valid files of each format are damaged at random - bits, numbers, pieces, words, members of archives, entries of JSON -
and given to the functions by which the commands read them. Each is read (the damage did no harm), refused with a
message of input errors, or a fault: another exception, more memory than allowed, a signal, or no end within 20 s of
computing.

Files are read in processes of their own, which may take 2 GB beyond the libraries they load. Every file follows from
`--seed`, its format and its number, so `--format nrrd --only 1234` reads one of them again, with the traceback.
Exit code 1 if there was any fault. DICOM files and meshes, which the commands read in processes that may end, are read
in forks with 1 GB; a file that ends its process counts as refused, after the first of them have been read again as
the commands do it.

    python -m benchmarks.fuzz --minutes 10 --seed 0
    python -m benchmarks.fuzz --minutes 1 --format nii.gz seg.nrrd
"""

from __future__ import annotations

import argparse
import copy
import gzip
import io
import json
import logging
import math
import os
import random
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from tests.hostile_study import CASES, PLANS, labels, on_grid, points

TIMEOUT_S = 20.0
MEMORY_BYTES = 2 << 30
AGAIN = 3
OUTCOMES = ("read", "refused", "traceback", "memory", "signal", "timeout")
FAULTS = OUTCOMES[2:]
_ODD_BYTES = (0, 1, 0x7F, 0x80, 0xFF)
_ODD_NUMBERS = (0, 1, -1, 255, 256, 32767, -32768, 65535, 1 << 20, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
_ODD_FLOATS = (float("nan"), float("inf"), -1.0, 1e30)
_WORDS = (
    b"NaN", b"inf", b"-1", b"0", b"1e999", b"9" * 400, b"9" * 5000, b"\xff\xfe", b"\\ud800", b"../../x", b"/etc/passwd",
    b"[" * 200, b"(" * 3000, b"\"", b"'", b"=1+1", b"\0", b"\n", b"\r", b"\x1b[2J", b",", b";", b"\t", b"<a>", b"&a;",
    b"{}",
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e308, 10**30, "", "x", "../../x", [], {}, [[]], {"a": []}, "\ud800")

Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """How files of a format are made and read."""

    make: Callable[[Path], object]
    read: Reader
    container: str = ""
    header_bytes: int = 0
    name: str = "c0"
    read_apart: Reader | None = None
    """As the commands read it, where that is `read` in another process."""


# ------------------------------------------------------------------------------------------------ files of each format
def _write_image(path: Path) -> None:
    sitk.WriteImage(on_grid(labels()), str(path), useCompression=path.suffix not in (".nii", ".nrrd", ".mha"))


def _write_packed_image(path: Path) -> None:
    sitk.WriteImage(on_grid(labels()), str(path), useCompression=True)


def _write_float_image(path: Path) -> None:
    sitk.WriteImage(on_grid(labels().astype(np.float32)), str(path))


def _write_segmentation(path: Path) -> None:
    image = on_grid(labels())
    for number, name in enumerate(("one", "two")):
        for key, value in (("Name", name), ("Layer", "0"), ("LabelValue", str(number + 1))):
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_dicom(path: Path) -> None:
    image = sitk.GetImageFromArray(labels()[4].astype(np.int16))
    for key, value in (("0020|000e", "1.2.3"), ("0020|000d", "1.2.3.4"), ("0008|0060", "MR"), ("0020|0032", "0\\0\\0")):
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))


_ROWS = [["case", "region", "quality", "error"], *[[c, r, 3, "under"] for c in CASES for r in ("one", "two")]]


def _write_scores(path: Path) -> None:
    delimiter = "\t" if path.suffix == ".tsv" else ","
    path.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in _ROWS))


def _write_workbook(path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in _ROWS:
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.save(path)


def _write_json_scores(path: Path) -> None:
    path.write_text(json.dumps([dict(zip(_ROWS[0], row, strict=True)) for row in _ROWS[1:]]))


def _write_points(path: Path) -> None:
    from nnunet_weak.points.files import write_points
    from nnunet_weak.points.points import ObjectPoints, PointSet

    found = points()
    if path.suffix == ".fcsv":
        rows = "".join(f"n,{x},{y},{z},0,0,0,1,1,1,0,a,,\n" for x, y, z in found)
        columns = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
        path.write_text(
            f"# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = {columns}\n{rows}"
        )
    elif path.suffix == ".mps":
        inside = "".join(
            f"<point><id>{n}</id><x>{x}</x><y>{y}</y><z>{z}</z></point>" for n, (x, y, z) in enumerate(found)
        )
        path.write_text(
            '<?xml version="1.0"?><point_set_file><point_set><time_series>'
            f"{inside}</time_series></point_set></point_set_file>"
        )
    elif path.suffix == ".tsv":
        path.write_text("l\tp\ts\tclass\n" + "".join(f"{x}\t{y}\t{z}\tone\n" for x, y, z in found))
    elif path.name.endswith(".mrk.json") or path.suffix == ".csv":
        write_points(path, PointSet((ObjectPoints(found, "one"),)))
    else:
        path.write_text(json.dumps({"coordinate_system": "LPS", "points_mm": found.tolist()}))


def _write_patients(path: Path) -> None:
    path.write_text("case,patient\nc0,p\nc1,q\n")


def _write_dataset_json(path: Path) -> None:
    from nnunet_weak.dataset.annotations import (
        CaseAnnotation,
        ChannelLayout,
        ErrorType,
        RegionScore,
        WeakAnnotations,
    )

    scored = CaseAnnotation(False, {"one": RegionScore(3.0, ErrorType.UNDER)}, ("anna",))
    block = WeakAnnotations("score", ChannelLayout(1, ("one",), True), {"c0": scored}, maps={"anna": "positive"})
    content = {
        "channel_names": {"0": "MRI", "1": "noNorm", "2": "noNorm"},
        "labels": {"background": 0, "one": 1, "two": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "nnunet_weak": block.to_json(),
    }
    path.write_text(json.dumps(content))


def _write_plans(path: Path) -> None:
    path.write_text(json.dumps(PLANS))


def _write_splits(path: Path) -> None:
    path.write_text(json.dumps([{"train": ["c0"], "val": ["c1"]}]))


def _write_descriptions(path: Path) -> None:
    path.write_text('# a comment\n    1  255 0 0  1 1 1  "one"\n    2  0 255 0  1 1 1  "two"\n')


def _write_checkpoint(path: Path) -> None:
    import torch

    weights = {"encoder.0.weight": torch.zeros(4, 1, 3, 3), "decoder.seg_layers.0.bias": torch.zeros(3)}
    torch.save(
        {"network_weights": weights, "trainer_name": "nnUNetTrainer", "logging": {"ema": [np.float64(0.5)]}}, path
    )


def _write_probabilities(path: Path) -> None:
    path.with_name("dataset.json").write_text('{"labels": {"background": 0, "one": 1, "two": 2}}')
    path.with_name("plans.json").write_text('{"image_reader_writer": "SimpleITKIO"}')
    np.savez_compressed(path, probabilities=np.full((3, *labels().shape), 1 / 3, np.float32))


def _write_mesh(path: Path) -> None:
    import pyvista

    pyvista.Sphere(radius=8.0, theta_resolution=12, phi_resolution=12).save(path)


def _write_state(path: Path) -> None:
    path.write_text(json.dumps({"case": "c0", "annotator": "a", "revision": 1, "seconds": 1.0, "content": {}}))


# ------------------------------------------------------------------------------------------ reading, as the commands do
@cache
def _grid() -> sitk.Image:
    return on_grid(labels().astype(np.int16))


def _read_volume(path: Path) -> None:
    from nnunet_weak.images.read import read_image, read_label_map, read_label_map_on_grid

    read_image(path)
    read_label_map(path)
    if path.suffix not in (".tif", ".gipl", ".hdr"):  # these round a grid or do not keep it
        read_label_map_on_grid(path, _grid())


def _read_segmentation(path: Path) -> None:
    from nnunet_weak.drawings.files import read_drawing
    from nnunet_weak.drawings.legend import parse_drawing_code

    read_drawing(path, _grid(), parse_drawing_code(["background=rest", "one", "two"], 0), negative=False)


def _read_dicom(path: Path) -> None:
    from nnunet_weak.images.dicom import read_dicom_series_here

    read_dicom_series_here(path.parent)


def _read_dicom_apart(path: Path) -> None:
    from nnunet_weak.images.read import read_case_image

    read_case_image(path.parent)


@cache
def _score_options() -> Any:
    from nnunet_weak.options import parse
    from nnunet_weak.scores.options import ScoreConversion

    words = "--images i --masks m --scores s.csv -d 1 -n T --prior none --regions one=1 two=2".split()
    return parse(ScoreConversion, words)


def _read_scores(path: Path) -> None:
    from nnunet_weak.scores.report import format_table
    from nnunet_weak.scores.table import read_scores

    options = replace(_score_options(), scores=path)
    format_table(options, read_scores(options, CASES))


def _read_points(path: Path) -> None:
    from nnunet_weak.points.files import read_points
    from nnunet_weak.points.placement import check_points_in_image
    from nnunet_weak.surface.point_checks import check_points

    found = read_points(path, group_by="list")
    found.grouped_by_label()
    check_points_in_image(found, _grid())
    for one in found:
        check_points(one.points_mm, 1.0, 0.0)


def _read_patients(path: Path) -> None:
    from nnunet_weak.dataset.patients import read_patients

    read_patients(path, CASES)


def _read_dataset_json(path: Path) -> None:
    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.dataset.dataset_json import read_stock_entries
    from nnunet_weak.evaluation.labels import read_dataset_json

    read_dataset_json(path)
    read_stock_entries(path.parent)
    WeakAnnotations.read(path.parent).to_json()


def _read_plans(path: Path) -> None:
    from nnunet_weak.dataset.plans import damaged_plans_named, read_plans

    plans = read_plans(path)
    with damaged_plans_named(path):
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        manager = PlansManager(plans)
        for name in manager.available_configurations:
            configuration = manager.get_configuration(name)
            _ = configuration.data_identifier, configuration.patch_size, configuration.network_arch_init_kwargs
            _ = manager.transpose_forward, configuration.resampling_fn_seg


def _read_splits(path: Path) -> None:
    from nnunet_weak.dataset.splits import read_splits

    read_splits(path)


def _read_descriptions(path: Path) -> None:
    from nnunet_weak.drawings.legend import parse_drawing_code

    parse_drawing_code(["background=0", "one", "two"], 9, description=path)


def _read_checkpoint(path: Path) -> None:
    from nnunet_weak.training.threshold import set_threshold

    set_threshold(path, 0.4)


def _read_probabilities(path: Path) -> None:
    from nnunet_weak.points.predictions import read_probabilities

    read_probabilities(path, ["one", "two"], _grid())


def _read_mesh(path: Path) -> None:
    from nnunet_weak.surface import mesh_template
    from nnunet_weak.surface.mesh_files import read_mesh_here

    mesh_template.MODES = 20  # instead of 300, which take a second for each file
    mesh_template.MeshTemplate.of(*read_mesh_here(path))


def _read_mesh_apart(path: Path) -> None:
    from nnunet_weak.surface.mesh_template import read_template

    read_template(path)


def _read_state(path: Path) -> None:
    from nnunet_weak.images.json_files import load_object

    load_object(path, case=str, annotator=str, revision=int, content=dict)


FORMATS: dict[str, Format] = {
    "nii": Format(_write_image, _read_volume, header_bytes=352),
    "float.nii": Format(_write_float_image, _read_volume, header_bytes=352),
    "nii.gz": Format(_write_packed_image, _read_volume, "gzip", header_bytes=352),
    "hdr": Format(_write_image, _read_volume, header_bytes=348),
    "nrrd": Format(_write_image, _read_volume, header_bytes=400),
    "packed.nrrd": Format(_write_packed_image, _read_volume, header_bytes=400),
    "mha": Format(_write_image, _read_volume, header_bytes=400),
    "packed.mha": Format(_write_packed_image, _read_volume, header_bytes=400),
    "gipl": Format(_write_image, _read_volume, header_bytes=256),
    "tif": Format(_write_image, _read_volume, header_bytes=200),
    "seg.nrrd": Format(_write_segmentation, _read_segmentation, header_bytes=700),
    "dcm": Format(_write_dicom, _read_dicom, header_bytes=800, read_apart=_read_dicom_apart),
    "csv": Format(_write_scores, _read_scores, name="scores"),
    "tsv": Format(_write_scores, _read_scores, name="scores"),
    "xlsx": Format(_write_workbook, _read_scores, "zip", name="scores"),
    "json": Format(_write_json_scores, _read_scores, "json", name="scores"),
    "points.csv": Format(_write_points, _read_points),
    "points.tsv": Format(_write_points, _read_points),
    "points.json": Format(_write_points, _read_points, "json"),
    "mrk.json": Format(_write_points, _read_points, "json"),
    "fcsv": Format(_write_points, _read_points),
    "mps": Format(_write_points, _read_points),
    "patients.csv": Format(_write_patients, _read_patients),
    "dataset.json": Format(_write_dataset_json, _read_dataset_json, "json", name=""),
    "plans.json": Format(_write_plans, _read_plans, "json", name=""),
    "splits_final.json": Format(_write_splits, _read_splits, "json", name=""),
    "state.json": Format(_write_state, _read_state, "json", name=""),
    "txt": Format(_write_descriptions, _read_descriptions, name="descriptions"),
    "pth": Format(_write_checkpoint, _read_checkpoint, "zip"),
    "npz": Format(_write_probabilities, _read_probabilities, "zip"),
    "stl": Format(_write_mesh, _read_mesh, header_bytes=84, read_apart=_read_mesh_apart),
    "ply": Format(_write_mesh, _read_mesh, header_bytes=300, read_apart=_read_mesh_apart),
    "vtk": Format(_write_mesh, _read_mesh, header_bytes=300, read_apart=_read_mesh_apart),
    "vtp": Format(_write_mesh, _read_mesh, header_bytes=600, read_apart=_read_mesh_apart),
}


# ------------------------------------------------------------------------------------------------------------- damaging
def damaged(content: bytes, kind: Format, rng: random.Random) -> bytes:
    """The bytes of a damaged file."""
    inside = rng.random() < 0.6
    if inside and kind.container == "gzip":
        return gzip.compress(_mutated(gzip.decompress(content), kind.header_bytes, rng), 1)
    if inside and kind.container == "json":
        return _other_tree(content, rng)
    if inside and kind.container == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            names = old.namelist()
            chosen = rng.choice(names)
            for name in names:
                part = old.read(name)
                if name != chosen or rng.random() > 0.05:  # a few parts are left out
                    new.writestr(name, _mutated(part, 0, rng) if name == chosen else part)
        return stream.getvalue()
    return _mutated(content, kind.header_bytes, rng)


def _mutated(content: bytes, header_bytes: int, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        length = len(data)
        at = rng.randrange(max(1, min(length, header_bytes) if header_bytes and rng.random() < 0.7 else length))
        until = min(length, at + rng.choice((1, 2, 4, 16, 256)))
        action = rng.randrange(9)
        if action == 0 and at < length:
            data[at] ^= 1 << rng.randrange(8)
        elif action == 1 and at < length:
            data[at] = rng.choice(_ODD_BYTES)
        elif action == 2:
            code, bits = rng.choice((("h", 16), ("i", 32), ("q", 64)))
            number = rng.choice(_ODD_NUMBERS) % (1 << bits)
            packed = struct.pack(rng.choice("<>") + code.upper(), number)
            data[at : at + len(packed)] = packed
        elif action == 3:
            data[at : at + 4] = struct.pack(
                rng.choice("<>") + "f", rng.choice((float("nan"), float("inf"), -1.0, 1e30))
            )
        elif action == 4:
            del data[at:until]
        elif action == 5:
            data[at:at] = data[at:until] * rng.choice((1, 2, 50))
        elif action == 6:
            data[at:at] = rng.choice(_WORDS)
        elif action == 7:
            digits = [place for place in range(at, min(length, at + 200)) if data[place] in b"0123456789"]
            if digits:
                data[digits[0] : digits[0] + 1] = rng.choice(_WORDS)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def _other_tree(content: bytes, rng: random.Random) -> bytes:
    """JSON with an entry replaced, renamed or taken out."""
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        places: list[tuple[Any, Any]] = []
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, (dict, list)):
                for key in list(node) if isinstance(node, dict) else range(len(node)):
                    places.append((node, key))
                    waiting.append(node[key])
        if not places:
            break
        node, key = rng.choice(places)
        if rng.random() < 0.25:
            del node[key]
        elif isinstance(node, dict) and rng.random() < 0.15:
            node[rng.choice(("", "x", "../../x", "\x1b[2J", "9" * 400))] = node.pop(key)
        else:
            node[key] = copy.deepcopy(rng.choice(_ODD_VALUES))  # which the next change may change
    return json.dumps(tree).encode()


# -------------------------------------------------------------------------------------------------------------- running
def _path_of(folder: Path, name: str) -> Path:
    kind = FORMATS[name]
    ending = name.removeprefix("points.").removeprefix("packed.").removeprefix("float.")
    return folder / (f"{kind.name}.{ending}" if kind.name else name)


def _outcome(
    name: str, seed: int, number: int, content: bytes, folder: Path, *, apart: bool = False
) -> tuple[str, str]:
    path = _path_of(folder, name)
    path.write_bytes(damaged(content, FORMATS[name], random.Random(f"{seed}/{name}/{number}")))
    try:
        (FORMATS[name].read_apart if apart and FORMATS[name].read_apart else FORMATS[name].read)(path)
    except InvalidInputError as error:
        return "refused", "" if "remedy:" in str(error) else f"no remedy: {str(error)[:300]}"
    except MemoryError:
        return "memory", traceback.format_exc(limit=-2)
    except Exception:
        return "traceback", traceback.format_exc()
    return "read", ""


def work(name: str, seed: int, first: int) -> None:
    """Read damaged files from number `first` on, until killed; tells each in a line of JSON."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    with tempfile.TemporaryDirectory(prefix="fuzz_") as temporary:
        folder = Path(temporary)
        path = _path_of(folder, name)
        FORMATS[name].make(path)
        content = path.read_bytes()
        _outcome_of_valid(name, path)
        _limit_memory(MEMORY_BYTES)
        outcome_of = _outcome_forked if FORMATS[name].read_apart else _outcome
        for number in range(first, sys.maxsize):
            told.write(json.dumps({"start": number}) + "\n")
            outcome, detail = outcome_of(name, seed, number, content, folder)
            peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            told.write(json.dumps({"outcome": outcome, "detail": detail, "peak": peak}) + "\n")


def _outcome_forked(name: str, seed: int, number: int, content: bytes, folder: Path) -> tuple[str, str]:
    answer = folder / "answer"
    child = os.fork()
    if not child:
        _limit_memory(MEMORY_BYTES // 2)
        answer.write_text(json.dumps(_outcome(name, seed, number, content, folder)))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        return "ended", f"the process ended with {code}"
    outcome, detail = json.loads(answer.read_text())
    answer.unlink()  # it would lie beside a DICOM series
    return outcome, detail


def _limit_memory(size: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + size, resource.RLIM_INFINITY))


def _outcome_of_valid(name: str, path: Path) -> None:
    """The undamaged file must be read; loads the libraries besides."""
    shutil.copy(path, path.with_name("kept"))
    try:
        FORMATS[name].read(path)
    except InvalidInputError as error:
        raise AssertionError(f"{name}: the valid file is refused: {error}") from error
    path.with_name("kept").unlink()


@dataclass
class Counts:
    """Outcomes of a format."""

    outcomes: Counter = field(default_factory=Counter)
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    without_remedy: Counter = field(default_factory=Counter)
    peak_bytes: int = 0
    ended: int = 0
    end: float = math.inf


def run(name: str, seed: int, seconds: float) -> Counts:
    """Count the outcomes of a format for so long, from its first file on."""
    counts, first = Counts(), 0
    while time.monotonic() < counts.end:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--work", name, str(seed), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            first, over = _watch(process, counts, first, seconds, name, seed)
            process.kill()
            if over:
                assert process.stderr is not None
                error = process.stderr.read().decode()[-2000:]
                process.wait()
                if first < 0:
                    raise RuntimeError(f"{name}: cannot begin\n{error}")
    return counts


def _watch(
    process: subprocess.Popen, counts: Counts, number: int, seconds: float, name: str, seed: int
) -> tuple[int, bool]:
    """Follow a worker until its time is over, it hangs or it dies; returns the next number, -1 if it never began."""
    assert process.stdout is not None
    begun, buffer = False, b""
    waiting = TIMEOUT_S * 6  # libraries are loaded first
    while True:
        before = _cpu_seconds(process.pid)
        while not select.select([process.stdout], [], [], 1.0)[0]:
            if _cpu_seconds(process.pid) - before > waiting:
                _note(counts, "timeout", f"no end within {waiting:g} s", number)
                return number + 1, False
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            code = process.wait()
            if not begun:
                return -1, True
            _note(counts, "signal" if code < 0 else "traceback", f"the process ended with {code}", number)
            return number + 1, False
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            entry = json.loads(line)
            if "start" in entry:
                number, begun, waiting = entry["start"], True, TIMEOUT_S
                if counts.end == math.inf:
                    counts.end = time.monotonic() + seconds
            else:
                outcome, detail = entry["outcome"], entry["detail"]
                counts.peak_bytes = max(counts.peak_bytes, entry["peak"])
                if outcome == "ended":
                    counts.ended += 1
                    outcome, detail = ("refused", "") if counts.ended > AGAIN else _outcome_apart(name, seed, number)
                if outcome == "refused":
                    counts.outcomes[outcome] += 1
                    counts.without_remedy.update([detail] if detail else [])
                else:
                    _note(counts, outcome, detail, number)
        with_memory = Path(f"/proc/{process.pid}/status")
        if with_memory.exists() and (found := [x for x in with_memory.read_text().splitlines() if "VmHWM" in x]):
            counts.peak_bytes = max(counts.peak_bytes, int(found[0].split()[1]) * 1024)
        if time.monotonic() > counts.end:
            return number + 1, False


def _outcome_apart(name: str, seed: int, number: int) -> tuple[str, str]:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--format", name, "--seed", str(seed), "--only", str(number)]
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "TMPDIR": folder}
        )
    outcome, _, detail = done.stdout.partition("\n")
    detail = detail.rpartition("\n/")[0].strip()  # the last line is the file's path
    return (outcome, detail) if outcome in OUTCOMES else ("signal", f"the process ended with {done.returncode}")


def _cpu_seconds(process: int) -> float:
    """Time that a process has computed, which on a busy computer is less than has gone by."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def _note(counts: Counts, outcome: str, detail: str, number: int) -> None:
    counts.outcomes[outcome] += 1
    if outcome in FAULTS:
        frames = [line.strip() for line in detail.splitlines() if line.strip().startswith("File")]
        kind = f"{outcome}: {detail.strip().splitlines()[-1][:160]} {frames[-1] if frames else ''}"
        counts.faults.setdefault(kind, (number, detail))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all formats together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: %(default)s)")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=list(FORMATS), help="formats (default: all)")
    parser.add_argument("--only", type=int, help="read the file of this number in this process, with its traceback")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], int(options.work[1]), int(options.work[2]))
        return 0
    if options.only is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
            path = _path_of(Path(folder), options.format[0])
            FORMATS[options.format[0]].make(path)
            content = path.read_bytes()
            outcome, detail = _outcome(options.format[0], options.seed, options.only, content, Path(folder), apart=True)
            shutil.copy(path, tempfile.gettempdir())
            print(outcome, detail, Path(tempfile.gettempdir()) / path.name, sep="\n")
        return int(outcome in FAULTS)
    print(f"seed {options.seed}, {options.minutes:g} minutes\n{'format':18s}" + "".join(f"{o:>10s}" for o in OUTCOMES))
    total, faults = Counter[str](), 0
    for name in options.format:
        counts = run(name, options.seed, options.minutes * 60 / len(options.format))
        row = "".join(f"{counts.outcomes[outcome]:10d}" for outcome in OUTCOMES)
        print(f"{name:18s}{row}   {counts.peak_bytes / 2**20:.0f} MB", flush=True)
        for kind, (number, _) in counts.faults.items():
            print(f"    --format {name} --seed {options.seed} --only {number}: {kind}", flush=True)
        if counts.ended:
            again = min(counts.ended, AGAIN)
            print(
                f"    {counts.ended} ended the process that read them; {again} of these were read again by the commands"
            )
        for text, number in counts.without_remedy.most_common(3):
            print(f"    {number} x {text.splitlines()[0]}", flush=True)
        total.update(counts.outcomes)
        faults += sum(counts.outcomes[outcome] for outcome in FAULTS)
    print(f"{'all':18s}" + "".join(f"{total[outcome]:10d}" for outcome in OUTCOMES))
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
