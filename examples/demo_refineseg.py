"""RefineSeg from end to end on phantoms of long bones, on a CPU: `make demo METHOD=refineseg`.

Two simulated annotators draw the bones roughly, slice by slice: one what is there and what is not, the other, in a
hurry, what is there. The stock trainer learns from the first one's drawings, with everything blank ignored; RefineSeg
learns from all of them. Every step is a command that a user would type. The network is thin and the schedule short
(`examples/trainers/short_schedules.py`), so the figures show that everything works, not what the method can do.
"""

from __future__ import annotations

import sys

from demo_steps import demonstration

DATASET_ID, DATASET = "521", "Dataset521_BoneDrawings"
STOCK, TRAINER = "nnUNetTrainer_short", "nnUNetTrainerRefineSeg_short"


def main() -> int:
    demo = demonstration(__doc__, ".demo/refineseg")
    data, drawn, folder = demo.folder / "phantoms", demo.folder / "drawings", demo.folder
    demo.run("Phantoms: CT-like bones", f"nnunet_weak_make_phantoms {data} --cases 16 --test-cases 8")
    demo.run(
        "Two annotators draw roughly",
        f"nnunet_weak_simulate_drawings --references {data}/labels --classes proximal=1 shaft=2 distal=3 -o {drawn} "
        "--annotators anna=typical ben=hasty --negative",
    )
    demo.run(
        "An nnU-Net data set of images and drawings",
        f"nnunet_weak_convert_drawings --images {data}/images --positive anna={drawn}/positive_anna "
        f"--positive ben={drawn}/positive_ben --negative anna={drawn}/negative_anna "
        "--labels background=0 proximal=1 shaft=2 distal=3 --blank 4 --channel-names zscore "
        f"-d {DATASET_ID} -n BoneDrawings",
    )
    demo.run(
        "Planning and preprocessing",
        f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c 2d --verify_dataset_integrity -npfp {demo.cores} "
        f"-np {demo.cores}",
    )
    demo.run("The drawings too", f"nnunet_weak_preprocess_annotations -d {DATASET_ID}")
    demo.make_thin(DATASET)
    demo.as_channel_zero(data / "test" / "images", folder / "imagesTs")
    for step, trainer in (("Baseline: the stock trainer", STOCK), ("RefineSeg", TRAINER)):
        demo.run(step, f"nnUNetv2_train {DATASET_ID} 2d 0 -tr {trainer} -device cpu")
        demo.run(
            "Prediction of the held-out cases",
            f"nnUNetv2_predict -i {folder}/imagesTs -o {folder}/{trainer} -d {DATASET_ID} -c 2d -f 0 -tr {trainer} "
            "-device cpu",
        )
    model = demo.model(DATASET, TRAINER, "2d")
    demo.run("What was learned about the annotators", f"nnunet_weak_report_annotators -m {model} -device cpu")
    demo.run(
        "Held-out cases: RefineSeg against the stock trainer",
        f"nnunet_weak_evaluate {folder}/{TRAINER} {data}/test/labels --baseline stock={folder}/{STOCK} "
        f"--output {folder}/evaluation --labels proximal=1 shaft=2 distal=3 --report",
    )
    print(f"\nThe report: {folder}/evaluation/evaluation.html, the annotators: {model}/fold_0/annotators.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
