"""RefineSeg from end to end on phantoms of long bones, on a CPU: `make demo METHOD=refineseg`.

Two simulated annotators draw the bones roughly, slice by slice: one what is there and what is not, the other, in a
hurry, what is there. The stock trainer learns from the first one's drawings, with everything blank ignored;
RefineSegPlus learns from all of them. Every step is a command that a user would type in the demonstration's folder. The
network is thin and the schedule short (`examples/trainers/short_schedules.py`): the figures show that everything works,
and say nothing about the method.
"""

from __future__ import annotations

from command_folder import Demonstration

STOCK, TRAINER = "nnUNetTrainer_short", "nnUNetTrainerRefineSegPlus_short"
LABELS = "proximal=1 shaft=2 distal=3"


def main() -> None:
    demo = Demonstration(__doc__, ".demo/refineseg")
    demo.step("Phantoms: CT-like bones", "nnunet_weak_make_phantoms phantoms --cases 16 --test-cases 8")
    demo.step(
        "Two annotators draw roughly",
        f"nnunet_weak_simulate_drawings --references phantoms/labels --classes {LABELS} -o drawings "
        "--annotators anna=typical ben=hasty --negative",
    )
    demo.step(
        "An nnU-Net data set of images and drawings",
        "nnunet_weak_convert_drawings --images phantoms/images --positive anna=drawings/positive_anna "
        "--positive ben=drawings/positive_ben --negative anna=drawings/negative_anna "
        f"--labels background=0 {LABELS} --blank 4 --channel-names zscore -d 521 -n BoneDrawings",
    )
    demo.plan("Dataset521_BoneDrawings", "2d")
    demo.step("The drawings too", "nnunet_weak_preprocess_annotations -d 521")
    demo.copy_as_channel_zero("phantoms/test/images", "imagesTs")
    demo.train_and_predict("Baseline: the stock trainer", 521, "2d", STOCK)
    demo.train_and_predict("RefineSegPlus", 521, "2d", TRAINER)
    demo.step(
        "Held-out cases: RefineSegPlus against the stock trainer",
        f"nnunet_weak_evaluate {TRAINER} phantoms/test/labels --baseline stock={STOCK} --output evaluation "
        f"--labels {LABELS} --report",
    )
    print(f"\nThe report: {demo.folder}/evaluation/evaluation.html")


if __name__ == "__main__":
    main()
