"""SCORE and SCOREPlus on real initial masks: Dice, HD95 and paired tests on held-out cases.

    python benchmarks/score_refinement.py WORK --images DIR --labels DIR --masks DIR --regions RV=1 LV=2 \
        --prior posterior --configuration 2d --device cpu

Files are named alike in the three folders; the first number in a name is the patient's. Patients whose number leaves
the remainder of `--hold-out MODULO:REMAINDER` are held out, patients of `--leave-out` (those that the model behind the
masks was trained on) are in neither part. Scores are simulated from the labels of the training cases; the labels are
used for nothing else there. Nothing is tuned on the held-out cases. Each step is a command that a user would type; what
is complete in WORK is not done again. Tables and reports: WORK/evaluation_*.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "ScoreBenchmark"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    for name in ("images", "labels", "masks"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--regions", nargs="+", required=True, help="NAME=LABEL, in labels and masks alike")
    parser.add_argument("--prior", default="posterior")
    parser.add_argument("--mm-per-point", type=float, default=0.5, help="of the simulated scores")
    parser.add_argument("--eta", type=float, default=2.0, help="half the width of the correction band, in voxels")
    parser.add_argument("--configuration", default="3d_fullres", choices=("2d", "3d_fullres"))
    parser.add_argument("--hold-out", default="4:1", metavar="MODULO:REMAINDER")
    parser.add_argument("--leave-out", type=int, nargs="*", default=[])
    parser.add_argument("--methods", nargs="+", default=["SCOREPlus", "SCORE"])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=60, help="per epoch, one sample each")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the paper's is 1e-4, for long schedules")
    parser.add_argument("--features", type=int, help="of the first stage, for a CPU (default: as planned)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("-d", "--dataset", type=int, default=551)
    parser.add_argument("-np", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bench = Benchmark(arguments)
    bench.collect()
    bench.prepare()
    for method in arguments.methods:
        bench.refine(method)
    return 0


class Benchmark:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work = arguments.work.resolve()
        self.dataset = f"Dataset{arguments.dataset:03d}_{NAME}"
        folders = {name: self.work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        for path in folders.values():
            path.mkdir(parents=True, exist_ok=True)
        self.raw, self.preprocessed, self.results = folders.values()
        self.environment = {
            **os.environ,
            **{name: str(path) for name, path in folders.items()},
            "nnUNet_extTrainer": str(HERE / "trainers"),
            "nnUNet_n_proc_DA": str(max(1, arguments.np - 1)),
            "nnUNet_compile": "f",  # compiling takes longer than it saves in a short schedule
            "SCORE_BENCHMARK_EPOCHS": str(arguments.epochs),
            "SCORE_BENCHMARK_ITERATIONS": str(arguments.iterations),
            "SCORE_BENCHMARK_ETA": str(arguments.eta),
            "SCORE_BENCHMARK_LR": str(arguments.learning_rate),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    def run(self, command: str, show: bool = False) -> None:
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        done = subprocess.run(shlex.split(command), env=self.environment, capture_output=True, text=True, check=False)
        with (self.work / "log.txt").open("a") as log:
            log.write(f"$ {command}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            sys.exit(f"failed with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        print(f"{done.stdout if show else ''}    {time.perf_counter() - start:.0f} s", flush=True)

    def collect(self) -> None:
        """Training and held-out cases into folders of their own."""
        modulo, remainder = map(int, self.arguments.hold_out.split(":"))
        counts, rows = {"train": 0, "test": 0}, ["case,patient"]
        for image in sorted(self.arguments.images.glob("*.nii.gz")):
            patient = int(re.findall(r"\d+", image.name)[0])
            if patient in self.arguments.leave_out:
                continue
            part = "test" if patient % modulo == remainder else "train"
            counts[part] += 1
            rows.append(f"{image.name.removesuffix('.nii.gz')},{patient}")
            for kind in ("images", "labels", "masks"):
                target = self.work / part / kind / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    shutil.copyfile(getattr(self.arguments, kind) / image.name, target)
        (self.work / "patients.csv").write_text("\n".join(rows) + "\n")
        print(f"{counts['train']} training cases, {counts['test']} held-out cases")

    def prepare(self) -> None:
        """Scores, raw data set, plans, preprocessed data."""
        plans_file = self.preprocessed / self.dataset / "nnUNetPlans.json"
        if (self.work / "prepared").exists():
            return
        train, regions = self.work / "train", " ".join(self.arguments.regions)
        processes, number = self.arguments.np, self.arguments.dataset
        self.run(
            f"nnunet_weak_simulate_scores --references {train}/labels --masks {train}/masks --images {train}/images "
            f"--regions {regions} --mm-per-point {self.arguments.mm_per_point} -o {self.work}/scores.csv --overwrite "
            f"-np {processes}",
            show=True,
        )
        self.run(
            f"nnunet_weak_convert_scores --images {train}/images --masks {train}/masks --scores {self.work}/scores.csv "
            f"--regions {regions} --prior {self.arguments.prior} --patients {self.work}/patients.csv "
            f"--channel-names MRI -d {number} -n {NAME} --overwrite -np {processes}"
        )
        self.run(
            f"nnUNetv2_plan_and_preprocess -d {number} -c {self.arguments.configuration} --verify_dataset_integrity "
            f"-npfp {processes} -np {processes}"
        )
        if self.arguments.features:
            thin = HERE.parent / "examples" / "thin_plan.py"
            self.run(f"{sys.executable} {thin} {self.dataset} --features {self.arguments.features}")
        configuration = json.loads(plans_file.read_text())["configurations"][self.arguments.configuration]
        print(f"patch {configuration['patch_size']}, spacing {configuration['spacing']}")
        (self.work / "prepared").touch()

    def refine(self, method: str) -> None:
        """Train, prepare the held-out cases, predict, evaluate against the initial masks."""
        number, configuration = self.arguments.dataset, self.arguments.configuration
        trainer = f"nnUNetTrainer{method}_benchmark"
        model = self.results / self.dataset / f"{trainer}__nnUNetPlans__{configuration}"
        test, refined = self.work / "test", self.work / f"refined_{method}"
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            self.run(f"nnUNetv2_train {number} {configuration} 0 -tr {trainer} -device {self.arguments.device}")
        self.run(
            f"nnunet_weak_prepare -i {test}/images --masks {test}/masks -m {model} -o {self.work}/imagesTs "
            f"-np {self.arguments.np}"
        )
        self.run(
            f"nnUNetv2_predict -i {self.work}/imagesTs -o {refined} -d {number} -c {configuration} -f 0 -tr {trainer} "
            f"-device {self.arguments.device} --continue_prediction"
        )
        self.run(
            f"nnunet_weak_evaluate {refined} {test}/labels --baseline initial={test}/masks --name {method} "
            f"--labels {self.raw}/{self.dataset}/dataset.json --patients {self.work}/patients.csv "
            f"--output {self.work}/evaluation_{method} --report -np {self.arguments.np}",
            show=True,
        )


if __name__ == "__main__":
    sys.exit(main())
