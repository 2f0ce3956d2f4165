"""Some 525 bad or odd inputs for the installed commands, one line for each trial and a count at the end.

    python -m benchmarks.sabotage --data DATA [--bin BIN] [--only REGEX] [--quick] [--messages] [--verbose] [--keep]

DATA holds `hippocampus/{images,labels,initial_masks}` with .nii.gz files. A trial is a folder with inputs, a command
and the expected result:

  refuse   exit code 2, the message names the file (or option) and the problem, and says what to do; nothing is left
           behind in nnUNet_raw, nnUNet_preprocessed, nnUNet_results, outputs and TMPDIR
  accept   exit code 0
  sane     either of the two

Failures: FAULT (exit code 1: the command says itself that it has a fault), TRACEBACK, UNCLEAR (the message does not
name the file or the problem), NO-REMEDY, LEFTOVER, ACCEPTED (wrongly), REFUSED (wrongly), SIGNAL, HANG, MEMORY,
SECURITY, WRONG (a check of the result failed), DRY-RUN (the dry run of a converter comes to another verdict). Runs on
Linux; trials of permissions (setpriv) and of a full disk (a small tmpfs) need root and are skipped otherwise.

The tables of trials are laid out by hand: one trial a line, where it fits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# fmt: off
WORLD: World
HEAVY_BYTES = 3 << 30
REMEDY = re.compile(
    r"remedy|choose|usage:|--\w|save it|export it|correct|mend|make room|give |name |names |run |install|must|needs|"
    r"add |allowed|one of|expected|between|is needed|are needed|rename|instead|take |set it|write ",
    re.I,
)


# ---------------------------------------------------------------------------------------------- writing odd files
NIFTI_TYPES = {"u1": (2, 8), "i2": (4, 16), "i4": (8, 32), "f4": (16, 32), "c8": (32, 64), "f8": (64, 64),
               "rgb": (128, 24), "u2": (512, 16), "u4": (768, 32), "i8": (1024, 64)}


def nifti(path, data=b"", dims=(8, 8, 8), kind="u1", spacing=(1, 1, 1), affine=None, forms=(1, 1), compress=None,
          level=6):
    """A NIfTI file whose header says whatever is wanted; `data` are bytes or an array (x fastest)."""
    code, bits = NIFTI_TYPES[kind]
    dims = tuple(dims)
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(dims), *(dims + (1,) * (7 - len(dims))))
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, *(tuple(spacing) + (1,) * (7 - len(spacing))))
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<f", header, 112, 1)
    header[123] = 2
    struct.pack_into("<hh", header, 252, *forms)
    rows = affine if affine is not None else [[spacing[0], 0, 0, 0], [0, spacing[1], 0, 0], [0, 0, spacing[2], 0]]
    struct.pack_into("<12f", header, 280, *(value for row in rows for value in row))
    header[344:348] = b"n+1\0"
    body = bytes(header) + b"\0\0\0\0" + (data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes())
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress is None:
        compress = path.name.endswith(".gz")
    path.write_bytes(gzip.compress(body, level) if compress else body)
    return path


def gzip_zeros(head: bytes, count: int) -> bytes:
    """A gzip file of `head` and very many zeros, without ever holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head)]
    block = bytes(1 << 22)
    while count > 0:
        parts.append(packer.compress(block[: min(count, len(block))]))
        count -= len(block)
    return b"".join([*parts, packer.flush()])


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def rewrite(path, change, image_change=None):
    """Replace a volume's voxels by change(array), and perhaps its geometry."""
    image = sitk.ReadImage(str(path))
    new = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    new.CopyInformation(image) if new.GetSize() == image.GetSize() else None
    if image_change:
        image_change(new)
    sitk.WriteImage(new, str(path))


def seg_nrrd(path, array, like, segments, sizes=None, body=None, extra=""):
    """A .seg.nrrd as 3D Slicer writes it; array (z, y, x)."""
    direction = np.array(like.GetDirection()).reshape(3, 3)
    vector = ["(" + ",".join(repr(float(x)) for x in direction[:, i] * like.GetSpacing()[i]) + ")" for i in range(3)]
    sizes = sizes or array.shape[::-1]
    head = "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: left-posterior-superior\n"
    head += f"sizes: {sizes[0]} {sizes[1]} {sizes[2]}\nspace directions: {' '.join(vector)}\n"
    head += "kinds: domain domain domain\nencoding: gzip\n"
    head += "space origin: (" + ",".join(repr(float(x)) for x in like.GetOrigin()) + ")\n" + extra
    for number, (name, value) in enumerate(segments):
        head += f"Segment{number}_ID:=Segment_{number}\nSegment{number}_LabelValue:={value}\n"
        head += f"Segment{number}_Layer:=0\nSegment{number}_Name:={name}\n"
    packed = gzip.compress(np.ascontiguousarray(array, np.uint8).tobytes()) if body is None else body
    Path(path).write_bytes(head.encode() + b"\n" + packed)


def xlsx(path, sheets, merges=()):
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for merge in merges:
            sheet.merge_cells(merge)
    book.save(path)


def mrk(points, system="LPS", **more):
    return json.dumps({"@schema": "x", "markups": [{
        "type": "Fiducial", "coordinateSystem": system, "coordinateUnits": "mm",
        "controlPoints": [{"id": str(i), "label": f"F-{i}", "position": p, "positionStatus": "defined"}
                          for i, p in enumerate(points)], **more}]})


EVIL = """
import os, pickle, sys
class Evil:
    def __reduce__(self):
        return (os.system, ("touch " + sys.argv[2],))
import torch
torch.save({"network_weights": {"decoder.seg_layers.0.bias": torch.zeros(2)}, "x": Evil()}, sys.argv[1])
"""
CHECKPOINT = """
import sys, torch
torch.save({"network_weights": {"decoder.seg_layers.0.bias": torch.zeros(2), "a": torch.zeros(3)},
            "trainer_name": "nnUNetTrainer", "init_args": {"configuration": "3d_fullres"}}, sys.argv[1])
"""


FITTING = """
import glob, json, sys, torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
plans = PlansManager(json.load(open(glob.glob("PLANS/*/nnUNetPlans.json")[0])))
dataset = json.load(open(glob.glob("PLANS/*/dataset.json")[0]))
network = nnUNetTrainer.build_network_architecture(plans, plans.get_configuration("2d"), 1,
    plans.get_label_manager(dataset).num_segmentation_heads, enable_deep_supervision=True)
torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}, sys.argv[1])
"""


# ---------------------------------------------------------------------------------------------- running
class Case:
    """One trial's folder."""

    def __init__(self, root: Path):
        self.root = root
        self.inputs = root / "in"
        self.raw, self.pp, self.res = root / "raw", root / "pp", root / "res"
        self.tmp, self.out = root / "tmp", root / "out"
        for folder in (self.inputs, self.raw, self.pp, self.res, self.tmp, self.out):
            folder.mkdir(parents=True)
        self.env = {}

    def copy(self, *kinds):
        for kind in kinds or ("images", "masks", "labels", "points", "drawings"):
            shutil.copytree(WORLD.template / kind, self.inputs / kind)
        shutil.copy(WORLD.template / "scores.csv", self.inputs)
        return self

    def scores(self, text, name="scores.csv", encoding="utf-8"):
        path = self.inputs / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path


class World:
    def __init__(self, arguments):
        self.arguments = arguments
        self.bin = Path(arguments.bin).absolute()
        self.python = self.bin / "python"
        self.base = Path(arguments.work or tempfile.mkdtemp(prefix="sabotage_")).absolute()
        self.base.mkdir(parents=True, exist_ok=True)
        os.chmod(self.base, 0o755)
        self.template = self.base / "template"
        self.results = []
        self.number = 0

    # -- what all trials begin with
    def prepare(self):
        if self.template.exists():
            return
        data = Path(self.arguments.data) / "hippocampus"
        names = sorted(path.name for path in (data / "initial_masks").glob("*.nii.gz"))[:3]
        if len(names) < 3:
            sys.exit(f"{data}: needs images/, labels/ and initial_masks/ with three cases (give --data)")
        for kind in ("images", "masks", "labels", "points", "drawings"):
            (self.template / kind).mkdir(parents=True)
        for number, name in enumerate(names):
            case = f"c{number}.nii.gz"
            for source, kind in (("images", "images"), ("initial_masks", "masks"), ("labels", "labels")):
                image = sitk.ReadImage(str(data / source / name))
                image = sitk.Cast(image, sitk.sitkInt16 if kind == "images" else sitk.sitkUInt8)
                sitk.WriteImage(image, str(self.template / kind / case))
            labels = sitk.ReadImage(str(self.template / "labels" / case))
            array = sitk.GetArrayFromImage(labels)
            drawn = np.full(array.shape, 4, np.uint8)
            drawn[::3][array[::3] > 0] = array[::3][array[::3] > 0]
            drawn[::3, :4] = 0
            new = sitk.GetImageFromArray(drawn)
            new.CopyInformation(labels)
            sitk.WriteImage(new, str(self.template / "drawings" / case))
            inside = np.argwhere(array > 0)
            rng = np.random.default_rng(number)
            edge = inside[np.argsort(-np.linalg.norm(inside - inside.mean(0), axis=1))[: len(inside) // 4]]
            picked = edge[rng.choice(len(edge), 20, replace=False)]
            points = [list(map(float, labels.TransformIndexToPhysicalPoint(tuple(map(int, p[::-1])))))
                for p in picked]
            (self.template / "points" / f"c{number}.mrk.json").write_text(mrk(points))
        (self.template / "scores.csv").write_text(
            "case,region,quality,error\n" + "".join(f"c{i},hip,3,under\n" for i in range(3)))

    def environment(self, case):
        env = dict(os.environ)
        for name in ("nnUNet_extTrainer",):
            env.pop(name, None)
        env |= {"PATH": f"{self.bin}:{env.get('PATH', '')}", "nnUNet_raw": str(case.raw), "LANG": "C.UTF-8",
                "nnUNet_preprocessed": str(case.pp), "nnUNet_results": str(case.res), "TMPDIR": str(case.tmp),
                "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1",
                "MPLCONFIGDIR": str(self.base / "mpl"), "nnUNet_def_n_proc": "1"}
        for key, value in case.env.items():
            if value is None:
                env.pop(key, None)
            else:
                env[key] = str(value)
        return env

    def execute(self, case, command, timeout, user=None, kill=None):
        """Run; kill = (signal, seconds). Returns exit code, text, seconds, peak bytes, hang, processes left."""
        line = [str(part) for part in command]
        line = ["nice", "-n", "5", str(self.bin / line[0]), *line[1:]]
        if user:
            line = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search",
                *line]  # root that obeys permissions
        log = case.root / "log.txt"
        start = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT, env=self.environment(case),
                                       cwd=case.root, start_new_session=True, stdin=subprocess.DEVNULL)
        peak, hang, sent = 0, False, False
        while process.poll() is None:
            seconds = time.monotonic() - start
            members = session_members(process.pid)
            peak = max(peak, sum(memory for _, memory in members))
            if kill and not sent and (seconds >= kill[1] if isinstance(kill[1], float) else half_done(case)):
                sent = True
                if kill[0] == signal.SIGINT:  # as a terminal does: to the whole group
                    os.killpg(process.pid, kill[0])
                else:
                    process.send_signal(kill[0])
            if seconds > timeout or peak > 3 * HEAVY_BYTES:
                hang = seconds > timeout
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.03)
        process.wait()
        seconds = time.monotonic() - start
        left = session_members(process.pid)
        if left and kill:
            time.sleep(6)
            left = session_members(process.pid)
        for pid, _ in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return process.returncode, log.read_text(errors="replace"), seconds, peak, hang, len(left)

    def trial(self, name, command, build, expect="refuse", mention=(), timeout=120, check=None, user=None,
        leftovers=True,
              kill=None, heavy=HEAVY_BYTES, remedy=True):
        """build(case) makes the inputs and returns the command line without its first word."""
        if self.arguments.only and not re.search(self.arguments.only, f"{command}:{name}"):
            return None
        self.number += 1
        if user and (os.geteuid() or not shutil.which("setpriv")):
            print(f"[skip] {self.number:3d} {command:28s} {name}: needs root", flush=True)
            return None
        root = self.base / f"{self.number:03d}_{command}_{re.sub(r'[^A-Za-z0-9]+', '_', name)[:40]}"
        shutil.rmtree(root, ignore_errors=True)
        case = Case(root)
        try:
            line = [f"nnunet_weak_{command}", *build(case)]
        except Exception as error:
            print(f"[ERR ] {self.number:3d} {command:28s} {name}: the trial itself failed: {error!r}", flush=True)
            self.results.append((command, name, ["TRIAL"], ""))
            return None
        before = snapshot(case)
        dry = None
        if command.startswith("convert_") and not kill and heavy == HEAVY_BYTES and timeout == 120:
            dry, dry_text, *_ = self.execute(case, [*line, "--dry-run"], timeout, user)
        code, text, seconds, peak, hang, left = self.execute(case, line, timeout, user, kill)
        after = snapshot(case)
        new = sorted(set(after) - set(before))
        changed = sorted(path for path in before if after.get(path) != before[path])
        flags = []
        shown = text.replace("\r", "\n")
        traceback = "Traceback (most recent call last)" in shown
        if dry is not None and (dry == 0) != (code == 0) and not hang:
            flags.append(f"DRY-RUN says {dry}, the run says {code}")
        if code == 1:
            flags.append("FAULT")
        if hang:
            flags.append(f"HANG>{timeout}s")
        if peak > heavy:
            flags.append(f"MEMORY {peak / 2**30:.1f}GB")
        if traceback:
            flags.append("TRACEBACK")
        if left:
            flags.append(f"{left} PROCESSES LEFT")
        if not hang and code < 0 and not kill:
            flags.append(f"SIGNAL {-code}")
        if not kill and not hang and not traceback:
            if expect == "refuse" and code == 0:
                flags.append("ACCEPTED")
            elif expect == "accept" and code != 0:
                flags.append("REFUSED")
            elif code != 0:
                missing = [word for word in mention if not re.search(word, shown, re.I)]
                if missing:
                    flags.append(f"UNCLEAR (does not say {', '.join(missing)})")
                if remedy and not REMEDY.search(shown) and not re.search("no such (file|folder)|exists|is not FIELD",
                    shown):
                    flags.append("NO-REMEDY")
        if leftovers and (code != 0 or expect == "refuse") and (new or changed):
            flags.append("LEFTOVER " + ", ".join([*new, *changed][:3]) + (" ..." if len(new + changed) > 3 else ""))
        if command == "fuse" and "case ../../../x" in name and code == 1 and "are the same file" in shown:
            flags.append("SECURITY a case's name climbs out of the new data set")
        if check:
            try:
                said = check(case, code, shown)
            except Exception as error:
                said = f"WRONG check failed: {error!r}"
            if said:
                flags.append(said)
        verdict = "PASS" if not flags else "FAIL"
        last = next((part.strip() for part in reversed(shown.splitlines()) if part.strip()), "")
        problem = next((part.strip() for part in shown.splitlines() if part.strip().startswith("- ")), last)
        print(f"[{verdict}] {self.number:3d} {command:18s} {name:42s} rc={code:<4d} {seconds:5.1f}s "
              f"{peak / 2**20:6.0f}MB  {'; '.join(flags) if flags else ''}"
              f"{'  | ' + problem[:150] if self.arguments.messages else ''}", flush=True)
        if self.arguments.verbose:
            print("    $", " ".join(map(shell_quoted, line)))
            print("    " + "\n    ".join(part for part in shown.splitlines() if "case/s" not in part
                and part.strip()))
        self.results.append((command, name, flags, " ".join(map(shell_quoted, line))))
        if not self.arguments.keep:
            for path in root.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    os.chmod(path, 0o755)
            shutil.rmtree(root, ignore_errors=True)
        return case


