"""Weak-Net from end to end on phantoms of long bones, on a CPU: `make demo METHOD=weaknet`.

Twenty-five simulated clicks on the surface of each bone become a template, which is all that the networks learn from;
two of sixteen cases are fully annotated, so that there is something to validate and to calibrate the threshold on.
Every step is a command that a user would type. The network is thin and the schedule short
(`examples/trainers/short_schedules.py`), so the figures show that everything works, not what the method can do.
"""

from __future__ import annotations

import shutil
import sys

from demo_steps import demonstration

DATASET_ID, DATASET = "531", "Dataset531_BonePoints"
STOCK, TRAINER = "nnUNetTrainer_short", "nnUNetTrainerWeakNet_short"
FULL_CASES = 2


def main() -> int:
    demo = demonstration(__doc__, ".demo/weaknet")
    data, points, folder = demo.folder / "phantoms", demo.folder / "points", demo.folder
    demo.run("Phantoms: CT-like bones", f"nnunet_weak_make_phantoms {data} --cases 16 --test-cases 6 --size 32 30 44")
    demo.run(
        "25 clicks on each bone",
        f"nnunet_weak_simulate_points --references {data}/labels --classes bone=1,2,3 -n 25 -o {points}",
    )
    references = folder / "references"
    references.mkdir()
    for path in sorted((data / "labels").iterdir())[:FULL_CASES]:
        shutil.copyfile(path, references / path.name)
    demo.run(
        "An nnU-Net data set of images and templates",
        f"nnunet_weak_convert_points --images {data}/images --points {points} --classes bone=1,2,3 "
        f"--references {references} -d {DATASET_ID} -n BonePoints",
    )
    demo.run(
        "Planning and preprocessing",
        f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c 3d_fullres --verify_dataset_integrity -np {demo.cores}",
    )
    demo.make_thin(DATASET)
    demo.as_channel_zero(data / "test" / "images", folder / "imagesTs")
    for step, trainer in (("Baseline: the stock trainer on the templates", STOCK), ("Weak-Net", TRAINER)):
        demo.run(step, f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr {trainer} -device cpu")
        if trainer == TRAINER:
            model = demo.model(DATASET, TRAINER, "3d_fullres")
            demo.run("The best threshold", f"nnunet_weak_set_threshold -m {model} --calibrate -device cpu")
        demo.run(
            "Prediction of the held-out cases",
            f"nnUNetv2_predict -i {folder}/imagesTs -o {folder}/{trainer} -d {DATASET_ID} -c 3d_fullres -f 0 "
            f"-tr {trainer} -device cpu",
        )
    demo.run(
        "Held-out cases: Weak-Net against the stock trainer",
        f"nnunet_weak_evaluate {folder}/{TRAINER} {data}/test/labels --baseline stock={folder}/{STOCK} "
        f"--output {folder}/evaluation --labels bone=1,2,3 --report",
    )
    templates = demo.raw / DATASET / "templates"
    print(f"\nThe report: {folder}/evaluation/evaluation.html, the templates: {templates}/previews")
    return 0


if __name__ == "__main__":
    sys.exit(main())
