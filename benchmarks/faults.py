"""What do commands leave behind when they are killed, the disk is full or read-only, or two of them run at once?

Every writing command gets small inputs and one undisturbed run, whose files are the expected result. Then

- kill: SIGKILL at random moments from shortly before the first file until the end; the same command again must give
  the same bytes, and leave nothing hidden;
- full: the disk is full after a tenth, two tenths ... of what the command writes; it must say so, end with exit code 2
  and leave nothing new (commands that work case by case: whole cases only); with more room, the same bytes;
- read-only: folders without the right to write, and a disk mounted read-only; exit code 2, the place is named, and
  nothing has changed;
- twice: two runs into the same place at once; one wins, the other ends well or says what is the matter, and the bytes
  are the same.

    python -m benchmarks.faults --work WORK
    python -m benchmarks.faults --work WORK --commands fuse prepare_inputs --kinds kill --moments 5

Full and read-only disks are small tmpfs, which only root may mount; other users skip them. What was done is kept in
WORK/results.json and not done again. `annotate`, which is a server, and `report_annotators`, which needs a training,
are not among the commands.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.options import option, parse, read_count

KINDS = ("kill", "full", "read-only", "twice")
VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TIMEOUT_SECONDS, ORPHANS_SECONDS = 300, 20
ROOM = 64 << 20  # of a disk that is not full, bytes

CHECKPOINT = """
import sys, torch
weights = {"decoder.seg_layers.0.bias": torch.zeros(3), "encoder.weight": torch.arange(40000.0)}
init_args = {"configuration": "3d_fullres"}
torch.save({"network_weights": weights, "trainer_name": "nnUNetTrainer", "init_args": init_args}, sys.argv[1])
"""
FITTING_CHECKPOINT = """
import json, sys, torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
plans, dataset = (json.load(open(sys.argv[1] + name)) for name in ("/nnUNetPlans.json", "/dataset.json"))
plans = PlansManager(plans)
torch.manual_seed(0)
network = nnUNetTrainer.build_network_architecture(plans, plans.get_configuration("2d"), 1,
    plans.get_label_manager(dataset).num_segmentation_heads, enable_deep_supervision=True)
torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}, sys.argv[2])
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    work: Path = option(metavar="DIR", help="working folder")
    bin: Path = option(default=Path(sys.executable).parent, metavar="DIR", help="of the commands (default: Python's)")
    commands: tuple[str, ...] = option(default=(), metavar="NAME", help="without nnunet_weak_ (default: all)")
    kinds: tuple[str, ...] = option(default=KINDS, choices=KINDS, help="faults (default: all)")
    moments: int = option(
        default=20, read=partial(read_count, "--moments"), help="of SIGKILL, for each command (default: %(default)s)"
    )
    disks: int = option(
        default=10, read=partial(read_count, "--disks"), help="sizes of full disks (default: %(default)s)"
    )
    pairs: int = option(default=4, read=partial(read_count, "--pairs"), help="of runs at once (default: %(default)s)")
    seed: int = option(default=0, help="of the moments (default: %(default)s)")


@dataclass(frozen=True)
class Job:
    """A command to disturb.

    Attributes:
        arguments: Its arguments; {inputs} is the folder of inputs, {place} that of this run.
        template: Folder of WORK that the place is a copy of: data sets that the command reads or changes.
        by_case: Whether complete cases stay after a failure.
        again: Whether a further run after a complete one is refused, as the output exists.
        processes: As many processes as it is given; 0 where it has no such option.
    """

    arguments: str
    template: str = "empty"
    by_case: bool = False
    again: bool = False
    processes: int = 1