def half_done(case):
    """Whether a converter is in the middle of writing."""
    return any(len(list(folder.glob("imagesTr/*"))) > 6 for folder in case.raw.glob(".*partial*"))


def session_members(session):
    found = []
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == session and stat[0] != "Z":
                    found.append((int(entry), int(stat[21]) * page))
            except (OSError, ValueError, IndexError):
                pass
    return found


def snapshot(case):
    """Everything below the places a command may write to, with size and time of change."""
    found = {}
    for folder in (case.raw, case.pp, case.res, case.tmp, case.out, case.inputs):
        for top, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith("torchinductor_")]  # torch's own
            for name in [*folders, *files]:
                path = Path(top, name)
                try:
                    stat = path.lstat()
                except OSError:
                    continue
                found[str(path.relative_to(case.root))] = (
                    (stat.st_size, stat.st_mtime_ns) if not path.is_dir() else None)
    for path in case.root.iterdir():
        if path.name != "log.txt":
            found.setdefault(path.name, None)
    return found


def shell_quoted(text):
    import shlex

    return shlex.quote(str(text))


# ---------------------------------------------------------------------------------------------- the trials
def scores_line(case, *more, images=None, masks=None, scores=None, regions=("hip=1",), number="511", name="T",
                prior="none", np_="1"):
    line = ["--images", images or case.inputs / "images", "--masks", masks or case.inputs / "masks", "--scores",
            scores or case.inputs / "scores.csv", "-d", number, "-n", name, "--prior", prior, "-np", np_]
    return [*line, *more, *(["--regions", *regions] if regions else [])]


