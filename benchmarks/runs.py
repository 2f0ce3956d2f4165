"""Trainings by the commands of nnU-Net and of this package, one row of a table after the other.

A row is a data set, an annotation, a trainer and a seed; `rows.py` runs them one after the other. An interrupted
training continues at its last checkpoint. All rows have one schedule.

WORK/DATA holds the cases of a data set, annotations, nnU-Net's three folders, `predictions/`, `evaluation/` and
`logs/ROW.txt`, all output of the commands of a row, whose paths are relative to that folder.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

from benchmarks.data import DATA, Part, collect, patient_of, spread_over
from examples.command_folder import CommandFolder
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, processes_option, record_of

HERE = Path(__file__).resolve().parent
FOLD = "all"  # the held-out cases are in no fold

SCHEDULE = "schedule, the same for all results of a folder"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where trainings run, and their schedule."""

    data: Path = option(metavar="DIR", recorded=False, help="folder with a folder for each data set")
    work: Path = option(metavar="DIR", recorded=False, help="working folder; nothing complete in it is done again")
    results: Path = option(
        default=HERE / "results", metavar="DIR", recorded=False, help="folder of the results (default: %(default)s)"
    )
    rows: tuple[str, ...] = option(
        default=(),
        metavar="TEXT",
        recorded=False,
        help="only rows whose name contains one of these, in the order of these (default: all)",
    )
    seeds: tuple[int, ...] = option(default=(0,), recorded=False, help="one training for each (default: 0)")
    part: Part = option(default="test", group=SCHEDULE, help="measured cases (default: %(default)s)")
    most_cases: int | None = option(
        default=None, group=SCHEDULE, help="use the first so many training and held-out cases only"
    )
    epochs: int = option(default=20, group=SCHEDULE, help="(default: %(default)s)")
    iterations: int = option(default=100, group=SCHEDULE, help="per epoch (default: %(default)s)")
    learning_rate: float | None = option(default=None, group=SCHEDULE, help="(default: each trainer's own)")
    eta: float = option(
        default=2.0, group=SCHEDULE, help="SCORE's half width of the band, voxels (default: %(default)s)"
    )
    stock_adamw: bool = option(
        default=False, group=SCHEDULE, help="the stock trainer, too, takes AdamW at 1e-3: fewer steps than SGD needs"
    )
    configuration: str | None = option(default=None, group=SCHEDULE, help="2d or 3d_fullres (default: the data's)")
    features: int | None = option(default=None, group=SCHEDULE, help="of the first stage (default: as planned)")
    batch: int | None = option(default=None, group=SCHEDULE, help="samples of a step (default: as planned; SCORE: 1)")
    coarser: float | None = option(default=None, group=SCHEDULE, help="factor of the voxels' width in plane")
    without_mirroring: bool = option(default=False, group=SCHEDULE, help="when predicting")
    device: Literal["cuda", "cpu", "mps"] = option(default="cuda", group=SCHEDULE, help="(default: %(default)s)")
    processes: int | None = processes_option()
    jobs: int = option(
        default=1, recorded=False, help="rows at once, for a GPU and many cores (default: 1); they share the processes"
    )
    minutes: float | None = option(
        default=None,
        recorded=False,
        help="begin no row that would end later, if it took as long as others of its data (default: no limit)",
    )


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        data: A key of `data.DATA`.
        annotation: A key of `annotations.ANNOTATIONS`.
        trainer: Class without `nnUNetTrainer`; `Stock` is nnU-Net's own; empty: the masks that the annotation holds.
        seed: Of the training.
    """

    data: str
    annotation: str
    trainer: str
    seed: int = 0

    @property
    def name(self) -> str:
        """File name of its results."""
        return "-".join([self.data, self.annotation, self.trainer or "untrained", str(self.seed)])


class DataFolder(CommandFolder):
    """WORK/DATA and the steps of a row in it.

    Rows may run at once, each in a thread with a folder of its own for the same data: what several need is made by the
    first of them, the others wait for it.

    Args:
        options: What is run.
        data: A key of `data.DATA`.
        log: Name of the file in `logs/`.
        variables: Further variables of the trainers, see `trainers/benchmark_trainers.py`.
    """

    _locks: ClassVar[dict[tuple[Path, str], threading.RLock]] = {}
    _numbers: ClassVar[dict[Path, dict[str, int]]] = {}

    def __init__(self, options: RunOptions, data: str, log: str = "log", **variables: object) -> None:
        super().__init__(
            options.work / data,
            HERE / "trainers",
            max(1, (options.processes or os.cpu_count() or 1) // options.jobs),
            nnUNet_compile="f",  # takes longer than it saves in a short schedule
            OMP_NUM_THREADS=1,
            BENCHMARK_EPOCHS=options.epochs,
            BENCHMARK_ITERATIONS=options.iterations,
            BENCHMARK_ETA=options.eta,
            BENCHMARK_ADAMW=int(options.stock_adamw),
            **({"BENCHMARK_LEARNING_RATE": options.learning_rate} if options.learning_rate else {}),
            **variables,
        )
        self.options, self.data = options, DATA[data]
        self.raw = self.folder / "nnUNet_raw"
        self.configuration = options.configuration or self.data.configuration
        self.log = self.folder / "logs" / f"{log}.txt"
        self.log.parent.mkdir(exist_ok=True)
        with self.only_one("collect"):
            self._check_schedule()
            self.counts = collect(self.data, options.data / data, self.folder, options.part, options.most_cases)

    def only_one(self, product: str) -> threading.RLock:
        """Context in which no other row of this data makes this product."""
        return self._locks.setdefault((self.folder, product), threading.RLock())

    def once(self, product: str, write: Callable[[Path], None]) -> str:
        """A file or folder that the first row which needs it writes; returns its name."""
        with self.only_one(product):
            if not (self.folder / product).exists():
                write(self.folder / product)
        return product

    def make(self, product: str, command: str, show: bool = True) -> None:
        """Run a command unless its product is there. Only for products that appear complete or not at all."""
        self.once(product, lambda _: self.run(command, show))

    def number(self, name: str) -> int:
        """Number of a data set: its own where it has been made, else the next one from 541."""
        with self.only_one("number"):
            numbers = self._numbers.setdefault(self.folder, {})
            numbers |= {path.name[11:]: int(path.name[7:10]) for path in self.raw.glob("Dataset*_*")}
            return numbers.setdefault(name, max(numbers.values(), default=540) + 1)

    def dataset(self, name: str) -> str:
        """`Dataset541_full`."""
        return f"Dataset{self.number(name):03d}_{name}"

    def plan(self, name: str) -> None:
        """Plan, lighter where asked for, and preprocess, once."""
        dataset, number = self.dataset(name), self.number(name)
        complete = self.folder / "nnUNet_preprocessed" / dataset / "complete"
        if complete.exists():
            return
        self.run(
            f"nnUNetv2_plan_and_preprocess -d {number} -c {self.configuration} --verify_dataset_integrity "
            f"-npfp {self.processes} --no_pp",
            show=False,
        )
        wanted = {key: getattr(self.options, key) for key in ("features", "batch", "coarser")}
        self.thin_plan(dataset, " ".join(f"--{key} {value}" for key, value in wanted.items() if value))
        self.run(f"nnUNetv2_preprocess -d {number} -c {self.configuration} -np {self.processes}", show=False)
        if (self.raw / dataset / "annotationsTr").exists():
            self.run(f"nnunet_weak_preprocess_annotations -d {number} -np {self.processes}")
        complete.touch()

    def train(self, name: str, trainer: str, seed: int = 0) -> str:
        """Train on a data set, or continue; returns the model's folder."""
        trainer = self.trainer(trainer, seed)
        model = f"nnUNet_results/{self.dataset(name)}/{trainer}__nnUNetPlans__{self.configuration}"
        self.once(
            f"{model}/fold_{FOLD}/checkpoint_final.pth",
            lambda _: self.run(
                f"nnUNetv2_train {self.dataset(name)} {self.configuration} {FOLD} -tr {trainer} "
                f"-device {self.options.device} --c",
                show=False,
                BENCHMARK_SEED=seed,
                BENCHMARK_THREADS=self.processes,
                nnUNet_n_proc_DA=self.processes - 1,
            ),
        )
        return model

    def predict(
        self, name: str, trainer: str, seed: int = 0, images: str = "imagesTs", probabilities: bool = False
    ) -> str:
        """Predict images in nnU-Net's names; returns the folder of the label maps."""
        folder = f"predictions/{name}-{trainer}-{seed}-{images.replace('/', '-')}"
        pool = int(self.processes > 1)  # of reading and of writing; 0: in the predicting process
        switches = " --disable_tta" * self.options.without_mirroring + " --save_probabilities" * probabilities

        def run(complete: Path) -> None:
            self.run(
                f"nnUNetv2_predict -i {images} -o {folder} -d {self.dataset(name)} -c {self.configuration} -f {FOLD} "
                f"-tr {self.trainer(trainer, seed)} -device {self.options.device} -npp {pool} -nps {pool}{switches}",
                show=False,
                BENCHMARK_SEED=seed,
            )
            complete.touch()

        self.once(f"{folder}/complete", run)
        return folder

    def refine(self, model: str, output: str, seed: int) -> str:
        """Refine the held-out initial masks, whatever the result; returns the folder of the label maps."""
        switches = "--allow-new-regions --no-fall-back" + " --disable_tta" * self.options.without_mirroring
        self.run(
            f"nnunet_weak_refine -i held_out/images --masks held_out/initial_masks -m {model} -o {output} -f {FOLD} "
            f"-device {self.options.device} --continue_prediction {switches}",
            BENCHMARK_SEED=seed,
        )
        return output

    def evaluate(self, name: str, predictions: str) -> list[dict[str, Any]]:
        """Metrics of the held-out cases: a record for each case and label."""
        output = f"evaluation/{name}"
        self.run(
            f"nnunet_weak_evaluate {predictions} held_out/labels --name {name} --labels {self.data.labels} "
            f"--output {output} -np {self.processes}"
        )
        return json.loads((self.folder / output / "evaluation.json").read_text())["cases"]

    def largest_components(self, name: str, predictions: str) -> str:
        """Keep the largest component of each class, as nnU-Net does it; returns the folder of the label maps."""
        kept, rule = f"predictions/{name}-largest", self.folder / "predictions" / "largest.pkl"
        numbers = range(1, len(self.data.classes) + 1)
        keep = [remove_all_but_largest_component_from_segmentation] * len(numbers)
        with self.only_one("largest.pkl"):
            rule.write_bytes(pickle.dumps((keep, [{"labels_or_regions": number} for number in numbers])))
        self.run(
            f"nnUNetv2_apply_postprocessing -i {predictions} -o {kept} -pp_pkl_file {rule} -np {self.processes}",
            show=False,
        )
        return kept

    def write_stock(self, name: str, labels: str, values: Mapping[str, int]) -> None:
        """A raw data set without anything of this package, of the cases that a folder has label maps of."""
        folder = self.raw / self.dataset(name)
        if (folder / "dataset.json").exists():
            return
        files = sorted((self.folder / labels).glob("*.nii.gz"))
        names = [path.name for path in files]
        self.copy_as_channel_zero("train/images", f"nnUNet_raw/{folder.name}/imagesTr", names)
        (folder / "labelsTr").mkdir(exist_ok=True)
        for path in files:
            shutil.copyfile(path, folder / "labelsTr" / path.name)
        content = {"channel_names": {"0": self.data.channel}, "labels": dict(values), "numTraining": len(files)}
        (folder / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}, indent=2))

    def labels_of_few(self, patients: int) -> str:
        """Folder with the labels of so many training patients, evenly spread over their numbers."""

        def link(few: Path) -> None:
            labels = sorted((self.folder / "train" / "labels").glob("*.nii.gz"))
            numbers = sorted({patient_of(path.name) for path in labels})
            chosen = spread_over(numbers, patients)
            few.mkdir()
            for path in labels:
                if patient_of(path.name) in chosen:
                    (few / path.name).symlink_to(path.resolve())

        return self.once(f"train/labels_{patients}", link)

    def channel_zero(self, place: str) -> str:
        """Folder with the images of `train` or `held_out` in nnU-Net's names."""
        name = {"train": "imagesTr", "held_out": "imagesTs"}[place]
        return self.once(name, lambda _: self.copy_as_channel_zero(f"{place}/images", name))

    @staticmethod
    def trainer(name: str, seed: int) -> str:
        """Class in `trainers/benchmark_trainers.py`; the seed keeps model folders apart."""
        return f"nnUNetTrainer{name}_benchmark" + (f"_seed{seed}" if seed else "")

    def _check_schedule(self) -> None:
        path, schedule = self.folder / "schedule.json", json.dumps(record_of(self.options), indent=2)
        if path.exists() and path.read_text() != schedule:
            raise InvalidInputError(f"{path}: is another schedule (remedy: choose another --work)")
        path.write_text(schedule)
