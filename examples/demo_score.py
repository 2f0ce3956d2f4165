"""SCORE from end to end on phantoms of long bones, on a CPU: `make demo`.

Every step is a command that a user would type; it is printed before it runs. Two things are made small: the network is
thin (8 features in the first stage) and the schedule short with a higher learning rate
(`examples/trainers/short_schedules.py`). The held-out cases are used for the last table only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATASET_ID, DATASET = "511", "Dataset511_BonePhantoms"
TRAINER = "nnUNetTrainerSCOREPlus_short"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path(".demo/score"), help="everything goes there (default: %(default)s)"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    variables = {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in variables.values():
        Path(path).mkdir(parents=True)
    cores = str(os.cpu_count() or 1)
    environment = {
        **os.environ,
        **variables,
        "nnUNet_extTrainer": str(HERE / "trainers"),
        "nnUNet_n_proc_DA": cores,
        "nnUNet_def_n_proc": cores,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    data = folder / "phantoms"

    def run(step: str, command: str) -> None:
        print(f"\n=== {step}\n$ {command}", flush=True)
        start = time.perf_counter()
        log = folder / "log.txt"
        with log.open("a") as output:
            quiet = command.startswith("nnUNetv2")  # nnU-Net prints pages; ours are short
            done = subprocess.run(
                shlex.split(command),
                env=environment,
                stdout=output if quiet else None,
                stderr=output if quiet else None,
                check=False,
            )
        if done.returncode:
            print(log.read_text()[-3000:] if quiet else "", file=sys.stderr)
            sys.exit(f"failed with exit code {done.returncode}; all output of nnU-Net is in {log}")
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)

    run(
        "Phantoms: CT-like bones, a coarse model's masks, quality scores",
        f"nnunet_weak_make_phantoms {data} --preview {data}.png",
    )
    run(
        "An nnU-Net data set of images, masks and scores",
        f"nnunet_weak_convert_scores --images {data}/images --masks {data}/initial_masks --scores {data}/scores.csv "
        f"--regions proximal=1 shaft=2 distal=3 --prior local -d {DATASET_ID} -n BonePhantoms",
    )
    run(
        "Planning and preprocessing",
        f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c 3d_fullres --verify_dataset_integrity -np {cores}",
    )
    run("A thin network, for the CPU", f"{sys.executable} {HERE / 'thin_plan.py'} {DATASET}")
    run("Training", f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr {TRAINER} -device cpu")
    model = f"{variables['nnUNet_results']}/{DATASET}/{TRAINER}__nnUNetPlans__3d_fullres"
    run(
        "Input channels of the held-out cases",
        f"nnunet_weak_prepare -i {data}/test/images --masks {data}/test/initial_masks -m {model} -o {folder}/imagesTs",
    )
    run(
        "Prediction",
        f"nnUNetv2_predict -i {folder}/imagesTs -o {folder}/refined -d {DATASET_ID} -c 3d_fullres -f 0 -tr {TRAINER} -device cpu",
    )
    run(
        "Held-out cases: refined masks against initial masks",
        f"nnunet_weak_evaluate {folder}/refined {data}/test/labels --baseline initial={data}/test/initial_masks --output {folder}/evaluation "
        f"--labels {variables['nnUNet_raw']}/{DATASET}/dataset.json --report",
    )
    print(
        f"\nThe report: {folder}/evaluation/evaluation.html, curves of the loss terms: {model}/fold_0/progress_loss_terms.png"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