def score_trials(world):
    def on(title, change=None, *more, expect="refuse", mention=(), **options):
        trial = {key: options.pop(key) for key in ("timeout", "check", "user", "leftovers", "heavy", "remedy")
            if key in options}

        def build(case):
            case.copy("images", "masks", "labels")
            given = change(case) if change else None
            given = given if isinstance(given, dict) else {}
            return scores_line(case, *more, *given.pop("more", ()), **{**options, **given})

        world.trial(title, "convert_scores", build, expect, mention, **trial)

    def image(case, number=1):
        return case.inputs / "images" / f"c{number}.nii.gz"

    def mask(case, number=1):
        return case.inputs / "masks" / f"c{number}.nii.gz"

    on("baseline", expect="accept")
    on("baseline local prior", prior="local", expect="accept")
    # grids
    on("mask: other size", lambda c: rewrite(mask(c), lambda a: a[1:]), mention=["c1", "size"])
    on("mask: shifted by half a voxel", lambda c: rewrite(mask(c), lambda a: a, lambda i: i.SetOrigin(
        [x + .5 for x in i.GetOrigin()])), mention=["c1", "away"])
    on("mask: flipped direction", lambda c: rewrite(mask(c), lambda a: a, lambda i: i.SetDirection(
        [-x for x in i.GetDirection()])), mention=["c1", "direction|away"])
    on("mask: other spacing", lambda c: rewrite(mask(c), lambda a: a, lambda i: i.SetSpacing((1, 1, 1.01))),
       mention=["c1", "spacing"])
    def odd_grid(c, **options):
        size = sitk.ReadImage(str(image(c))).GetSize()
        nifti(image(c), np.ones(size, "i2"), size, "i2", **options)

    on("image: zero spacing in header", lambda c: odd_grid(c, spacing=(0, 0, 0), forms=(0, 0)), mention=["c1"])
    on("image: negative spacing in header", lambda c: odd_grid(c, spacing=(-1, 1, 1), forms=(0, 0)), mention=["c1"])
    on("image: spacing NaN", lambda c: odd_grid(c, spacing=(float("nan"), 1, 1), forms=(0, 0)), mention=["c1"])
    on("image: sheared affine", lambda c: odd_grid(c, affine=[[1, .5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        forms=(0, 1)), mention=["c1"])
    on("image: NaN affine", lambda c: odd_grid(c, affine=[[float("nan"), 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        forms=(0, 1)), mention=["c1"])
    # voxels
    on("image: NaN", lambda c: rewrite(image(c), lambda a: np.where(a == a.max(), np.nan, a).astype("f4")),
       mention=["c1", "NaN"])
    on("image: infinite", lambda c: rewrite(image(c), lambda a: np.where(a == a.max(), np.inf, a).astype("f4")),
       mention=["c1", "infinite"])
    on("image: 4D", lambda c: nifti(image(c), np.zeros((20, 20, 20, 2), "i2"), (20, 20, 20, 2), "i2") and None,
       mention=["c1", "4D"])
    on("image: 5D", lambda c: nifti(image(c), np.zeros((9, 9, 9, 1, 3), "i2"), (9, 9, 9, 1, 3), "i2") and None,
       mention=["c1"])
    on("image: 2D", lambda c: nifti(image(c), np.zeros((20, 20), "i2"), (20, 20), "i2") and None, mention=["c1"])
    on("image: RGB", lambda c: nifti(image(c), np.zeros((20, 20, 20, 3), "u1"), (20, 20, 20), "rgb") and None,
       mention=["c1", "values per voxel|RGB"])
    on("image: complex", lambda c: nifti(image(c), np.zeros((20, 20, 20), "c8"), (20, 20, 20), "c8") and None,
       mention=["c1"])
    for kind in ("otsu", "posterior", "local", "gradient"):
        on(f"image: constant, {kind} prior", lambda c: rewrite(image(c), np.zeros_like), prior=kind, expect="sane",
            mention=["c1"],
           check=lambda c, code, text: None if code or re.search("one intensity|constant|blank", text)
            else "UNCLEAR (a blank image is accepted and not told)")
    on("image: one voxel", lambda c: [rewrite(f, lambda a: a[:1, :1, :1]) for f in (image(c), mask(c))] and None,
       prior="posterior", expect="sane")
    on("image: one slice", lambda c: [rewrite(f, lambda a: a[15:16]) for f in (image(c), mask(c))] and None,
       prior="local", expect="sane")
    on("image: 1e30 values", lambda c: rewrite(image(c), lambda a: (a * 1e30).astype("f4")), prior="local",
       expect="sane")
    on("mask: floats 0.5", lambda c: rewrite(mask(c), lambda a: a.astype("f4") * .5), mention=["c1", "0.5"])
    on("mask: floats 1.0", lambda c: rewrite(mask(c), lambda a: a.astype("f4")), expect="accept")
    on("mask: empty", lambda c: rewrite(mask(c), np.zeros_like), expect="accept",
       check=lambda c, code, text: None if re.search("c1", text.split("Checking")[-1].split("case  hip")[-1]) and
       re.search("empty", text, re.I) else "UNCLEAR (an empty mask is accepted and not told)")
    on("mask: all empty", lambda c: [rewrite(mask(c, i), np.zeros_like) for i in range(3)] and None, expect="sane",
       check=lambda c, code, text: None if re.search("empty", text, re.I) else "UNCLEAR (empty masks not told)")
    on("mask: negative", lambda c: rewrite(mask(c), lambda a: -a.astype("i2")), mention=["c1", "-1"])
    on("mask: value 2e9", lambda c: rewrite(mask(c), lambda a: a.astype("i4") * 2000000000),
        mention=["c1", "2000000000"])
    on("mask: unknown value", lambda c: rewrite(mask(c), lambda a: a * 7), mention=["c1", "7"])
    on("mask: 4D one-hot", lambda c: nifti(mask(c), np.zeros((35, 51, 35, 3), "u1"), (35, 51, 35, 3)) and None,
       mention=["c1", "4D"])
    # files
    on("image: truncated gz", lambda c: image(c).write_bytes(image(c).read_bytes()[:9000]) and None,
       mention=["c1", "truncated|unreadable"])
    on("mask: truncated gz", lambda c: mask(c).write_bytes(mask(c).read_bytes()[:400]) and None,
       mention=["c1", "truncated|unreadable"])
    on("image: flipped byte in gz", lambda c: image(c).write_bytes(
        image(c).read_bytes()[:6000] + b"\x00\xff" + image(c).read_bytes()[6002:]) and None, mention=["c1"])
    on("image: zero bytes", lambda c: image(c).write_bytes(b"") and None, mention=["c1"])
    on("mask: zero bytes", lambda c: mask(c).write_bytes(b"") and None, mention=["c1"])
    on("image: text named .nii.gz", lambda c: image(c).write_text("hello") and None, mention=["c1"])
    on("image: plain NIfTI named .nii.gz", lambda c: image(c).write_bytes(gzip.decompress(image(c).read_bytes()))
        and None,
       expect="sane", mention=["c1"])
    on("image: a folder of that name", lambda c: (image(c).unlink(), image(c).mkdir()) and None, mention=["c1"])
    on("image: symlink loop", lambda c: (image(c).unlink(), image(c).symlink_to(image(c).name)) and None,
        mention=["c1"])
    on("image: dangling symlink", lambda c: (image(c).unlink(), image(c).symlink_to("nowhere")) and None,
        mention=["c1"])
    on("images: symlink loop of folders", lambda c: (c.inputs / "images/loop").symlink_to(".") or None, expect="sane")
    on("image: named pipe", lambda c: (image(c).unlink(), os.mkfifo(image(c))) and None, mention=["c1"], timeout=30)
    on("image: not readable", lambda c: os.chmod(image(c), 0) or None, mention=["c1", "permission|unreadable"],
       user=True, leftovers=False)
    on("image: header of 30000^3 voxels", lambda c: nifti(image(c), b"\0" * 99, (30000, 30000, 30000), "i2") and None,
       mention=["c1"])
    on("mask: header of 30000^3 voxels", lambda c: nifti(mask(c), b"\0" * 99, (30000, 30000, 30000), "u1") and None,
       mention=["c1"])
    on("image: plain file, header 2000x2000x1000", lambda c: (image(c).unlink(), nifti(
        c.inputs / "images/c1.nii", b"\0" * 99, (2000, 2000, 1000), "u1")) and None, mention=["c1"], heavy=1 << 30)
    on("mask: gz of 1.5 GB zeros, 1.5 MB on disk", lambda c: bomb_nifti(mask(c)), mention=["c1"], heavy=1 << 30)
    on("mask: negative dimension", lambda c: nifti(mask(c), b"\0" * 99, (-5, 5, 5), "u1") and None, mention=["c1"])
    on("mhd pointing to /etc/passwd", lambda c: (mask(c).unlink(), (c.inputs / "masks/c1.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\n"
        "ElementDataFile = /etc/passwd\n"))
       and None, mention=["c1"])
    # folders and names
    on("images: no such folder", images="nowhere", mention=["nowhere"])
    on("images: empty folder", lambda c: [f.unlink() for f in (c.inputs / "images").iterdir()] and None,
        mention=["images"])
    on("images: a file", images="in/scores.csv", mention=["scores.csv"])
    on("images: case differs in letters only", lambda c: shutil.copy(image(c), c.inputs / "images/C1.nii.gz")
        and None,
       mention=["C1"])
    on("images: .nii.gz beside .nii", lambda c: (c.inputs / "images/c1.nii").write_bytes(gzip.decompress(
        image(c).read_bytes())) and None, mention=["c1", "twice"])
    on("macOS and Windows litter", lambda c: [(c.inputs / k / n).write_bytes(b"\0\5\x16\7" * 9)
        for k in ("images", "masks")
                                             for n in ("._c1.nii.gz", ".DS_Store", "Thumbs.db", "desktop.ini")]
        and None,
       expect="accept")
    on("blank and umlaut in folder", lambda c: ((c.inputs / "images").rename(c.inputs / "Bilder für é"), {
        "images": c.inputs / "Bilder für é"})[1], expect="accept")
    on("case named -rf", lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / "-rf.nii.gz")
        for k in ("images", "masks")]
       and c.scores("case,region,quality,error\nc0,hip,3,under\n-rf,hip,3,under\nc2,hip,3,under\n") and None,
        expect="sane")
    on("case with new line", lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / "c\n1.nii.gz")
        for k in ("images", "masks")]
       and c.scores('case,region,quality,error\nc0,hip,3,under\n"c\n1",hip,3,under\nc2,hip,3,under\n') and None,
        expect="sane")
    on("case with a quote and a comma", lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / 'c,"1.nii.gz')
        for k in ("images", "masks")]
       and c.scores('case,region,quality,error\nc0,hip,3,under\n"c,""1",hip,3,under\nc2,hip,3,under\n') and None,
        expect="sane")
    on("case name not UTF-8", lambda c: [os.rename(os.fsencode(c.inputs / k / "c1.nii.gz"),
        os.fsencode(c.inputs / k) + b"/c\xff1.nii.gz")
                                        for k in ("images", "masks")] and None, mention=["c"])
    on("case name of 240 letters",
        lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / f"{'x' * 240}.nii.gz")
        for k in ("images", "masks")]
       and c.scores(f"case,region,quality,error\nc0,hip,3,under\n{'x' * 240},hip,3,under\nc2,hip,3,under\n") and None,
       expect="sane", mention=["xxx"])
    on("mask missing", lambda c: mask(c).unlink(), mention=["c1", "mask"])
    # data set, environment
    on("nnUNet_raw not set", lambda c: c.env.update(nnUNet_raw=None), mention=["nnUNet_raw"])
    on("nnUNet_raw does not exist", lambda c: c.env.update(nnUNet_raw=c.root / "no/where"), expect="sane",
       check=lambda c, code, text: None if code or "no/where" in text else "UNCLEAR")
    on("nnUNet_raw is a file", lambda c: c.env.update(nnUNet_raw=c.inputs / "scores.csv"), mention=["scores.csv"])
    on("nnUNet_raw read-only", lambda c: os.chmod(c.raw, 0o555), mention=["raw", "permission"], user=True)
    on("number taken in raw", lambda c: (c.raw / "Dataset511_Other").mkdir(), mention=["511", "Dataset511_Other"])
    on("number taken in preprocessed", lambda c: (c.pp / "Dataset511_Other").mkdir(),
        mention=["511", "Dataset511_Other"])
    on("data set exists", lambda c: (c.raw / "Dataset511_T").mkdir(), mention=["exists"])
    on("number 0", number="0", mention=["0"])
    on("number 1000", number="1000", mention=["1000"])
    on("number abc", number="abc", mention=["abc"])
    on("name ../../x", name="../../x", mention=[r"\.\./"])
    on("name empty", name="", mention=["name"])
    on("name with blank", name="my hip", mention=["my hip"])
    on("overwrite, then a bad mask: the old one stays", lambda c: ((c.raw / "Dataset511_T").mkdir(), (
        c.raw / "Dataset511_T/dataset.json").write_text("old"), mask(c).write_bytes(b"")) and None, "--overwrite",
       mention=["c1"])
    on("overwrite a data set that this package did not make",
        lambda c: ((c.raw / "Dataset511_T/labelsTr").mkdir(parents=True), (
        c.raw / "Dataset511_T/labelsTr/gold.nii.gz").write_text("gold")) and None, "--overwrite", mention=["511"],
       check=lambda c, code, text: None if (c.raw / "Dataset511_T/labelsTr/gold.nii.gz").exists()
        else "WRONG another program's data set was deleted")
    on("np 0", np_="0", mention=["np|processes"])
    on("np -3", np_="-3", mention=["np|processes"])
    on("np 500, three cases", np_="500", expect="accept")
    on("ending .jpg", None, "--file-ending", ".jpg", mention=["jpg"])
    # regions and options
    on("regions: same name twice", regions=("hip=1", "hip=2"), mention=["hip"])
    on("regions: same label twice", regions=("hip=1", "hop=1"), mention=["hop|hip"])
    on("regions: label 0", regions=("hip=0",), mention=["0"])
    on("regions: range of 10^10 labels", regions=("hip=1-9999999999",), mention=["9999999999"], timeout=60)
    on("regions: background", regions=("background=1",), mention=["background"])
    on("regions: ../x", regions=("../x=1",), mention=[r"\.\./x"])
    on("regions: empty name", regions=("=1",), mention=["=1"])
    on("regions: formula", regions=("=cmd|calc=1",), mention=["cmd"])
    on("regions: pattern out of the folder", lambda c: [(mask(c, i).unlink(), (c.inputs / f"masks/c{i}").mkdir(),
       shutil.copy(c.inputs / f"labels/c{i}.nii.gz", c.inputs / f"masks/c{i}/a.nii.gz")) for i in range(3)] and None,
       regions=("hip=../../labels/*",), mention=["a.nii.gz"])
    on("prior unknown", prior="magic", mention=["magic"])
    on("prior file missing", None, "--prior-folder", "nowhere", prior="file", mention=["nowhere"])
    on("prior file out of [0, 1]", lambda c: {"prior": "file", "more": ("--prior-folder", c.inputs / "images")},
        mention=["c0|c1|c2"])
    on("prior option unknown", None, "--prior-options", "magic=3", prior="local", mention=["magic"])
    on("prior option NaN", None, "--prior-options", "shell_mm=nan", prior="local", mention=["shell_mm"])
    on("prior option negative", None, "--prior-options", "shell_mm=-4", prior="local", mention=["shell_mm"])
    on("prior option huge", None, "--prior-options", "shell_mm=1e9", prior="local", expect="sane", timeout=60)
    on("channel names: too many", None, "--channel-names", "CT", "MRI", mention=["channel"])
    on("scale 5:5", None, "--scale", "5:5", mention=["5:5|scale"])
    on("scale rubbish", None, "--scale", "good:bad", mention=["good:bad|scale"])
    on("columns rubbish", None, "--columns", "x", mention=["columns|x"])
    on("patients: case missing", lambda c: {"more": ("--patients", c.scores("case,patient\nc0,p\n", "p.csv"))},
       mention=["c1", "p.csv|patients"])
    on("patients: wrong header", lambda c: {"more": ("--patients", c.scores("a;b\nc0;p\n", "p.csv"))},
        mention=["p.csv"])
    on("patients: two patients of one case", lambda c: {"more": ("--patients", c.scores(
        "case,patient\nc0,p\nc0,q\nc1,q\nc2,q\n", "p.csv"))}, mention=["c0"])
    on("references: other grid", lambda c: (rewrite(c.inputs / "labels/c1.nii.gz", lambda a: a[1:]), {
        "more": ("--references", c.inputs / "labels"), "regions": ("hip=1,2",)})[1], mention=["c1", "size"])
    on("references: unknown case", lambda c: ((c.inputs / "labels/c1.nii.gz").rename(c.inputs / "labels/zz.nii.gz"), {
        "more": ("--references", c.inputs / "labels"), "regions": ("hip=1,2",)})[1], mention=["zz"])
    # tables
    head = "case,region,quality,error\n"
    rest = "c0,hip,3,under\nc2,hip,3,under\n"

    def table(name, rows, expect="refuse", mention=(), file="scores.csv", **options):
        on("table: " + name, lambda c: {"scores": c.scores(rows, file)}, expect=expect, mention=mention, **options)

    def quality_is(value, case="c1"):
        def check(c, code, text):
            block = json.loads((c.raw / "Dataset511_T/dataset.json").read_text())["nnunet_weak"]["cases"]
            got = block.get(case, {}).get("scores", {}).get("hip", {}).get("quality")
            return None if got == value else f"WRONG quality {got} instead of {value}"
        return check

    table("quality 4/5", head + rest + "c1,hip,4/5,under\n", "accept", check=quality_is(4))
    table("quality '4,5'", head + rest + 'c1,hip,"4,5",under\n', "accept", check=quality_is(4.5))
    table("quality -1", head + rest + "c1,hip,-1,under\n", mention=["row 4", "-1"])
    table("quality 6", head + rest + "c1,hip,6,under\n", mention=["row 4", "6"])
    table("quality 1e400", head + rest + "c1,hip,1e400,under\n", mention=["row 4"])
    table("quality inf", head + rest + "c1,hip,inf,under\n", mention=["row 4", "inf"])
    table("quality 4/10", head + rest + "c1,hip,4/10,under\n", mention=["row 4", "4/10"])
    table("quality 04.05.2025", head + rest + "c1,hip,04.05.2025,under\n", mention=["row 4"])
    table("quality in other digits", head + rest + "c1,hip,٣,under\n", "sane", mention=["row 4"])
    table("quality 1_0", head + rest + "c1,hip,1_0,under\n", mention=["row 4"])
    table("quality blank, error given", head + rest + "c1,hip,,under\n", mention=["row 4"])
    table("both blank in all of a case", head + rest + "c1,hip,,\n", mention=["c1"])
    table("quality 5, error under", head + rest + "c1,hip,5,under\n", mention=["row 4"])
    table("quality 2, error none", head + rest + "c1,hip,2,none\n", mention=["row 4"])
    table("error word unknown", head + rest + "c1,hip,2,blurry\n", mention=["row 4", "blurry"])
    table("error 3", head + rest + "c1,hip,2,3\n", mention=["row 4"])
    table("row twice, same", head + rest + "c1,hip,3,under\nc1,hip,3,under\n", mention=["row 4|row 5"])
    table("row twice, conflict", head + rest + "c1,hip,3,under\nc1,hip,1,over\n", mention=["row 4|row 5"])
    table("case twice by spelling", head + rest + "c1,hip,3,under\nC1,hip,1,over\n", mention=["row 4|row 5"])
    table("unknown region beside a known one", head + rest + "c1,hip,3,under\nc1,hiip,3,under\n", mention=["hiip"])
    table("unknown regions only", head + "c0,x,3,under\nc1,x,3,under\nc2,x,3,under\n", mention=["x"])
    table("a region without any score", head + rest + "c1,hip,3,under\n", regions=("hip=1", "other=2"), expect="sane")
    table("unknown case", head + rest + "c1,hip,3,under\nc9,hip,3,under\n", mention=["c9"])
    table("case ../../x", head + rest + "c1,hip,3,under\n../../x,hip,3,under\n", mention=[r"\.\./"])
    table("header only", head, mention=["scores.csv"])
    table("empty", "", mention=["scores.csv", "empty"])
    table("blanks only", " \n\n \n", mention=["scores.csv", "empty"])
    table("picture named .csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, mention=["scores.csv"])
    table("NUL bytes", (head + rest + "c1,hip,3,under\n").replace("c1", "c\0001"), mention=["scores.csv"])
    table("UTF-16 with BOM", (head + rest + "c1,hip,3,under\n").encode("utf-16"), "accept")
    table("BOM, CRLF, semicolons", b"\xef\xbb\xbf" + (head + rest + "c1,hip,3,under\n").replace(",", ";").replace(
        "\n", "\r\n").encode(), "accept")
    table("old Mac line ends", (head + rest + "c1,hip,3,under\n").replace("\n", "\r"), "accept")
    table("quote never closed", head + rest + 'c1,hip,"3,under\n' + "x" * 300000, mention=["scores.csv|row"])
    table("two quality columns", "case,region,quality,quality,error\n" + "c1,hip,3,4,under\n", mention=["quality"])
    table("more cells than header", head + rest + "c1,hip,3,under,9,9,9\n", expect="sane")
    table("fewer cells than header", head + rest + "c1,hip\n", mention=["c1|row 4"])
    on("table: 1,000,000 rows", lambda c: {"scores": c.scores(head + rest + "c1,hip,3,under\n" + "".join(
        f"u{i},hip,3,under\n" for i in range(1000000)))}, mention=["scores.csv"], timeout=120, heavy=2 << 30,
       check=lambda c, code, text: f"UNCLEAR (a message of {text.count(chr(10))} lines)" if text.count("\n") > 5000
        else None)
    on("table: 20,000 rows of other cases, --allow-missing",
        lambda c: {"scores": c.scores(head + rest + "c1,hip,3,under\n" + "".join(
        f"patient{i:05d},hip,3,under\n" for i in range(20000)))}, "--allow-missing", expect="accept", timeout=120,
        heavy=2 << 30,
       check=lambda c, code, text: f"UNCLEAR (a message of {text.count(chr(10))} lines)" if text.count("\n") > 5000
        else None)
    on("table: a folder", lambda c: {"scores": c.inputs / "images"}, mention=["images"])
    on("table: no such file", lambda c: {"scores": c.inputs / "no.csv"}, mention=["no.csv"])
    on("table: .xls", lambda c: {"scores": c.scores(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(900), "s.xls")},
        mention=["s.xls"])
    on("table: .ods", lambda c: {"scores": c.scores(b"PK\3\4" + bytes(900), "s.ods")}, mention=["s.ods"])

    rows = [["case", "region", "quality", "error"], *[[f"c{i}", "hip", 3, "under"] for i in range(3)]]

    def book(name, sheets, expect="refuse", mention=(), merges=(), **options):
        def change(c):
            xlsx(c.inputs / "s.xlsx", sheets, merges)
            return {"scores": c.inputs / "s.xlsx"}
        on("xlsx: " + name, change, expect=expect, mention=mention, **options)

    book("plain", {"A": rows}, "accept")
    book("two sheets with scores", {"A": rows, "B": rows}, mention=["sheet"])
    on("xlsx: --sheet that does not exist", lambda c: (xlsx(c.inputs / "s.xlsx", {"A": rows}),
        {"scores": c.inputs / "s.xlsx"})[1],
       "--sheet", "Q", mention=["Q"])
    book("case merged downwards", {"A": [rows[0], ["c0", "hip", 3, "under"], [None, "hop", 3, "under"],
        ["c1", "hip", 3, "under"],
         [None, "hop", 3, "under"], ["c2", "hip", 3, "under"], [None, "hop", 3, "under"]]}, "accept",
        merges=("A2:A3", "A4:A5", "A6:A7"),
         regions=("hip=1", "hop=2"))
    book("formula never calculated", {"A": [*rows[:3], ["c2", "hip", "=1+2", "under"]]},
        mention=["formula|row 4|D4|C4"])
    book("date for 4/5", {"A": [*rows[:3], ["c2", "hip", __import__("datetime").datetime(2025, 5, 4), "under"]]},
        mention=["row 4|date"])
    book("empty", {"A": []}, mention=["s.xlsx"])
    on("xlsx: with a password",
        lambda c: {"scores": c.scores(
        bytes.fromhex("d0cf11e0a1b11ae1") + b"E\0n\0c\0r\0y\0p\0t\0e\0d\0" + bytes(4000), "s.xlsx")},
       mention=["s.xlsx", "password|protected|encrypt"])
    on("xlsx: truncated", lambda c: (xlsx(c.inputs / "s.xlsx", {"A": rows}), (c.inputs / "s.xlsx").write_bytes(
        (c.inputs / "s.xlsx").read_bytes()[:1500]), {"scores": c.inputs / "s.xlsx"})[2], mention=["s.xlsx"])
    on("xlsx: zip without a workbook", lambda c: (zipfile.ZipFile(c.inputs / "s.xlsx", "w").writestr("x", "y"),
        {"scores": c.inputs / "s.xlsx"})[1],
       mention=["s.xlsx"])
    on("xlsx: zip bomb (1 GB sheet)", lambda c: bomb_xlsx(c, rows, b" " * (1 << 20), 1000), mention=["s.xlsx"],
        expect="sane",
       heavy=1 << 30, timeout=150)
    on("xlsx: billion laughs", lambda c: laughing_xlsx(c, rows), mention=["s.xlsx"], timeout=60)
    for cell in ("D1048576", "XFD1", "XFD20000", "XFD1048576"):
        on(f"xlsx: one more cell at {cell}", lambda c, cell=cell: far_xlsx(c, rows, cell), expect="sane", timeout=60,
            heavy=1 << 30)
    # JSON
    def js(name, content, expect="refuse", mention=("s.json",), **options):
        on("json: " + name, lambda c: {"scores": c.scores(content, "s.json")}, expect=expect, mention=mention,
            **options)

    js("nested", json.dumps({f"c{i}": {"hip": [3, "under"]} for i in range(3)}), "accept")
    js("not JSON", "{]")
    js("a number", "3")
    js("100000 brackets", "[" * 100000)
    js("NaN", json.dumps([{"case": f"c{i}", "region": "hip", "quality": float("nan"), "error": "under"}
        for i in range(3)]))
    js("a list for quality", json.dumps([{"case": f"c{i}", "region": "hip", "quality": [3], "error": "under"}
        for i in range(3)]))
    js("an object for case", json.dumps([{"case": {"a": 1}, "region": "hip", "quality": 3, "error": "under"}]))
    js("null for case", json.dumps([{"case": None, "region": "hip", "quality": 3, "error": "under"}]))
    js("key twice", '{"c0":{"hip":[3,"under"]},'
       '"c1":{"hip":[3,"under"]},"c2":{"hip":[3,"under"]},"c0":{"hip":[1,"over"]}}', mention=["c0"])
    js("number of 5000 digits", '[{"case":"c0","region":"hip","quality":' + "9" * 5000 + ',"error":"under"}]')
    js("lone surrogate", '[{"case":"\\ud800","region":"hip","quality":3,"error":"under"}]')


def bomb_nifti(path):
    nifti(path, b"", (1200, 1200, 1040), "u1", compress=False)
    head = path.read_bytes()
    path.write_bytes(gzip_zeros(head, 1200 * 1200 * 1040))


def bomb_xlsx(case, rows, block, times):
    plain = case.inputs / "plain.xlsx"
    xlsx(plain, {"A": rows})
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(case.inputs / "s.xlsx", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            content = old.read(entry)
            if "sheet1" in entry:
                cut = content.index(b"<sheetData")
                with new.open(entry, "w") as file:
                    file.write(content[:cut])
                    for _ in range(times):
                        file.write(block)
                    file.write(content[cut:])
            else:
                new.writestr(entry, content)
    return {"scores": case.inputs / "s.xlsx"}


def laughing_xlsx(case, rows):
    plain = case.inputs / "plain.xlsx"
    xlsx(plain, {"A": rows})
    laughs = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + b"".join(
        b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10)) + b"]>"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(case.inputs / "s.xlsx", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            content = old.read(entry)
            if "sheet1" in entry:
                content = laughs + content.replace(b"<sheetData>",
                    b"<sheetData><row r=\"9\"><c r=\"A9\" t=\"inlineStr\"><is><t>&a9;</t></is></c></row>")
            new.writestr(entry, content)
    return {"scores": case.inputs / "s.xlsx"}


def far_xlsx(case, rows, cell):
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.active[cell] = " "
    book.save(case.inputs / "s.xlsx")
    return {"scores": case.inputs / "s.xlsx"}


def drawing_trials(world):
    def on(name, change=None, *more, expect="refuse", mention=(), labels=("background=0", "ant=1", "post=2"),
        blank="4",
           positive=None, **options):
        trial = {key: options.pop(key) for key in ("timeout", "check", "user", "leftovers", "heavy")
            if key in options}

        def build(case):
            case.copy("images", "labels", "drawings")
            given = change(case) if change else None
            given = given if isinstance(given, dict) else {}
            line = ["--images", case.inputs / "images", "-d", "521", "-n", "T", "--blank", given.get("blank", blank),
                "-np", "1"]
            for entry in given.get("positive", positive) or [f"anna={case.inputs / 'drawings'}"]:
                line += ["--positive", entry]
            return [*line, *more, *given.get("more", ()), "--labels", *given.get("labels", labels)]

        world.trial(name, "convert_drawings", build, expect, mention, **trial)

    def drawing(case, number=1):
        return case.inputs / "drawings" / f"c{number}.nii.gz"

    def slicer(case, **options):
        for number in range(3):
            like = sitk.ReadImage(str(drawing(case, number)))
            array = sitk.GetArrayFromImage(like)
            array = np.select([array == 0, array == 1, array == 2], [3, 1, 2], 0).astype("u1")
            drawing(case, number).unlink()
            seg_nrrd(case.inputs / f"drawings/c{number}.seg.nrrd", array, like,
                [("ant", 1), ("post", 2), ("rest", 3)],
                     **(options if number == 1 else {}))
        return {"blank": "0", "labels": ("background=rest", "ant", "post")}

    on("baseline", expect="accept")
    on("baseline random walker", None, "--random-walker", expect="accept")
    on("baseline .seg.nrrd", slicer, expect="accept")
    on("value that no label names", lambda c: rewrite(drawing(c), lambda a: np.where(a == 2, 9, a)),
        mention=["c1", "9"])
    on("blank is a label's value", blank="1", mention=["1"])
    on("blank not a number", blank="nothing", mention=["nothing"])
    on("blank in no drawing", blank="7", mention=["4"])
    on("two labels with one value", labels=("background=0", "ant=1", "post=1"), mention=["1"])
    on("only background", labels=("background=0",), mention=["label|target"])
    on("all blank", lambda c: [rewrite(drawing(c, i), lambda a: a * 0 + 4) for i in range(3)] and None,
        mention=["c0|c1|drawn|blank"])
    on("one drawing all blank", lambda c: rewrite(drawing(c), lambda a: a * 0 + 4), expect="sane",
       check=lambda c, code, text: None if "c1" in text
        else "UNCLEAR (an all blank drawing is accepted and not told)")
    on("float drawing 0.5", lambda c: rewrite(drawing(c), lambda a: a * .5), mention=["c1"])
    on("NaN drawing", lambda c: rewrite(drawing(c), lambda a: np.where(a == 1, np.nan, a).astype("f4")),
        mention=["c1", "NaN"])
    on("other grid", lambda c: rewrite(drawing(c), lambda a: a[:, 1:]), mention=["c1", "size"])
    on("4D one-hot drawing", lambda c: nifti(drawing(c), np.zeros((35, 51, 35, 3), "u1"), (35, 51, 35, 3)) and None,
        mention=["c1", "4D"])
    on("truncated", lambda c: drawing(c).write_bytes(drawing(c).read_bytes()[:300]) and None, mention=["c1"])
    on("zero bytes", lambda c: drawing(c).write_bytes(b"") and None, mention=["c1"])
    on("annotator named ../../x", lambda c: {"positive": [f"../../x={c.inputs / 'drawings'}"]}, mention=[r"\.\./"])
    on("annotator named <script>", lambda c: {"positive": [f"<script>={c.inputs / 'drawings'}"]}, mention=["script"])
    on("annotator named random_walker", lambda c: {"positive": [f"random_walker={c.inputs / 'drawings'}"]},
        "--random-walker", mention=["random_walker"])
    on("annotator twice", lambda c: {"positive": [f"a={c.inputs / 'drawings'}", f"a={c.inputs / 'drawings'}"]},
        mention=["a"])
    on("annotator a and A", lambda c: {"positive": [f"a={c.inputs / 'drawings'}", f"A={c.inputs / 'drawings'}"]},
        mention=["A"])
    on("a_not positive beside a negative", lambda c: {"positive": [f"a={c.inputs / 'drawings'}",
        f"a_not={c.inputs / 'drawings'}"],
                                                     "more": ("--negative", f"a={c.inputs / 'drawings'}")},
        mention=["a_not"])
    on("no such folder", positive=["anna=nowhere"], mention=["nowhere"])
    on("no folder at all", positive=["anna"], mention=["anna"])
    on("drawing without an image", lambda c: drawing(c).rename(c.inputs / "drawings/zz.nii.gz") and None,
        mention=["zz"])
    on("label descriptions: rubbish", lambda c: {"more": ("--label-descriptions", c.scores("hello\n1 2\n", "l.txt")),
        "labels": ("ant", "post")}, mention=["l.txt"])
    on("label descriptions: binary", lambda c: {"more": ("--label-descriptions",
        c.scores(bytes(range(256)), "l.txt")), "labels": ("ant", "post")}, mention=["l.txt"])
    on("references of another grid", lambda c: (rewrite(c.inputs / "labels/c1.nii.gz", lambda a: a[1:]),
        {"more": ("--references", c.inputs / "labels")})[1], mention=["c1"])
    on("seg.nrrd: unknown segment", lambda c: {**slicer(c), "labels": ("ant", "post")}, mention=["rest"])
    on("seg.nrrd: truncated", lambda c: (slicer(c),
        (c.inputs / "drawings/c1.seg.nrrd").write_bytes((c.inputs / "drawings/c1.seg.nrrd").read_bytes()[:-90]),
                                        {"blank": "0", "labels": ("background=rest", "ant", "post")})[2],
        mention=["c1"])
    on("seg.nrrd: gzip of 1.5 GB, 1.5 MB on disk", lambda c: slicer(c, sizes=(1200, 1200, 1040),
        body=gzip_zeros(b"", 1200 * 1200 * 1040)),
       mention=["c1"], heavy=1 << 30)
    on("seg.nrrd: sizes 30000^3", lambda c: slicer(c, sizes=(30000, 30000, 30000), body=b"\0"), mention=["c1"])
    on("seg.nrrd: data file /etc/passwd", lambda c: slicer(c, extra="data file: /etc/passwd\n"), mention=["c1"])
    on("seg.nrrd: LabelValue not a number", lambda c: (slicer(c), (c.inputs / "drawings/c1.seg.nrrd").write_bytes(
        (c.inputs / "drawings/c1.seg.nrrd").read_bytes().replace(b"LabelValue:=2", b"LabelValue:=x")),
        {"blank": "0", "labels": ("background=rest", "ant", "post")})[2], mention=["c1"])
    on("seg.nrrd: Layer 99", lambda c: (slicer(c), (c.inputs / "drawings/c1.seg.nrrd").write_bytes(
        (c.inputs / "drawings/c1.seg.nrrd").read_bytes().replace(b"Segment1_Layer:=0", b"Segment1_Layer:=99")),
        {"blank": "0", "labels": ("background=rest", "ant", "post")})[2], mention=["c1"])
    on("seg.nrrd: two segments of one name", lambda c: (slicer(c), (c.inputs / "drawings/c1.seg.nrrd").write_bytes(
        (c.inputs / "drawings/c1.seg.nrrd").read_bytes().replace(b"Name:=post", b"Name:=ant")),
        {"blank": "0", "labels": ("background=rest", "ant", "post")})[2], expect="sane", mention=["c1"])
    on("seg.nrrd: JSON of no segments", lambda c: (slicer(c), (c.inputs / "drawings/c1.seg.nrrd").write_bytes(re.sub(
        rb"Segment\d_\w+:=[^\n]*\n", b"", (c.inputs / "drawings/c1.seg.nrrd").read_bytes())),
        {"blank": "0", "labels": ("background=rest", "ant", "post")})[2], mention=["c1"])


def point_trials(world):
    def on(name, change=None, *more, expect="refuse", mention=(), classes=("hip",), **options):
        trial = {key: options.pop(key) for key in ("timeout", "check", "user", "leftovers", "heavy")
            if key in options}

        def build(case):
            case.copy("images", "labels", "points")
            given = change(case) if change else None
            given = given if isinstance(given, dict) else {}
            line = ["--images", case.inputs / "images", "--points", case.inputs / "points", "-d", "531", "-n", "T",
                "-np", "1"]
            return [*line, *more, *given.get("more", ()), "--classes", *given.get("classes", classes)]

        world.trial(name, "convert_points", build, expect, mention, **trial)

    def file(case):
        return case.inputs / "points/c1.mrk.json"

    def points(case):
        return [p["position"] for p in json.loads(file(case).read_text())["markups"][0]["controlPoints"]]

    def put(change, **more):
        return lambda c: file(c).write_text(mrk(change(points(c)), **more)) and None

    def other(name, content, options=None):
        def change(case):
            text = content(points(case))
            file(case).unlink()
            (case.inputs / "points" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
            return options
        return change

    def table(columns, line="{0},{1},{2}", rows=None):
        return lambda p: columns + "\n" + "".join(line.format(*q) + "\n" for q in (rows(p) if rows else p))

    on("baseline", expect="accept")
    on("RAS", put(lambda p: [[-x, -y, z] for x, y, z in p], system="RAS"), expect="accept")
    on("RAS points called LPS", put(lambda p: [[-x, -y, z] for x, y, z in p]), mention=["c1", "RAS"])
    on("3 points", put(lambda p: p[:3]), mention=["c1", "4|3 points|three"])
    on("no points", put(lambda p: []), mention=["c1"])
    on("4 points", put(lambda p: p[:4]), expect="sane", mention=["c1"])
    on("all identical", put(lambda p: [p[0]] * 20), mention=["c1"])
    on("coplanar", put(lambda p: [[x, y, p[0][2]] for x, y, z in p]), mention=["c1", "plane"])
    on("nearly coplanar", put(lambda p: [[x, y, p[0][2] + 1e-9 * i] for i, (x, y, z) in enumerate(p)]),
        mention=["c1"])
    on("collinear", put(lambda p: [[p[0][0], p[0][1], p[0][2] + .3 * i] for i in range(20)]), mention=["c1"])
    on("each point twice", put(lambda p: p + p), expect="sane", mention=["c1"])
    on("3000 points", put(lambda p: [[x + .01 * i % 1, y, z] for i in range(150) for x, y, z in p]), expect="sane",
        timeout=200, mention=["c1"])
    on("100000 points", put(lambda p: [[x + .0002 * i % 1, y + .0001 * i % 1, z] for i in range(5000) for x, y,
        z in p]), expect="sane",
       timeout=200, mention=["c1"], heavy=2 << 30)
    on("NaN", lambda c: file(c).write_text(file(c).read_text().replace(str(points(c)[2][0]), "NaN", 1)) and None,
        mention=["c1"])
    on("infinite", lambda c: file(c).write_text(file(c).read_text().replace(str(points(c)[2][0]), "Infinity", 1))
        and None, mention=["c1"])
    on("1e300", put(lambda p: [[1e300, 1, 1], *p]), mention=["c1"])
    on("text for a position", put(lambda p: [["a", "b", "c"], *p]), mention=["c1"])
    on("two coordinates", put(lambda p: [p[0][:2], *p]), mention=["c1"])
    on("far outside the image", put(lambda p: [[x + 1000, y, z] for x, y, z in p]), mention=["c1", "outside"])
    on("some outside the image", put(lambda p: [[x + 14, y, z] for x, y, z in p]), expect="sane", mention=["c1"],
       check=lambda c, code, text: None if "outside" in text
        else "UNCLEAR (points outside are accepted and not told)")
    on("wrong nesting: a list", lambda c: file(c).write_text("[1, 2]") and None, mention=["c1"])
    on("wrong nesting: markups an object", lambda c: file(c).write_text('{"markups": {"a": 1}}') and None,
        mention=["c1"])
    on("wrong nesting: controlPoints a text",
        lambda c: file(c).write_text('{"markups": [{"coordinateSystem": "LPS", "controlPoints": "abc"}]}') and None,
        mention=["c1"])
    on("wrong nesting: controlPoints null",
        lambda c: file(c).write_text('{"markups": [{"coordinateSystem": "LPS", "controlPoints": null}]}') and None,
        mention=["c1"])
    on("100000 brackets", lambda c: file(c).write_text("[" * 100000) and None, mention=["c1"])
    on("zero bytes", lambda c: file(c).write_text("") and None, mention=["c1"])
    on("binary", lambda c: file(c).write_bytes(bytes(range(256))) and None, mention=["c1"])
    on("no coordinate system", lambda c: file(c).write_text(file(c).read_text().replace('"coordinateSystem": "LPS", ',
        "")) and None, expect="sane", mention=["c1"])
    on("units um", lambda c: file(c).write_text(file(c).read_text().replace('"mm"', '"um"')) and None,
        mention=["c1", "um|unit"])
    on("type Line", lambda c: file(c).write_text(file(c).read_text().replace("Fiducial", "Line")) and None,
        expect="sane", mention=["c1"])
    on("other grid of classes", classes=("a", "b"), mention=["class"])
    on("class twice", classes=("hip", "hip"), mention=["hip"])
    on("class <script>", classes=("<script>",), mention=["script"])
    on("points without an image", lambda c: file(c).rename(c.inputs / "points/zz.mrk.json") and None, mention=["zz"])
    on("image without points", lambda c: file(c).unlink(), mention=["c1"])
    on("mrk.json and csv of one case", lambda c: (c.inputs / "points/c1.csv").write_text(table("l,p,s")(points(c)))
        and None, expect="sane", mention=["c1"])
    on("csv x,y,z", other("c1.csv", table("x,y,z")), mention=["c1", "LPS or RAS"])
    on("csv x,y,z --coordinate-system LPS", other("c1.csv", table("x,y,z")), "--coordinate-system", "LPS",
        expect="accept")
    on("csv x,y,z LPS beside a RAS .mrk.json", lambda c: (other("c1.csv", table("x,y,z"))(c),
        (c.inputs / "points/c0.mrk.json").write_text(mrk(
        [[-x, -y, z] for x, y, z in [p["position"]
        for p in json.loads((c.inputs / "points/c0.mrk.json").read_text())["markups"][0]["controlPoints"]]], "RAS")))
       and None, "--coordinate-system", "LPS", expect="accept")
    on("csv without header", other("c1.csv", lambda p: "".join("{},{},{}\n".format(*q) for q in p)), mention=["c1"])
    on("csv semicolon, decimal comma, BOM", other("c1.csv", lambda p: b"\xef\xbb\xbf" + "".join(
        [*"l;p;s\r\n", *(";".join(str(v).replace(".", ",") for v in q) + "\r\n" for q in p)]).encode()),
        expect="accept")
    on("csv class ../../../x", other("c1.csv", table("l,p,s,class", "{0},{1},{2},../../../x")), mention=[r"\.\./"])
    on("csv object ../../../x", other("c1.csv", table("l,p,s,class,object", "{0},{1},{2},hip,../../../x")),
        expect="sane",
       check=lambda c, code, text: "SECURITY a file outside of the data set" if any(c.root.glob("*.ply"))
        or any(c.raw.glob("*.ply")) else None)
    on("csv object of 300 letters", other("c1.csv", table("l,p,s,class,object", "{0},{1},{2},hip," + "y" * 300)),
        expect="sane", mention=["yyy"])
    on("csv labels are formulas", other("c1.csv", table("l,p,s,label", '{0},{1},{2},"=HYPERLINK(""http://x"")"')),
        expect="sane",
       check=lambda c, code, text: csv_injection(c.raw.glob("*/templates/*.csv")))
    on("csv objects a/b and a-b (one mesh file name)", other("c1.csv", lambda p: "l,p,s,class,object\n" + "".join(
        f"{x},{y},{z},hip,{name}\n" for name in ("a/b", "a-b") for x, y, z in p)), expect="sane",
       check=lambda c, code, text: None if code or len(list(c.raw.glob("*/templates/meshes/c1*.ply"))) == 2
        else "WRONG two objects, one mesh file: one was overwritten")
    on("csv 60 objects", other("c1.csv", lambda p: "l,p,s,class,object\n" + "".join(
        f"{x},{y},{z},hip,o{n}\n" for n in range(60) for x, y, z in p)), expect="sane", timeout=200)
    on("csv of one giant line", other("c1.csv", lambda p: "l,p,s\n" + "1," * 2000000), mention=["c1"])
    mps = '<?xml version="1.0"?>{}<point_set_file><point_set><time_series>{}</time_series></point_set></point_set_file>'
    point = "<point><id>0</id><x>{}</x><y>{}</y><z>{}</z></point>"
    laughs = '<!DOCTYPE x [<!ENTITY a0 "1">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">'
        for i in range(1, 10)) + "]>"
    on("mps", other("c1.mps", lambda p: mps.format("", "".join(point.format(*q) for q in p))), expect="accept")
    on("mps: billion laughs", other("c1.mps", lambda p: mps.format(laughs, point.format("&a9;", 1, 1))),
        mention=["c1"])
    on("mps: billion laughs in UTF-16", other("c1.mps", lambda p: mps.format(laughs,
        point.format("&a9;", 1, 1)).replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16")),
       mention=["c1"], heavy=1 << 30, timeout=60)
    on("mps: external entity", other("c1.mps",
        lambda p: mps.format('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', point.format("&e;", 1, 1))),
       mention=["c1"], check=lambda c, code, text: "SECURITY shows /etc/passwd" if "root:" in text else None)
    on("mps: external entity in UTF-16",
        other("c1.mps", lambda p: mps.format('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        point.format("&e;", 1, 1))
       .replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16")), mention=["c1"], check=lambda c, code,
        text: "SECURITY shows /etc/passwd" if "root:" in text else None)
    on("mps: not XML", other("c1.mps", lambda p: "hello"), mention=["c1"])
    on("mps: 200000 nested tags", other("c1.mps", lambda p: "<a>" * 200000), mention=["c1"])
    on("fcsv without header", other("c1.fcsv", lambda p: "".join(f"n,{x},{y},{z}\n" for x, y, z in p)),
        mention=["c1"])
    on("json: plain list", other("c1.json", lambda p: json.dumps(p)), mention=["c1", "points_mm"])
    on("template: no such mesh", None, "--templates", "hip=no.stl", mention=["no.stl"])
    on("template: text named .stl", lambda c: {"more": ("--templates", f"hip={c.scores('hello', 'a.stl')}")},
        mention=["a.stl|mesh"])
    on("template: text named .nii.gz", lambda c: {"more": ("--templates", f"hip={c.scores('hello', 'a.nii.gz')}")},
        mention=["a.nii.gz"])
    on("template: label map without the class", lambda c: (rewrite(c.inputs / "labels/c1.nii.gz", np.zeros_like),
       {"more": ("--templates", f"hip={c.inputs / 'labels/c1.nii.gz'}")})[1], mention=["c1.nii.gz", "no voxel"])
    on("prediction folder missing", None, "--follow-prediction", "nowhere", mention=["nowhere"])
    on("prediction: pickled .npz", lambda c: evil_npz(c), mention=["c0|c1|c2"], check=lambda c, code,
        text: "SECURITY code ran" if (c.root / "pwned").exists() else None)
    on("stiffness 0", None, "--stiffness", "0", mention=["stiffness"])
    on("stiffness NaN", None, "--stiffness", "nan", mention=["stiffness"])
    on("noise -1", None, "--noise-mm", "-1", mention=["noise"])
    on("noise 1e6", None, "--noise-mm", "1e6", expect="sane", mention=["c"])
    on("references empty", lambda c: (rewrite(c.inputs / "labels/c1.nii.gz", np.zeros_like),
        {"more": ("--references", c.inputs / "labels"), "classes": ("hip=1,2",)})[1],
       expect="sane", mention=["c1"])


def evil_npz(case):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {case.root / 'pwned'}",)

    folder = case.inputs / "pred"
    folder.mkdir()
    for number in range(3):
        with zipfile.ZipFile(folder / f"c{number}.npz", "w") as file:
            head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
            text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
            file.writestr("probabilities.npy", head + text.ljust(117) + b"\n" + pickle.dumps(np.array([Evil()],
                object), 2))
        with (folder / f"c{number}.pkl").open("wb") as file:
            pickle.dump(Evil(), file)
        shutil.copy(case.inputs / f"labels/c{number}.nii.gz", folder)
    (folder / "dataset.json").write_text(
        '{"labels": {"background": 0, "hip": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "MRI"}}')
    (folder / "plans.json").write_text("{}")
    return {"more": ("--follow-prediction", folder)}


def csv_injection(paths):
    """Cells that a spreadsheet program would run, in tables that a command wrote."""
    import csv

    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    if cell[:1] in "=@" and len(cell) > 1 or re.match(r"[+-]\D", cell):
                        return f"SECURITY a formula in {Path(path).name}: {cell[:30]}"
    return None


def evaluate_trials(world):
    def on(name, change=None, *more, expect="refuse", mention=(), labels=("hip=1,2",), output=True, **options):
        def build(case):
            case.copy("images", "masks", "labels")
            given = change(case) if change else None
            given = given if isinstance(given, dict) else {}
            line = [given.get("prediction", case.inputs / "masks"), given.get("reference", case.inputs / "labels"),
                "-np", "1"]
            line += ["--output", given.get("output", case.out / "e")] if output else []
            wanted = given.get("labels", labels)
            return [*line, *more, *given.get("more", ()), *(["--labels", *wanted] if wanted else [])]

        world.trial(name, "evaluate", build, expect, mention, **options)

    def prediction(case):
        return case.inputs / "masks/c1.nii.gz"

    html = "evaluation.html"
    on("baseline", None, "--report", expect="accept")
    on("all kinds of baselines", lambda c: {"more": ("--baseline", f"b={c.inputs / 'labels'}", "--report", "--images",
        c.inputs / "images")}, expect="accept")
    on("other grid", lambda c: rewrite(prediction(c), lambda a: a[1:]), mention=["c1"])
    on("missing case", lambda c: prediction(c).unlink(), mention=["c1"])
    on("no case at all", lambda c: [f.unlink() for f in (c.inputs / "masks").iterdir()] and None, mention=["masks"])
    on("no such folder", lambda c: {"prediction": "nowhere"}, mention=["nowhere"])
    on("NaN", lambda c: rewrite(prediction(c), lambda a: np.where(a == 1, np.nan, a).astype("f4")), mention=["c1"])
    on("probabilities", lambda c: rewrite(prediction(c), lambda a: a * .7), mention=["c1"])
    on("truncated", lambda c: prediction(c).write_bytes(prediction(c).read_bytes()[:300]) and None, mention=["c1"])
    on("huge header", lambda c: nifti(prediction(c), b"\0" * 9, (30000, 30000, 30000)) and None, mention=["c1"])
    on("4D", lambda c: nifti(prediction(c), np.zeros((35, 51, 35, 2), "u1"), (35, 51, 35, 2)) and None,
        mention=["c1"])
    on("both empty everywhere", lambda c: [rewrite(c.inputs / k / f"c{i}.nii.gz", np.zeros_like)
        for k in ("masks", "labels") for i in range(3)] and None,
       "--report", expect="sane")
    on("all predictions empty", lambda c: [rewrite(c.inputs / f"masks/c{i}.nii.gz", np.zeros_like) for i in range(3)]
        and None, "--report", expect="accept")
    on("value of no label in the prediction", lambda c: rewrite(prediction(c), lambda a: a * 9), expect="sane",
        mention=["c1", "9"])
    on("labels: none, no dataset.json", labels=None, expect="sane")
    on("labels: unknown name", labels=("liver",), mention=["liver"])
    on("labels: value not there", labels=("x=77",), mention=["1|2"])
    on("labels: overlap", labels=("a=1", "b=1,2"), expect="sane")
    on("labels: rubbish", labels=("a=b=c",), mention=["a=b=c"])
    on("labels: range of 10^10", labels=("a=1-9999999999",), mention=["9999999999"], timeout=60)
    on("labels: broken dataset.json", lambda c: {"labels": (c.scores("{", "dataset.json"),)},
        mention=["dataset.json"])
    on("labels: dataset.json without labels", lambda c: {"labels": (c.scores("{}", "dataset.json"),)},
        mention=["dataset.json"])
    on("labels: dataset.json is a list", lambda c: {"labels": (c.scores("[]", "dataset.json"),)},
        mention=["dataset.json"])
    on("labels: dataset.json with text values", lambda c: {"labels": (c.scores('{"labels": {"a": "x"}}',
        "dataset.json"),)}, mention=["dataset.json"])
    on("labels: dataset.json with floats", lambda c: {"labels": (c.scores('{"labels": {"background": 0, "a": 1.5}}',
        "dataset.json"),)}, mention=["dataset.json"])
    on("labels: dataset.json of regions",
        lambda c: {"labels": (c.scores(
        '{"labels": {"background": 0, "whole": [1, 2], "post": 2}, "regions_class_order": [1, 2]}', "dataset.json"),
        )}, expect="sane")
    on("tolerance -1", None, "--nsd-tolerance-mm", "-1", mention=["tolerance"])
    on("tolerance NaN", None, "--nsd-tolerance-mm", "nan", mention=["tolerance"])
    on("patients: case missing", lambda c: {"more": ("--patients", c.scores("case,patient\nc0,a\n", "p.csv"),
        "--baseline", f"b={c.inputs / 'labels'}")}, mention=["c1"])
    on("baseline without =", None, "--baseline", "x", mention=["x"])
    on("baseline of the same name as PRED", lambda c: {"more": ("--baseline", f"masks={c.inputs / 'labels'}")},
        mention=["masks"])
    on("case name not UTF-8", lambda c: [os.rename(os.fsencode(c.inputs / k / "c1.nii.gz"),
        os.fsencode(c.inputs / k) + b"/M\xfcller.nii.gz")
       for k in ("masks", "labels")] and None, expect="sane", mention=["ller"])
    on("output is a file", lambda c: {"output": c.inputs / "scores.csv"}, mention=["scores.csv"])
    on("report without output", None, "--report", output=False, mention=["output"])
    on("images folder missing", None, "--report", "--images", "nowhere", mention=["nowhere"])
    on("image of another grid in the report", lambda c: (rewrite(c.inputs / "images/c1.nii.gz", lambda a: a[1:]),
        {"more": ("--report", "--images", c.inputs / "images")})[1],
       expect="sane", mention=["c1"])
    evil = "<img src=x onerror=alert(1)>"
    on("case named <img onerror>", lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / f"{evil}.nii.gz")
        for k in ("masks", "labels", "images")] and
       {"more": ("--report", "--images", c.inputs / "images")}, expect="accept",
       check=lambda c, code, text: "SECURITY HTML injected" if evil in (c.out / "e" / html).read_text() else None)
    on("label and names <script>", lambda c: {"labels": ("<script>alert(1)<=1,2",),
        "more": ("--report", "--name", "<b>p", "--baseline", f"<i>q={c.inputs / 'labels'}")}, expect="sane",
       check=lambda c, code, text: "SECURITY HTML injected" if code == 0
        and re.search("<script>|<b>p|<i>q", (c.out / "e" / html).read_text()) else None)
    on("case named =HYPERLINK", lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / "=HYPERLINK(1).nii.gz")
        for k in ("masks", "labels")] and None, expect="sane",
       check=lambda c, code, text: csv_injection(c.out.glob("e/*.csv")))
    on("output under a read-only folder", lambda c: os.chmod(c.out, 0o555), mention=["permission"], user=True)


def converted(case, method="score"):
    """A converted data set in raw, from the template that setup made."""
    shutil.copytree(WORLD.base / f"converted_{method}", case.raw, dirs_exist_ok=True)
    return next(case.raw.glob("Dataset*"))


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def prepare_trials(world):
    def on(name, change=None, *more, expect="refuse", mention=(), model="511", **options):
        options.setdefault("leftovers", False)

        def build(case):
            case.copy("images", "masks")
            folder = converted(case)
            given = change(case, folder) if change else None
            given = given if isinstance(given, dict) else {}
            return ["-i", case.inputs / "images", "--masks", given.get("masks", case.inputs / "masks"), "-m",
                given.get("model", model),
                    "-o", given.get("output", case.out / "Ts"), "-np", "1", *more, *given.get("more", ())]

        world.trial(name, "prepare_inputs", build, expect, mention, **{"check": half_written, **options})

    def js(folder):
        return folder / "dataset.json"

    on("baseline", expect="accept")
    on("model: no such number", model="999", mention=["999"])
    on("model: no such folder", model="/no/where", mention=["where"])
    on("model: folder without dataset.json", lambda c, f: {"model": c.tmp}, mention=["dataset.json"])
    on("dataset.json: broken", lambda c, f: js(f).write_text("{") and None, mention=["dataset.json"])
    on("dataset.json: a list", lambda c, f: js(f).write_text("[]") and None, mention=["dataset.json"])
    on("dataset.json: without our block", lambda c, f: edit_json(js(f), lambda d: d.pop("nnunet_weak")),
        mention=["dataset.json"])
    on("dataset.json: without file_ending", lambda c, f: edit_json(js(f), lambda d: d.pop("file_ending")),
        mention=["dataset.json", "file_ending"])
    on("dataset.json: file_ending ../../x", lambda c, f: edit_json(js(f),
        lambda d: d.update(file_ending="/../../x.nii.gz")), mention=["file_ending|ending"])
    on("dataset.json: file_ending .png", lambda c, f: edit_json(js(f), lambda d: d.update(file_ending=".png")),
        mention=["png"])
    on("dataset.json: schema of the future", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"].update(schema_version=99)), mention=["99"])
    on("dataset.json: schema a text", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"].update(schema_version="x")), mention=["schema"])
    on("dataset.json: prior kind unknown", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"].update(prior={"kind": "x"})), mention=["dataset.json|prior"])
    on("dataset.json: prior options of the wrong type", lambda c,
        f: edit_json(js(f), lambda d: d["nnunet_weak"].update(
        channels={**d["nnunet_weak"]["channels"], "prior": True}, prior={"kind": "local", "shell_mm": "x"})),
        mention=["dataset.json|prior"])
    on("dataset.json: images a text", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"]["channels"].update(images="x")), mention=["images"])
    on("dataset.json: images 10^9", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"]["channels"].update(images=10**9)), mention=["images|channel"])
    on("dataset.json: mask source ../../*", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"].update(mask_sources={"hip": "../../x"})), mention=["c0"])
    on("dataset.json: mask source for another region", lambda c,
        f: edit_json(js(f), lambda d: d["nnunet_weak"].update(mask_sources={"zzz": "1"})), mention=["hip|zzz"])
    on("dataset.json: of RefineSeg", lambda c, f: edit_json(js(f),
        lambda d: d["nnunet_weak"].update(method="refineseg")), mention=["refineseg|score"])
    on("masks: other grid", lambda c, f: rewrite(c.inputs / "masks/c1.nii.gz", lambda a: a[1:]), mention=["c1"])
    on("masks: missing", lambda c, f: (c.inputs / "masks/c1.nii.gz").unlink(), mention=["c1"])
    on("masks: unknown value", lambda c, f: rewrite(c.inputs / "masks/c1.nii.gz", lambda a: a * 5),
        mention=["c1", "5"])
    on("image: truncated", lambda c, f: (c.inputs / "images/c1.nii.gz").write_bytes(b"\x1f\x8b\x08") and None,
        mention=["c1"])
    on("two channels instead of one", lambda c, f: [shutil.copy(c.inputs / f"images/c{i}.nii.gz",
        c.inputs / f"images/c{i}_0001.nii.gz") and
       (c.inputs / f"images/c{i}.nii.gz").rename(c.inputs / f"images/c{i}_0000.nii.gz") for i in range(3)] and None,
        mention=["channel"])
    on("output is the input", lambda c, f: {"output": c.inputs / "images"}, mention=["images"], leftovers=True)
    on("output is a file", lambda c, f: {"output": c.inputs / "scores.csv"}, mention=["scores.csv"])
    on("part 5 of 2", None, "--num_parts", "2", "--part_id", "5", mention=["part"])
    on("part of 0", None, "--num_parts", "0", mention=["part"])
    on("a truncated file from an earlier run", lambda c, f: ((c.out / "Ts").mkdir(),
        (c.out / "Ts/c1_0001.nii.gz").write_bytes(b"\x1f\x8b\x08"),
       shutil.copy(c.inputs / "images/c1.nii.gz", c.out / "Ts/c1_0000.nii.gz")) and None, expect="accept",
       check=lambda c, code, text: None if (c.out / "Ts/c1_0001.nii.gz").stat().st_size > 50
        else "WRONG a truncated channel counts as complete")
    on("a truncated last channel from an earlier run", lambda c,
        f: ((c.out / "Ts").mkdir(), [shutil.copy(c.inputs / "images/c1.nii.gz", c.out / f"Ts/c1_000{k}.nii.gz")
       for k in (0, 1)], os.truncate(c.out / "Ts/c1_0001.nii.gz", 500)) and None, expect="accept",
       check=lambda c, code, text: None if gz_whole(c.out / "Ts/c1_0001.nii.gz")
        else "WRONG a truncated channel counts as complete")
    if not world.arguments.only or re.search(world.arguments.only, "prepare_inputs:masks changed between two runs"):
        case = Case(world.base / "rerun")
        case.copy("images", "masks")
        converted(case)
        line = ["nnunet_weak_prepare_inputs", "-i", case.inputs / "images", "--masks", case.inputs / "masks", "-m",
            "511", "-o", case.out / "Ts", "-np", "1"]
        world.execute(case, line, 60)
        rewrite(case.inputs / "masks/c1.nii.gz", np.zeros_like)
        code, text, *_ = world.execute(case, line, 60)
        old = read(case.out / "Ts/c1_0001.nii.gz").any()
        report(world, "prepare_inputs", "masks changed between two runs",
            ["WRONG the old mask's channel is kept and nothing said"] if old and code == 0 and "c1" not in text
            else [],
               text.strip().splitlines()[-1], " ".join(map(str, line)))
        shutil.rmtree(case.root)


def gz_whole(path):
    try:
        gzip.decompress(path.read_bytes())
        return True
    except (EOFError, OSError, zlib.error):
        return False


def half_written(case, code, text):
    """prepare keeps cases that are complete; everything else is a leftover."""
    odd = [path.name for path in case.out.rglob("*")
        if not re.fullmatch(r"c\d_000\d\.nii\.gz|prepared(\.json)?|c\d\.json|Ts", path.name)]
    odd += [path.name for path in case.out.rglob("c*.gz") if not gz_whole(path)]
    odd += [path.name for path in case.root.iterdir() if path.name not in ("in", "raw", "pp", "res", "tmp", "out",
        "log.txt")]
    return f"LEFTOVER {odd[:3]}" if odd else None


def refineseg_trials(world):
    def fuse(name, change=None, *more, expect="refuse", mention=(), source="521", target="531", **options):
        def build(case):
            folder = converted(case, "refineseg")
            given = change(case, folder) if change else None
            given = given if isinstance(given, dict) else {}
            return ["-d", given.get("source", source), "-o", given.get("target", target), "-np", "1", *more,
                *given.get("more", ())]

        world.trial(name, "fuse", build, expect, mention, **options)

    def js(folder):
        return folder / "dataset.json"

    fuse("baseline", expect="accept")
    fuse("random walker", None, "--method", "random_walker", expect="accept")
    fuse("no such data set", source="999", mention=["999"])
    fuse("number abc", source="abc", mention=["abc"])
    fuse("onto itself", target="521", mention=["521"])
    fuse("onto itself, --overwrite, same name", None, "-n", "T", "--overwrite", target="521", mention=["521|T"],
         check=lambda c, code, text: None if (c.raw / "Dataset521_T/annotationsTr/anna/c1.nii.gz").exists()
        else "WRONG the drawings themselves were deleted")
    fuse("name ../../x", None, "-n", "../../x", mention=[r"\.\./"])
    fuse("a SCORE data set", lambda c, f: (shutil.rmtree(f), converted(c), {"source": "511"})[2], mention=["511"])
    fuse("dataset.json: broken", lambda c, f: js(f).write_text("{") and None, mention=["dataset.json"])
    fuse("dataset.json: without file_ending", lambda c, f: edit_json(js(f), lambda d: d.pop("file_ending")),
        mention=["dataset.json", "file_ending"])
    fuse("dataset.json: without labels", lambda c, f: edit_json(js(f), lambda d: d.pop("labels")),
        mention=["dataset.json", "labels"])
    fuse("dataset.json: without channel_names", lambda c, f: edit_json(js(f), lambda d: d.pop("channel_names")),
        mention=["dataset.json", "channel_names"])
    fuse("dataset.json: map ../../x", lambda c, f: edit_json(js(f),
        lambda d: (d["nnunet_weak"].update(maps={"../../x": "positive"}),
         [e.update(maps=["../../x"]) for e in d["nnunet_weak"]["cases"].values()])), mention=["x"])
    fuse("dataset.json: case ../../x", lambda c, f: edit_json(js(f), lambda d: d["nnunet_weak"]["cases"].update(
        {"../../x": d["nnunet_weak"]["cases"]["c1"]})), mention=["x"])
    fuse("dataset.json: case ../../../x with its files", lambda c, f: traversal(c, f), mention=["x"],
         check=lambda c, code, text: "SECURITY wrote outside of the data set" if any(c.root.glob("x*"))
        or any(c.raw.glob("x*")) else None)
    fuse("dataset.json: maps a list", lambda c, f: edit_json(js(f), lambda d: d["nnunet_weak"].update(maps=["anna"])),
        mention=["maps"])
    fuse("drawing missing", lambda c, f: (f / "annotationsTr/anna/c1.nii.gz").unlink(), mention=["c1"])
    fuse("drawing truncated", lambda c, f: os.truncate(f / "annotationsTr/anna/c1.nii.gz", 100), mention=["c1"])
    fuse("drawing of another grid", lambda c, f: rewrite(f / "annotationsTr/anna/c1.nii.gz", lambda a: a[1:]),
        mention=["c1"])
    fuse("drawing with value 200", lambda c, f: rewrite(f / "annotationsTr/anna/c1.nii.gz",
        lambda a: np.where(a == 1, 200, a)), mention=["c1", "200|199"])
    fuse("splits_final.json broken", lambda c, f: (f / "splits_final.json").write_text("{") and None,
        mention=["splits_final.json"])

    def preprocess(name, change=None, *more, expect="refuse", mention=(), source="521", **options):
        options.setdefault("leftovers", False)  # maps that are complete stay, by design

        def build(case):
            folder = converted(case, "refineseg")
            if (WORLD.base / "preprocessed").exists():
                shutil.copytree(WORLD.base / "preprocessed", case.pp, dirs_exist_ok=True)
            pp = case.pp / folder.name
            given = change(case, folder, pp) if change else None
            given = given if isinstance(given, dict) else {}
            return ["-d", given.get("source", source), "-np", "1", *more]

        world.trial(name, "preprocess_annotations", build, expect, mention, **options)

    preprocess("baseline", expect="accept") if world.arguments.full else None
    preprocess("no such data set", source="999", mention=["999"])
    preprocess("not preprocessed", lambda c, f, p: shutil.rmtree(c.pp / f.name, ignore_errors=True),
        mention=["preprocess"])
    if world.arguments.full:
        preprocess("no such configuration", None, "-c", "9d", mention=["9d"])
        preprocess("no such plans", None, "-p", "nope", mention=["nope"])
        preprocess("plans broken", lambda c, f, p: (p / "nnUNetPlans.json").write_text("{") and None,
            mention=["nnUNetPlans"])
        preprocess("plans without configurations", lambda c, f, p: (p / "nnUNetPlans.json").write_text("{}") and None,
            mention=["nnUNetPlans"])
        preprocess("dataset.json broken", lambda c, f, p: (p / "dataset.json").write_text("{") and None,
            mention=["dataset.json"], expect="sane")
        preprocess("drawing missing", lambda c, f, p: (f / "annotationsTr/anna/c1.nii.gz").unlink(), mention=["c1"])
        preprocess("drawing truncated", lambda c, f, p: os.truncate(f / "annotationsTr/anna/c1.nii.gz", 100),
            mention=["c1"])
        preprocess("drawing of another grid", lambda c, f, p: rewrite(f / "annotationsTr/anna/c1.nii.gz",
            lambda a: a[1:]), mention=["c1"])
        preprocess("map ../../x", lambda c, f, p: [edit_json(j,
            lambda d: (d["nnunet_weak"].update(maps={"../../x": "positive"}),
                   [e.update(maps=["../../x"]) for e in d["nnunet_weak"]["cases"].values()]))
            for j in (f / "dataset.json", p / "dataset.json")] and None, mention=["x"])
        preprocess("raw folder gone", lambda c, f, p: shutil.rmtree(f), mention=["raw|521"])
        preprocess("part 9 of 2", None, "--num_parts", "2", "--part_id", "9", mention=["part"])
        preprocess("a preprocessed case truncated", lambda c, f,
            p: [os.truncate(q, 40) for q in p.glob("nnUNetPlans_2d/c1.pkl")] and None, mention=["c1"])


def traversal(case, folder):
    """A hostile data set: a case whose name climbs out of the folder, with all the files that it needs."""
    edit_json(folder / "dataset.json",
        lambda d: d["nnunet_weak"]["cases"].update({"../../../x": d["nnunet_weak"]["cases"]["c1"]}))
    # in raw/Dataset/{imagesTr,labelsTr}/../../../x -> root/x ; annotationsTr/anna/../../../x -> raw/x
    shutil.copy(folder / "imagesTr/c1_0000.nii.gz", case.root / "x_0000.nii.gz")
    shutil.copy(folder / "labelsTr/c1.nii.gz", case.root / "x.nii.gz")
    shutil.copy(folder / "annotationsTr/anna/c1.nii.gz", case.raw / "x.nii.gz")
    for path in (case.root / "x_0000.nii.gz", case.root / "x.nii.gz", case.raw / "x.nii.gz"):
        path.rename(path.with_name("y" + path.name[1:]))
    edit_json(folder / "dataset.json", lambda d: d["nnunet_weak"]["cases"].update(
        {"../../../y": d["nnunet_weak"]["cases"].pop("../../../x")}))


def checkpoint_trials(world):
    def python(code, *more):
        subprocess.run([str(world.python), "-c", code, *map(str, more)], check=True, capture_output=True)

    def model(case, content=None, code=CHECKPOINT, refineseg=False):
        folder = case.res / "Dataset521_T/nnUNetTrainerRefineSeg__nnUNetPlans__2d"
        (folder / "fold_0").mkdir(parents=True)
        if refineseg and (WORLD.base / "preprocessed").exists():
            shutil.copytree(WORLD.base / "preprocessed", case.pp, dirs_exist_ok=True)
            shutil.copytree(WORLD.base / "converted_refineseg", case.raw, dirs_exist_ok=True)
            source = next(case.pp.glob("Dataset*"))
            shutil.copy(source / "nnUNetPlans.json", folder / "plans.json")
            shutil.copy(source / "dataset.json", folder)
        else:
            (folder / "plans.json").write_text("{}")
            (folder / "dataset.json").write_text(
                '{"labels": {"background": 0, "hip": 1}, "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz"}')
        path = folder / "fold_0/checkpoint_final.pth"
        if content is None:
            python(code, path, case.root / "pwned")
        else:
            path.write_bytes(content)
        return folder

    def ran(c, code, text):
        return "SECURITY code in the checkpoint ran (torch.load, weights_only=False)" if (c.root / "pwned").exists(
            ) else None

    for command, tail in (("set_threshold", ("--gamma", "0.4")), ("report_annotators", ("-device", "cpu"))):
        def on(name, change, mention=(), expect="refuse", tail=tail, command=command, **options):
            world.trial(name, command, lambda c: ["-m", *change(c), *tail], expect, mention, **options)

        def made(case, content=None, code=CHECKPOINT, command=command):
            return model(case, content, code, command == "report_annotators")

        on("no such folder", lambda c: ["/no/where"], mention=["where"])
        on("a file", lambda c: [c.scores("x")], mention=["scores.csv"])
        on("empty folder", lambda c: [c.out], mention=["out"])
        on("checkpoint: garbage", lambda c: [made(c, b"hello")], mention=["checkpoint"])
        on("checkpoint: zero bytes", lambda c: [made(c, b"")], mention=["checkpoint"])
        on("checkpoint: truncated", lambda c: (m := made(c), os.truncate(m / "fold_0/checkpoint_final.pth", 700))
            and [m], mention=["checkpoint"])
        on("checkpoint: without network_weights", lambda c: [made(c,
            code="import sys,torch; torch.save({'a': 1}, sys.argv[1])")], mention=["checkpoint"])
        on("checkpoint: a list", lambda c: [made(c, code="import sys,torch; torch.save([1, 2], sys.argv[1])")],
            mention=["checkpoint"])
        on("checkpoint: with code", lambda c: [made(c, code=EVIL)], expect="sane", check=ran, mention=["checkpoint"])
        on("a stock model of nnU-Net", lambda c: [made(c)], expect="accept" if command == "set_threshold"
            else "refuse", mention=["checkpoint|RefineSeg|fold|nnunet_weak"])
        on("fold that does not exist", lambda c: [made(c), "-f", "3"], mention=["3"])
        on("fold ../../x", lambda c: [made(c), "-f", "../../x"], mention=["x"])
    for value in ("0", "1", "nan"):
        world.trial(f"gamma {value}", "set_threshold", lambda c, value=value: ["-m", model(c), "--gamma", value],
            "refuse", ["gamma"])
    world.trial("gamma 1e-300", "set_threshold", lambda c: ["-m", model(c), "--gamma", "1e-300"], "sane")
    world.trial("undo where nothing was set", "set_threshold", lambda c: ["-m", model(c), "--undo"], "sane")
    world.trial("calibrate without a data set", "set_threshold",
        lambda c: ["-m", model(c), "--calibrate", "-device", "cpu"], "refuse", ["521|preprocessed|checkpoint|plans"])
    world.trial("read-only folder", "set_threshold", lambda c: (m := model(c), os.chmod(m / "fold_0", 0o555))
        and ["-m", m, "--gamma", "0.4"], "refuse", ["permission"], user=True)

    def inflate(name, change, mention=(), expect="refuse", **options):
        def build(case):
            if (WORLD.base / "preprocessed").exists():
                shutil.copytree(WORLD.base / "preprocessed", case.pp, dirs_exist_ok=True)
                shutil.copytree(WORLD.base / "converted_refineseg", case.raw, dirs_exist_ok=True)
            return change(case)
        world.trial(name, "add_input_channels", build, expect, mention, **options)

    def line(case, checkpoint, *more, dataset="521", configuration="2d", output=None):
        return ["-chk", checkpoint, "-d", dataset, "-c", configuration, "-o", output or case.out / "o.pth", *more]

    def saved(case, code=CHECKPOINT, content=None):
        path = case.inputs / "in.pth"
        python(code, path, case.root / "pwned") if content is None else path.write_bytes(content)
        return path

    inflate("no such checkpoint", lambda c: line(c, "no.pth"), ["no.pth"])
    inflate("a folder", lambda c: line(c, c.inputs), ["in"])
    inflate("no such data set", lambda c: line(c, saved(c), dataset="999"), ["999"])
    inflate("data set abc", lambda c: line(c, saved(c), dataset="abc"), ["abc"])
    inflate("data set ../../x", lambda c: line(c, saved(c), dataset="../../x"), ["x"])
    inflate("output exists", lambda c: line(c, saved(c), output=c.scores("x")), ["exists"])
    inflate("nnUNet_preprocessed not set", lambda c: (c.env.update(nnUNet_preprocessed=None), line(c, saved(c)))[1],
        ["nnUNet_preprocessed"])
    if world.arguments.full:
        inflate("configuration 9d", lambda c: line(c, saved(c), configuration="9d"), ["9d"])
        inflate("garbage", lambda c: line(c, saved(c, content=b"hello")), ["in.pth"])
        inflate("zero bytes", lambda c: line(c, saved(c, content=b"")), ["in.pth"])
        inflate("a list", lambda c: line(c, saved(c, code="import sys,torch; torch.save([1], sys.argv[1])")),
            ["in.pth"])
        inflate("without network_weights", lambda c: line(c, saved(c,
            code="import sys,torch; torch.save({'a': 1}, sys.argv[1])")), ["in.pth"])
        inflate("another architecture", lambda c: line(c, saved(c)), ["in.pth"])
        inflate("with code", lambda c: line(c, saved(c, code=EVIL)), ["in.pth"], expect="sane", check=ran)
        inflate("a fitting one", lambda c: line(c, saved(c, code=FITTING.replace("PLANS", str(c.pp)))),
            expect="accept")
        inflate("output in a folder that does not exist", lambda c: line(c,
            saved(c, code=FITTING.replace("PLANS", str(c.pp))), output=c.out / "no/o.pth"), ["no"])
        inflate("output in a read-only folder", lambda c: (os.chmod(c.out, 0o555),
            line(c, saved(c, code=FITTING.replace("PLANS", str(c.pp)))))[1], ["permission"], user=True)


def simulate_trials(world):
    def on(command, name, line, mention=(), expect="refuse", build=None, **options):
        def make(case):
            case.copy("images", "masks", "labels")
            if build:
                build(case)
            return [*line(case), "-np", "1"]
        world.trial(name, command, make, expect, mention, **options)

    def first(case):
        return case.inputs / "labels/c1.nii.gz"

    tools = {
        "simulate_scores": lambda c, *more: ["--references", c.inputs / "labels", "--masks", c.inputs / "masks",
        "--classes", "hip=1,2", "-o", c.out / "s.csv", *more],
        "simulate_drawings": lambda c, *more: ["--references", c.inputs / "labels", "--classes", "ant=1", "post=2",
        "-o", c.out / "d", *more],
        "simulate_points": lambda c, *more: ["--references", c.inputs / "labels", "--classes", "hip=1,2", "-o",
        c.out / "p", *more],
        "simulate_slices": lambda c, *more: ["--references", c.inputs / "labels", "--classes", "hip=1,2", "-o",
        c.out / "l", "--slices", "3", *more],
    }
    for command, line in tools.items():
        on(command, "baseline", line, expect="accept")
        on(command, "float labels", line, ["c1"], build=lambda c: rewrite(first(c), lambda a: a * .5))
        on(command, "4D", line, ["c1"], build=lambda c: nifti(first(c), np.zeros((9, 9, 9, 2), "u1"), (9, 9, 9, 2)))
        on(command, "truncated", line, ["c1"], build=lambda c: os.truncate(first(c), 200))
        on(command, "empty labels", line, ["c1"], expect="sane", build=lambda c: rewrite(first(c), np.zeros_like))
        on(command, "unknown value", line, ["c1", "9"], expect="refuse"
            if command in ("simulate_scores", "simulate_drawings") else "sane",
            build=lambda c: rewrite(first(c), lambda a: np.where(a == 2, 9, a)))
        on(command, "seed abc", lambda c, line=line: line(c, "--seed", "abc"), ["seed"])
        on(command, "seed -1", lambda c, line=line: line(c, "--seed", "-1"), ["seed"], expect="sane")
        on(command, "no such references", lambda c, line=line: ["nowhere" if str(x).endswith("labels")
            and isinstance(x, Path) else x for x in line(c)], ["nowhere"])
        on(command, "output is the references", lambda c, line=line: [c.inputs / "labels" if isinstance(x, Path)
            and x.parent == c.out else x for x in line(c)], ["labels"])
        on(command, "output is the references, --overwrite", lambda c,
            line=line: [c.inputs / "labels" if isinstance(x, Path) and x.parent == c.out else x
            for x in line(c, "--overwrite")],
           ["labels"], check=lambda c, code, text: None if (c.inputs / "labels/c1.nii.gz").exists()
            else "WRONG the references were deleted")
        on(command, "output is the home of other files, --overwrite", lambda c,
            line=line: [c.out if isinstance(x, Path) and x.parent == c.out else x for x in line(c, "--overwrite")],
           ["out"], build=lambda c: (c.out / "thesis.doc").write_text("five years"), check=lambda c, code, text: None
            if (c.out / "thesis.doc").exists() else "WRONG another person's files were deleted")
    on("simulate_scores", "mm per point 0", lambda c: tools["simulate_scores"](c, "--mm-per-point", "0"),
        ["mm.per.point"])
    on("simulate_scores", "step 0", lambda c: tools["simulate_scores"](c, "--step", "0"), ["step"])
    on("simulate_scores", "raters 0", lambda c: tools["simulate_scores"](c, "--raters", "0"), ["raters"])
    on("simulate_scores", "rater noise NaN", lambda c: tools["simulate_scores"](c, "--rater-sd", "nan"), ["rater.sd"])
    on("simulate_scores", "case named =1+1", tools["simulate_scores"], expect="sane",
        build=lambda c: [(c.inputs / k / "c1.nii.gz").rename(c.inputs / k / "=1+1.nii.gz")
        for k in ("labels", "masks")],
       check=lambda c, code, text: csv_injection(c.out.glob("*.csv")))
    on("simulate_drawings", "style unknown", lambda c: tools["simulate_drawings"](c, "--annotators", "a=drunk"),
        ["drunk"])
    on("simulate_drawings", "annotator ../../x", lambda c: tools["simulate_drawings"](c, "--annotators",
        "../../x=hasty"), [r"\.\./"])
    on("simulate_drawings", "axis w", lambda c: tools["simulate_drawings"](c, "--slice-axis", "w"), ["w"])
    on("simulate_points", "n 0", lambda c: tools["simulate_points"](c, "-n", "0"), ["-n|points"])
    on("simulate_points", "n 3", lambda c: tools["simulate_points"](c, "-n", "3"), ["-n|points"], expect="sane")
    on("simulate_points", "n 10^6", lambda c: tools["simulate_points"](c, "-n", "1000000"), ["-n|points|c0"],
        expect="sane", timeout=60)
    on("simulate_points", "noise NaN", lambda c: tools["simulate_points"](c, "--noise-mm", "nan"), ["noise"])
    on("simulate_points", "class ../../x", lambda c: ["--references", c.inputs / "labels", "--classes", "../../x=1,2",
        "-o", c.out / "p"], [r"\.\./"])
    on("simulate_points", "object of one voxel", tools["simulate_points"], ["c1"], expect="sane",
        build=lambda c: rewrite(first(c), one_voxel))
    on("simulate_slices", "slices 0", lambda c: ["--references", c.inputs / "labels", "--classes", "hip=1,2", "-o",
        c.out / "l", "--slices", "0"], ["slices"])
    on("simulate_slices", "effort NaN", lambda c: ["--references", c.inputs / "labels", "--classes", "hip=1,2", "-o",
        c.out / "l", "--effort", "nan"], ["effort"])
    on("simulate_slices", "slices 10^9", lambda c: ["--references", c.inputs / "labels", "--classes", "hip=1,2", "-o",
        c.out / "l", "--slices", "1000000000"], ["slices"], expect="sane")

    def phantoms(name, *line, mention=(), expect="refuse", build=None, **options):
        def make(case):
            if build:
                build(case)
            return [case.out / "ph" if part == "OUT" else part for part in line] + ["-np", "1"]
        world.trial(name, "make_phantoms", make, expect, mention, **options)

    phantoms("baseline", "OUT", "--cases", "2", "--test-cases", "1", expect="accept", timeout=200)
    phantoms("cases 0", "OUT", "--cases", "0", mention=["cases"])
    phantoms("cases -1", "OUT", "--cases", "-1", mention=["cases"])
    phantoms("size 0", "OUT", "--size", "0", "0", "0", mention=["size"])
    phantoms("size 10^6", "OUT", "--cases", "1", "--size", "1000000", "1000000", "1000000", mention=["size|memory"],
        timeout=60)
    phantoms("size 5", "OUT", "--cases", "1", "--test-cases", "0", "--size", "5", "5", "5", mention=["size"],
        expect="sane")
    phantoms("folder exists with files", "OUT", mention=["ph"],
        build=lambda c: ((c.out / "ph").mkdir(), (c.out / "ph/thesis.doc").write_text("x")))
    phantoms("folder exists with files, --overwrite", "OUT", "--overwrite", "--cases", "1", "--test-cases", "1",
        mention=["ph"], build=lambda c: ((c.out / "ph").mkdir(), (c.out / "ph/thesis.doc").write_text("x")),
             expect="sane", check=lambda c, code, text: None if (c.out / "ph/thesis.doc").exists()
        else "WRONG another person's files were deleted", leftovers=False)
    phantoms("preview in a folder that does not exist", "OUT", "--cases", "1", "--test-cases", "1", "--preview",
        "no/where.png", mention=["no: no such folder"], expect="sane")
    phantoms("preview .xyz", "OUT", "--cases", "1", "--test-cases", "1", "--preview", "a.xyz", mention=["xyz"])


def one_voxel(array):
    array = array * 0
    array[5, 5, 5] = 1
    return array


# ---------------------------------------------------------------------------------------------- interruptions
def many_cases(case, count=100):
    for kind in ("images", "masks"):
        (case.inputs / kind).mkdir()
        for number in range(count):
            shutil.copy(WORLD.template / kind / f"c{number % 3}.nii.gz", case.inputs / kind / f"m{number:03d}.nii.gz")
    case.scores("case,region,quality,error\n" + "".join(f"m{n:03d},hip,3,under\n" for n in range(count)))


def interruption_trials(world):
    def after(case, code, text):
        names = [path.name for path in case.raw.iterdir()]
        return f"LEFTOVER {', '.join(names)}" if names else None

    def build(case):
        many_cases(case)
        return scores_line(case, prior="posterior", np_="2")

    for name, number, moments in (("SIGINT", signal.SIGINT, (0.15, 0.5, "middle")),
        ("SIGTERM", signal.SIGTERM, ("middle",)), ("SIGHUP", signal.SIGHUP, ("middle",))):
        for moment in moments:
            when = moment if moment == "middle" else f"{moment} s"
            world.trial(f"{name} after {when}" if when != "middle" else f"{name} in the middle", "convert_scores",
                build, "refuse", kill=(number, moment), leftovers=False, check=after)
    if not world.arguments.only or re.search(world.arguments.only, "convert_scores:SIGKILL, rerun"):
        kill_and_rerun(world)
    if not world.arguments.only or re.search(world.arguments.only, "convert_scores:two at once"):
        two_at_once(world)
    if not world.arguments.only or re.search(world.arguments.only, "convert_scores:disk full"):
        disk_full(world)


def report(world, command, name, flags, said="", line=""):
    world.number += 1
    said = f"  | {said}" if said else ""
    verdict = "FAIL" if flags else "PASS"
    print(f"[{verdict}] {world.number:3d} {command:18s} {name:42s} {'; '.join(flags)}{said}", flush=True)
    world.results.append((command, name, flags, line))


def kill_and_rerun(world):
    case = Case(world.base / "kill")
    many_cases(case)
    line = ["nnunet_weak_convert_scores", *scores_line(case, prior="posterior", np_="2")]
    code, text, seconds, peak, hang, left = world.execute(case, line, 60, kill=(signal.SIGKILL, "middle"))
    flags = [f"{left} PROCESSES LEFT 6 s after SIGKILL"] if left else []
    report(world, "convert_scores", "SIGKILL in the middle: workers end", flags,
        f"left in raw: {[p.name for p in case.raw.iterdir()]}", " ".join(map(str, line)))
    code, text, seconds, peak, hang, left = world.execute(case, line, 120)
    flags = [] if code == 0 and "left by a run that was killed" in text else [
        f"WRONG rc={code}, leftover told: {'left by' in text}"]
    report(world, "convert_scores", "SIGKILL, then a rerun", flags)
    shutil.rmtree(case.root, ignore_errors=True)


def at_once(world, case, commands):
    """Run commands at the same time, each from a folder of its own: what `execute` returns of each."""
    found = []
    threads = []
    for number, command in enumerate(commands):
        other = Case.__new__(Case)
        other.__dict__.update(case.__dict__)
        other.root = Path(tempfile.mkdtemp(prefix=f"p{number}-", dir=case.root))
        threads.append(threading.Thread(target=lambda other=other, command=command: found.append(
            world.execute(other, command, 120))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def two_at_once(world):
    case = Case(world.base / "two")
    many_cases(case, 12)
    line = ["nnunet_weak_convert_scores", *scores_line(case, np_="1")]
    for overwrite in (False, True):
        shutil.rmtree(case.raw)
        case.raw.mkdir()
        command = [*line, *(["--overwrite"] if overwrite else [])]
        found = at_once(world, case, [command, command])
        codes = sorted(entry[0] for entry in found)
        names = sorted(path.name for path in case.raw.iterdir())
        flags = []
        if any("Traceback" in entry[1] for entry in found):
            flags.append("TRACEBACK")
        if names != ["Dataset511_T"]:
            flags.append(f"LEFTOVER {names}")
        elif len(list((case.raw / "Dataset511_T/labelsTr").iterdir())) != 12:
            flags.append("WRONG a data set that is not complete")
        if 0 not in codes:
            flags.append("WRONG none of the two succeeded")
        if codes == [0, 0] and not overwrite:
            flags.append("WRONG both succeed: the second replaced the first one's data set without --overwrite")
        loser = next((entry[1].strip().splitlines()[-2:] for entry in found if entry[0]), "")
        report(world, "convert_scores", f"two at once, same id{', --overwrite' if overwrite else ''}", flags,
            f"exit codes {codes} {loser}")
    shutil.rmtree(case.raw)
    case.raw.mkdir()
    found = at_once(world, case, [[part if part != "T" else f"T{number}" for part in line] for number in range(2)])
    names = sorted(path.name for path in case.raw.iterdir())
    report(world, "convert_scores", "two at once, same id, other names", [f"WRONG one number, two data sets: {names}"]
        if len(names) > 1 else [],
           f"exit codes {sorted(entry[0] for entry in found)}")
    shutil.rmtree(case.root, ignore_errors=True)


def disk_full(world):
    if os.geteuid():
        print("[skip] disk full: needs root")
        return
    for command in ("convert_scores", "convert_drawings", "convert_points", "prepare_inputs", "fuse", "evaluate",
        "simulate_drawings", "simulate_points", "make_phantoms", "set_threshold"):
        case = Case(world.base / f"full_{command}")
        small = case.root / "small"
        small.mkdir()
        size = {"evaluate": "4k", "simulate_points": "8k", "set_threshold": "24k", "simulate_drawings": "8k",
            "fuse": "80k", "prepare_inputs": "60k"}.get(command, "100k")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(small)],
            capture_output=True).returncode:
            print("[skip] disk full: mount is not allowed")
            return
        try:
            case.copy("images", "masks", "labels", "points", "drawings")
            case.env["nnUNet_raw"] = small
            if command == "convert_scores":
                line = scores_line(case)
            elif command == "convert_drawings":
                line = ["--images", case.inputs / "images", "--positive", f"a={case.inputs / 'drawings'}", "--labels",
                    "background=0", "ant=1", "post=2", "--blank", "4", "-d", "5", "-n", "T", "-np", "1"]
            elif command == "convert_points":
                line = ["--images", case.inputs / "images", "--points", case.inputs / "points", "--classes", "hip",
                    "-d", "5", "-n", "T", "-np", "1"]
            elif command == "prepare_inputs":
                case.env["nnUNet_raw"] = case.raw
                converted(case)
                line = ["-i", case.inputs / "images", "--masks", case.inputs / "masks", "-m", "511", "-o",
                    small / "Ts", "-np", "1"]
            elif command == "fuse":
                converted(case, "refineseg")
                source = next(case.raw.glob("Dataset*"))
                (small / source.name).symlink_to(source)
                line = ["-d", "521", "-o", "531", "-np", "1"]
            elif command == "evaluate":
                line = [case.inputs / "masks", case.inputs / "labels", "--labels", "hip=1,2", "--output", small / "e",
                    "--report", "-np", "1"]
            elif command == "simulate_drawings":
                line = ["--references", case.inputs / "labels", "--classes", "a=1", "b=2", "-o", small / "d", "-np",
                    "1"]
            elif command == "simulate_points":
                line = ["--references", case.inputs / "labels", "--classes", "a=1,2", "-n", "60", "-o", small / "d",
                    "-np", "1"]
            elif command == "make_phantoms":
                line = [small / "ph", "--cases", "2", "--test-cases", "1", "-np", "1"]
            else:
                folder = small / "fold_0"
                folder.mkdir()
                (small / "dataset.json").write_text('{"labels": {"background": 0, "hip": 1}}')
                (small / "plans.json").write_text("{}")
                subprocess.run([str(world.python), "-c", CHECKPOINT, str(folder / "checkpoint_final.pth")],
                    check=True)
                with open(small / "filler", "wb") as filler:
                    try:
                        while True:
                            os.write(filler.fileno(), b"x" * 512)
                    except OSError:
                        pass
                line = ["-m", small, "--gamma", "0.4"]
            before = {p.relative_to(small) for p in small.rglob("*")}
            code, text, seconds, peak, hang, left = world.execute(case, [f"nnunet_weak_{command}", *line], 200)
            new = sorted(str(p.relative_to(small)) for p in small.rglob("*") if p.relative_to(small) not in before
                and p.is_file())
            new += [str(p.relative_to(small)) for p in small.iterdir() if p.relative_to(small) not in before
                and p.is_dir() and p.name.startswith(".")]
            flags = []
            if "Traceback" in text:
                flags.append("TRACEBACK")
            if code == 0:
                flags.append("ACCEPTED (a full disk?)")
            elif not re.search("no space|disk is full", text, re.I):
                flags.append("UNCLEAR (does not say that the disk is full)")
            if new and command not in ("prepare_inputs",):
                flags.append(f"LEFTOVER {new[:3]}")
            elif command == "prepare_inputs" and [n for n in new if n.endswith(".gz") and not gz_whole(small / n)]:
                flags.append("LEFTOVER truncated files")
            if world.arguments.verbose:
                print(text)
            said = next((part for part in reversed(text.replace("\r", "\n").splitlines()) if part.strip()), "")
            report(world, command, f"disk full ({size})", flags, f"rc={code} {said[:110]}", " ".join(map(str, line)))
        finally:
            subprocess.run(["umount", str(small)], capture_output=True)
            if not world.arguments.keep:
                shutil.rmtree(case.root, ignore_errors=True)


def setup(world):
    """Data sets that later trials begin with."""
    for method in ("score", "refineseg"):
        target = world.base / f"converted_{method}"
        if target.exists() and (method == "score" or not world.arguments.full
            or (world.base / "preprocessed").exists()):
            continue
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(world.base / f"setup_{method}", ignore_errors=True)
        case = Case(world.base / f"setup_{method}")
        case.copy("images", "masks", "labels", "points", "drawings")
        if method == "score":
            line = ["nnunet_weak_convert_scores", *scores_line(case)]
        else:
            line = ["nnunet_weak_convert_drawings", "--images", case.inputs / "images", "--positive",
                f"anna={case.inputs / 'drawings'}", "--positive",
                    f"ben={case.inputs / 'drawings'}", "--labels", "background=0", "ant=1", "post=2", "--blank", "4",
                "-d", "521", "-n", "T", "-np", "1"]
        code, text, *_ = world.execute(case, line, 200)
        if code:
            sys.exit(f"setup of {method} failed:\n{text}")
        if method == "refineseg" and world.arguments.full:
            code, text, *_ = world.execute(case, ["nnUNetv2_plan_and_preprocess", "-d", "521", "-c", "2d", "-np",
                "1"], 600)
            if code:
                sys.exit(f"preprocessing failed:\n{text}")
            shutil.copytree(case.pp, world.base / "preprocessed")
        shutil.copytree(case.raw, target)
        shutil.rmtree(case.root, ignore_errors=True)


def main():
    global WORLD
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=Path(sys.executable).parent,
        help="folder of the commands (default: Python's)")
    parser.add_argument("--data", required=True, help="folder with hippocampus/")
    parser.add_argument("--work", help="folder for the trials (default: a temporary one)")
    parser.add_argument("--only", help="regular expression on COMMAND:TRIAL, for example 'evaluate:case named'")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the trials")
    parser.add_argument("--verbose", action="store_true", help="print commands and what they say")
    parser.add_argument("--messages", action="store_true", help="print the first problem of each message")
    parser.add_argument("--quick", dest="full", action="store_false",
        help="without the trials that need nnU-Net's preprocessing")
    arguments = parser.parse_args()
    WORLD = World(arguments)
    begin = time.monotonic()
    WORLD.prepare()
    setup(WORLD)
    for part in (score_trials, drawing_trials, point_trials, evaluate_trials, prepare_trials, refineseg_trials,
        checkpoint_trials, simulate_trials,
                 interruption_trials):
        part(WORLD)
    print(f"\n{len(WORLD.results)} trials in {(time.monotonic() - begin) / 60:.1f} minutes")
    print(f"\n{'command':22s} trials passes")
    for command in dict.fromkeys(entry[0] for entry in WORLD.results):
        mine = [entry for entry in WORLD.results if entry[0] == command]
        print(f"{command:22s} {len(mine):6d} {sum(not entry[2] for entry in mine):6d}")
    failed = [entry for entry in WORLD.results if entry[2]]
    print(f"{'all':22s} {len(WORLD.results):6d} {len(WORLD.results) - len(failed):6d}")
    if not arguments.work and not arguments.keep:
        shutil.rmtree(WORLD.base, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
