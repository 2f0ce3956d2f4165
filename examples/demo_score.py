"""SCORE from end to end on phantoms of long bones, on a CPU: `make demo`.

Every step is a command that a user would type; it is printed before it runs. Three things are made small: the volumes
(40 x 36 x 52 voxels), the network (8 features in the first stage) and the schedule, which has a higher learning rate
instead (`examples/trainers/short_schedules.py`). The held-out cases are used for the last table only.
"""

from __future__ import annotations

import sys

from demo_steps import demonstration

DATASET_ID, DATASET = "511", "Dataset511_BonePhantoms"
TRAINER = "nnUNetTrainerSCOREPlus_short"


def main() -> int:
    demo = demonstration(__doc__, ".demo/score")
    data, folder = demo.folder / "phantoms", demo.folder
    demo.run(
        "Phantoms: CT-like bones, a coarse model's masks, quality scores",
        f"nnunet_weak_make_phantoms {data} --size 40 36 52 --preview {data}.png",
    )
    demo.run(
        "An nnU-Net data set of images, masks and scores",
        f"nnunet_weak_convert_scores --images {data}/images --masks {data}/initial_masks --scores {data}/scores.csv "
        f"--regions proximal=1 shaft=2 distal=3 --prior local -d {DATASET_ID} -n BonePhantoms",
    )
    demo.run(
        "Planning and preprocessing",
        f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c 3d_fullres --verify_dataset_integrity -npfp {demo.cores} "
        f"-np {demo.cores}",
    )
    demo.make_thin(DATASET)
    demo.run("Training", f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr {TRAINER} -device cpu")
    model = demo.model(DATASET, TRAINER, "3d_fullres")
    demo.run(
        "Input channels of the held-out cases",
        f"nnunet_weak_prepare_inputs -i {data}/test/images --masks {data}/test/initial_masks -m {model} "
        f"-o {folder}/imagesTs",
    )
    demo.run(
        "Prediction",
        f"nnUNetv2_predict -i {folder}/imagesTs -o {folder}/refined -d {DATASET_ID} -c 3d_fullres -f 0 -tr {TRAINER} "
        "-device cpu",
    )
    demo.run(
        "Held-out cases: refined masks against initial masks",
        f"nnunet_weak_evaluate {folder}/refined {data}/test/labels --baseline initial={data}/test/initial_masks "
        f"--output {folder}/evaluation --labels {demo.raw}/{DATASET}/dataset.json --report",
    )
    print(f"\nThe report: {folder}/evaluation/evaluation.html")
    print(f"Curves of the loss terms: {model}/fold_0/progress_loss_terms.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
