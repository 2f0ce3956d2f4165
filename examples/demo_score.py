"""SCORE from end to end on phantoms of long bones, on a CPU: `make demo`.

Every step is a command that a user would type in the demonstration's folder; it is printed before it runs. Three things
are made small: the volumes (40 x 36 x 52 voxels), the network (8 features in the first stage) and the schedule, which
has a higher learning rate instead (`examples/trainers/short_schedules.py`). The held-out cases are used for the last
table only.
"""

from __future__ import annotations

from command_folder import Demonstration

TRAINER = "nnUNetTrainerSCORE_short"
MODEL = f"nnUNet_results/Dataset511_BonePhantoms/{TRAINER}__nnUNetPlans__3d_fullres"


def main() -> None:
    demo = Demonstration(__doc__, ".demo/score")
    demo.step(
        "Phantoms: CT-like bones, a coarse model's masks, quality scores",
        "nnunet_weak_make_phantoms phantoms --size 40 36 52 --preview phantoms.png",
    )
    demo.step(
        "An nnU-Net data set of images, masks and scores",
        "nnunet_weak_convert_scores --images phantoms/images --masks phantoms/initial_masks "
        "--scores phantoms/scores.csv --regions proximal=1 shaft=2 distal=3 --prior local -d 511 -n BonePhantoms",
    )
    demo.plan("Dataset511_BonePhantoms", "3d_fullres")
    demo.step("Training", f"nnUNetv2_train 511 3d_fullres 0 -tr {TRAINER} -device cpu")
    demo.step(
        "Refinement of the held-out masks",
        f"nnunet_weak_refine -i phantoms/test/images --masks phantoms/test/initial_masks -m {MODEL} -o refined "
        "-device cpu",
    )
    demo.step(
        "Held-out cases: refined masks against initial masks",
        "nnunet_weak_evaluate refined phantoms/test/labels --baseline initial=phantoms/test/initial_masks "
        "--output evaluation --labels proximal=1 shaft=2 distal=3 --report",
    )
    print(f"\nThe report: {demo.folder}/evaluation/evaluation.html")
    print(f"Curves of the loss terms: {demo.folder}/{MODEL}/fold_0/progress_loss_terms.png")


if __name__ == "__main__":
    main()