JOBS = {
    "make_phantoms": Job("{place}/out/p --cases 3 --test-cases 1 --size 20 20 26", again=True),
    "simulate_scores": Job("--references {inputs}/labels --masks {inputs}/initial_masks --dataset-json {inputs}/"
                           "dataset.json -o {place}/out/s.csv", again=True),
    "simulate_drawings": Job("--references {inputs}/labels --dataset-json {inputs}/dataset.json -o {place}/out/d",
                             again=True),
    "simulate_points": Job("--references {inputs}/labels --dataset-json {inputs}/dataset.json -o {place}/out/p",
                           again=True),
    "simulate_slices": Job("--references {inputs}/labels --dataset-json {inputs}/dataset.json --slices 3 "
                           "-o {place}/out/l", again=True),
    "convert_scores": Job("--images {inputs}/images --masks {inputs}/initial_masks --scores {inputs}/scores.csv "
                          "--regions proximal=1 shaft=2 distal=3 --prior local -d 511 -n B", again=True, processes=2),
    "convert_drawings": Job("--images {inputs}/images --positive anna={inputs}/drawings/positive_anna --labels "
                            "background=0 proximal=1 shaft=2 distal=3 --blank 4 -d 521 -n Drawings", again=True),
    "convert_points": Job("--images {inputs}/images --points {inputs}/points --classes proximal shaft distal -d 531 "
                          "-n Points", again=True),
    "fuse": Job("-d 521 -o 541 -n Fused", "drawings", again=True),
    "add_weights": Job("-d 541 --voxel-weights {inputs}/weights --class-weights shaft=2", "stock", again=True),
    "prepare_inputs": Job("-i {inputs}/images --masks {inputs}/initial_masks -m 511 -o {place}/out/imagesTs", "scores",
                          by_case=True),
    "preprocess_annotations": Job("-d 521", "planned", by_case=True),
    "evaluate": Job("{inputs}/initial_masks {inputs}/labels --report --images {inputs}/images --output {place}/out/e"),
    "set_threshold": Job("-m {place}/nnUNet_results/model --gamma 0.4", "model", processes=0),
    "add_input_channels": Job("-chk {inputs}/stock.pth -d 521 -c 2d -o {place}/out/wider.pth", "planned", again=True,
                              processes=0),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(Options, argv, prog="benchmarks.faults", description=__doc__.split("\n\n")[0])
    unknown = set(options.commands) - set(JOBS)
    if unknown:
        raise InvalidInputError(f"--commands {' '.join(sorted(unknown))}: known are {', '.join(JOBS)}")
    os.environ["OMP_NUM_THREADS"] = "1"
    work = options.work.absolute()
    names = options.commands or tuple(JOBS)
    results = Results(work / "results.json")
    for name in names:
        numbers = {"kill": options.moments, "full": options.disks, "read-only": 2, "twice": options.pairs}
        kinds = [kind for kind in options.kinds if results.good(name, kind) < numbers[kind]]
        if not kinds:
            continue
        make_inputs(work, options.bin, {JOBS[name].template})
        bench = Bench(work, options.bin, name)
        for kind in kinds:
            for key, trial in TRIALS[kind](bench, options):
                results.run(f"{name}/{kind}/{key}", trial)
    print_table(results, names, options.kinds)
    return 1 if results.failures(names, options.kinds) else 0


# ------------------------------------------------------------------------------------------------ inputs
def run_quietly(*command: str | Path, **variables: str) -> None:
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def folders_of(place: Path) -> dict[str, str]:
    return {name: str(place / name) for name in VARIABLES}


def make_inputs(work: Path, programs: Path, templates: set[str]) -> None:
    """Phantoms with annotation, and the data sets that commands begin with; what is there is not made again."""
    inputs = work / "inputs"
    if not (inputs / "complete").exists():
        shutil.rmtree(inputs, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        run_quietly(programs / "nnunet_weak_make_phantoms", inputs, "--cases", "5", "--test-cases", "0", "--size", "22",
                    "20", "28", "-np", "1")  # fmt: skip
        labels = {"background": 0, "proximal": 1, "shaft": 2, "distal": 3}
        (inputs / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
        for what in ("drawings", "points"):
            source = ("--references", inputs / "labels", "--dataset-json", inputs / "dataset.json", "-np", "1")
            run_quietly(programs / f"nnunet_weak_simulate_{what}", *source, "-o", inputs / what)
        shutil.copytree(inputs / "initial_masks", inputs / "weights")
        (inputs / "complete").touch()
    converted = {"scores": "convert_scores", "drawings": "convert_drawings", "stock": "fuse", "planned": ""}
    for template in templates:
        folder = work / "templates" / template
        if (folder / "complete").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        for name in (*VARIABLES, "out"):
            (folder / name).mkdir(parents=True)
        if template in ("stock", "planned"):
            make_inputs(work, programs, {"drawings"})
            shutil.copytree(work / "templates/drawings/nnUNet_raw", folder / "nnUNet_raw", dirs_exist_ok=True)
        if converted.get(template):
            name = converted[template]
            arguments = JOBS[name].arguments.format(inputs=inputs, place=folder).split()
            run_quietly(programs / f"nnunet_weak_{name}", *arguments, "-np", "1", **folders_of(folder))
        if template == "stock":  # an ordinary data set
            for path in (folder / "nnUNet_raw").glob("Dataset541_*/dataset.json"):
                content = json.loads(path.read_text())
                path.write_text(json.dumps({key: value for key, value in content.items() if key != "nnunet_weak"}))
        elif template == "planned":
            variables = {**folders_of(folder), "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
            plan = ("nnUNetv2_plan_and_preprocess", "-d", "521", "-c", "2d", "-npfp", "1", "-np", "1")
            run_quietly(programs / plan[0], *plan[1:], **variables)
            (planned,) = (folder / "nnUNet_preprocessed").iterdir()
            run_quietly(programs / "python", "-c", FITTING_CHECKPOINT, planned, inputs / "stock.pth")
        elif template == "model":
            model = folder / "nnUNet_results/model"
            (model / "fold_0").mkdir(parents=True)
            (model / "dataset.json").write_text('{"labels": {"background": 0, "bone": 1}}')
            (model / "plans.json").write_text('{"dataset_name": "Dataset511_Bones"}')
            run_quietly(programs / "python", "-c", CHECKPOINT, model / "fold_0/checkpoint_final.pth")
        (folder / "complete").touch()


# ------------------------------------------------------------------------------------------------ runs
@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    text: str
    problem: str = ""


class Bench:
    """One command, its undisturbed run, and places to disturb others at."""

    def __init__(self, work: Path, programs: Path, name: str) -> None:
        self.work, self.programs, self.name, self.job = work, programs.absolute(), name, JOBS[name]
        self.place = work / "place"
        self.unmount()
        self.prepare()
        before = self.content()
        process, started, first = self.start(), time.monotonic(), None
        while process.poll() is None:
            if first is None and self.content() != before:
                first = time.monotonic() - started
            time.sleep(0.02)
        self.seconds = time.monotonic() - started
        self.first_seconds = first if first is not None else self.seconds / 2
        ended = self.wait(process)
        if ended.code:
            raise RuntimeError(f"{name} failed undisturbed:\n{ended.text}")
        self.before, self.expected = before, self.content()

    def prepare(self, size: int | None = None) -> None:
        """Make the place anew, on a disk of its own where a size in bytes is given."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        if size is not None:
            run_quietly("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.place)
        shutil.copytree(self.work / "templates" / self.job.template, self.place, dirs_exist_ok=True)
        (self.place / "complete").unlink()

    def unmount(self) -> None:
        while os.path.ismount(self.place):
            run_quietly("umount", self.place)

    def start(self, *before: str, place: Path | None = None) -> subprocess.Popen[bytes]:
        place = place or self.place
        arguments = self.job.arguments.format(inputs=self.work / "inputs", place=place).split()
        processes = ("-np", str(self.job.processes)) if self.job.processes else ()
        temporary = self.work / "tmp"
        temporary.mkdir(exist_ok=True)
        log = temporary / "log.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*before, self.programs / f"nnunet_weak_{self.name}", *arguments, *processes],
                env={**os.environ, **folders_of(place), "TMPDIR": str(temporary)},
                cwd=temporary,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        log.rename(temporary / f"{process.pid}.txt")
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> Ended:
        """Wait for a process and its workers, which end by themselves."""
        problem, log = "", self.work / f"tmp/{process.pid}.txt"
        try:
            process.wait(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            problem = "it hangs"
        deadline = time.monotonic() + ORPHANS_SECONDS
        while session_members(process.pid) and not problem:
            if time.monotonic() > deadline:
                problem = "workers go on after their parent has ended"
            time.sleep(0.05)
        if problem:
            os.killpg(process.pid, signal.SIGKILL)
        ended = Ended(process.wait(), log.read_text(errors="replace"), problem)
        log.unlink()
        return ended

    def run(self, *before: str) -> Ended:
        return self.wait(self.start(*before))

    def content(self) -> dict[str, str]:
        """SHA-256 of every file of the place, hidden ones too; "" for folders."""
        found = {}
        for top, folders, files in os.walk(self.place):
            for name in (*folders, *files):
                path = Path(top, name)
                try:
                    digest = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
                except OSError:
                    continue  # a file of a run that goes on
                found[str(path.relative_to(self.place))] = digest
        return found

    def check_again(self) -> str:
        """Run the command undisturbed where it was disturbed; what is wrong with the result."""
        complete = self.content() == self.expected
        ended = self.run()
        if ended.problem:
            return ended.problem
        if ended.code and not (complete and self.job.again and ended.code == 2):
            return f"the same command again ended with {ended.code}: {last_line(ended.text)}"
        return difference(self.content(), self.expected)


def session_members(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[3]) == session and stat[0] != "Z":
                found.append(int(entry.name))
    return found


def difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """What differs between two contents of a place; "" where nothing does."""
    parts = {
        "left": set(found) - set(expected),
        "missing": set(expected) - set(found),
        "other": {name for name in set(found) & set(expected) if found[name] != expected[name]},
    }
    return "; ".join(f"{what}: {', '.join(sorted(names)[:3])} ({len(names)})" for what, names in parts.items() if names)


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.replace("\r", "\n").splitlines()) if line.strip()), "")[:200]


# ------------------------------------------------------------------------------------------------ faults
Trial = Callable[[], tuple[str, str]]
"""Returns what was wrong, "" for nothing, and what happened."""


def kill_trials(bench: Bench, options: Options) -> Iterator[tuple[str, Trial]]:
    chance = random.Random(f"{options.seed} {bench.name}")
    begin = 0.8 * bench.first_seconds
    for number in range(options.moments):
        yield str(number), partial(kill_and_repeat, bench, begin + chance.random() * (bench.seconds - begin))


def kill_and_repeat(bench: Bench, seconds: float) -> tuple[str, str]:
    for _ in range(6):
        bench.prepare()
        process = bench.start()
        time.sleep(seconds)
        process.kill()
        ended = bench.wait(process)
        if ended.code == -signal.SIGKILL:
            break
        seconds *= 0.75  # it ended before, as the computer was busier when the undisturbed run was timed
    found = bench.content()
    state = "complete" if found == bench.expected else "nothing yet" if found == bench.before else "half-way"
    if ended.problem:
        return ended.problem, state
    return bench.check_again(), state if ended.code == -signal.SIGKILL else "ended before"


def full_trials(bench: Bench, options: Options) -> Iterator[tuple[str, Trial]]:
    if os.geteuid():
        return
    for number in range(options.disks):
        yield str(number), partial(fill_and_repeat, bench, (number + 0.5) / options.disks)


def fill_and_repeat(bench: Bench, share: float) -> tuple[str, str]:
    try:
        bench.prepare(ROOM)
        used, peak = used_bytes(bench.place), 0
        process = bench.start()
        while process.poll() is None:
            peak = max(peak, used_bytes(bench.place))
            time.sleep(0.003)
        bench.wait(process)
        peak = max(peak, used_bytes(bench.place))
        bench.unmount()
        bench.prepare(ROOM)
        page = os.sysconf("SC_PAGE_SIZE")
        size = used + int(share * (peak - used)) // page * page
        run_quietly("mount", "-o", f"remount,size={size}", bench.place)
        ended = bench.run()
        found, problem = bench.content(), ""
        if ended.code == 0:
            return difference(found, bench.expected), "it fitted"
        if ended.code != 2 or "Traceback" in ended.text or not re.search("No space left|disk is full", ended.text):
            problem = f"ended with {ended.code}: {last_line(ended.text)}"
        elif bench.job.by_case:
            left = {name for name, digest in found.items() if bench.expected.get(name) != digest}
            problem = f"left: {', '.join(sorted(left)[:3])}" if left else ""
        else:
            problem = difference(without_new_folders(found, bench.before), bench.before)
        run_quietly("mount", "-o", f"remount,size={ROOM}", bench.place)
        return problem or bench.check_again(), "full"
    finally:
        bench.unmount()


def without_new_folders(found: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """An empty output folder is no harm."""
    return {name: digest for name, digest in found.items() if digest or name in before or name.startswith(".")}


def used_bytes(disk: Path) -> int:
    stat = os.statvfs(disk)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def read_only_trials(bench: Bench, options: Options) -> Iterator[tuple[str, Trial]]:
    if not os.geteuid():
        yield "disk", partial(write_to_read_only, bench, True)
    if os.geteuid() or shutil.which("setpriv"):
        yield "rights", partial(write_to_read_only, bench, False)


def write_to_read_only(bench: Bench, disk: bool) -> tuple[str, str]:
    obedient = () if os.geteuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    try:
        bench.prepare(ROOM if disk else None)
        with read_only(bench.place, disk):
            ended = bench.run(*(() if disk else obedient))
        problem = difference(bench.content(), bench.before)
        if ended.code != 2 or "Traceback" in ended.text:
            problem = f"ended with {ended.code}: {last_line(ended.text)}"
        elif not re.search("ermission|ead-only", ended.text) or str(bench.place) not in ended.text:
            problem = f"unclear: {last_line(ended.text)}"
        return problem or bench.check_again(), ""
    finally:
        bench.unmount()


@contextmanager
def read_only(place: Path, disk: bool) -> Iterator[None]:
    folders = [Path(top) for top, *_ in os.walk(place)]
    if disk:
        run_quietly("mount", "-o", "remount,ro", place)
    else:
        for folder in folders:
            folder.chmod(0o555)
    try:
        yield
    finally:
        if disk:
            run_quietly("mount", "-o", "remount,rw", place)
        for folder in folders:
            folder.chmod(0o755)


def twice_trials(bench: Bench, options: Options) -> Iterator[tuple[str, Trial]]:
    chance = random.Random(f"{options.seed} {bench.name} twice")
    for number in range(options.pairs):
        delay = 0.0 if number == 0 else chance.random() * bench.seconds
        yield str(number), partial(run_twice, bench, delay)


def run_twice(bench: Bench, delay: float) -> tuple[str, str]:
    bench.prepare()
    first, ended = bench.start(), []
    reader = threading.Thread(target=lambda: ended.append(bench.wait(first)))
    reader.start()
    time.sleep(delay)
    ended.append(bench.wait(bench.start()))
    reader.join()
    codes = sorted(each.code for each in ended)
    problem = difference(bench.content(), bench.expected)
    if any("Traceback" in each.text for each in ended) or codes not in ([0, 0], [0, 2]):
        problem = f"ended with {codes}: {' | '.join(last_line(each.text) for each in ended)}"
    elif codes == [0, 0] and bench.job.again:
        problem = "both succeed where the second must not replace what the first made"
    return problem, f"exit codes {codes}"


TRIALS = {"kill": kill_trials, "full": full_trials, "read-only": read_only_trials, "twice": twice_trials}


# ------------------------------------------------------------------------------------------------ results
class Results:
    """Outcome of each trial, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}

    def run(self, key: str, trial: Trial) -> None:
        """Make a trial that has not been made; failed ones are made again."""
        if key in self.outcomes and not self.outcomes[key][0]:
            return
        problem, state = trial()
        self.outcomes[key] = [problem, state]
        print(f"{'FAIL' if problem else 'ok  '} {key:36} {state:14} {problem}", flush=True)
        with atomic_file(self.path) as partial_file:
            partial_file.write_text(json.dumps(self.outcomes, indent=1) + "\n")

    def of(self, name: str, kind: str) -> list[list[str]]:
        return [outcome for key, outcome in self.outcomes.items() if key.startswith(f"{name}/{kind}/")]

    def good(self, name: str, kind: str) -> int:
        return sum(not problem for problem, _ in self.of(name, kind))

    def failures(self, names: Sequence[str], kinds: Sequence[str]) -> int:
        return sum(bool(problem) for name in names for kind in kinds for problem, _ in self.of(name, kind))


def print_table(results: Results, names: Sequence[str], kinds: Sequence[str]) -> None:
    print(f"\n| command | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for name in names:
        cells = []
        for kind in kinds:
            outcomes, good = results.of(name, kind), results.good(name, kind)
            half_way = sum(state == "half-way" for _, state in outcomes)
            cells.append(f"{good} of {len(outcomes)}{f', {half_way} half-way' if half_way else ''}")
        print(f"| `{name}` | {' | '.join(cells)} |")
    total = sum(len(results.of(name, kind)) for name in names for kind in kinds)
    print(f"\n{total - results.failures(names, kinds)} of {total} trials ended well.")


if __name__ == "__main__":
    sys.exit(main())
