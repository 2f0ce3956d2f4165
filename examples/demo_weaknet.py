"""Weak-Net from end to end on phantoms of long bones, on a CPU: `make demo METHOD=weaknet`.

Twenty-five simulated clicks on the surface of each bone become a template, from which alone the networks learn; two of
sixteen cases are fully annotated, for validation and to calibrate the threshold. Every step is a command that a user
would type in the demonstration's folder. The network is thin and the schedule short
(`examples/trainers/short_schedules.py`): the figures show that everything works, and say nothing about the method.
"""

from __future__ import annotations

import shutil

from command_folder import Demonstration

STOCK, TRAINER = "nnUNetTrainer_short", "nnUNetTrainerWeakNet_short"
MODEL = f"nnUNet_results/Dataset531_BonePoints/{TRAINER}__nnUNetPlans__3d_fullres"
FULL_CASES = 2


def main() -> None:
    demo = Demonstration(__doc__, ".demo/weaknet")
    demo.step("Phantoms: CT-like bones", "nnunet_weak_make_phantoms phantoms --cases 16 --test-cases 6 --size 32 30 44")
    demo.step(
        "25 clicks on each bone",
        "nnunet_weak_simulate_points --references phantoms/labels --classes bone=1,2,3 -n 25 -o points",
    )
    references = demo.folder / "references"
    references.mkdir()
    for path in sorted((demo.folder / "phantoms" / "labels").iterdir())[:FULL_CASES]:
        shutil.copyfile(path, references / path.name)
    demo.step(
        "An nnU-Net data set of images and templates",
        "nnunet_weak_convert_points --images phantoms/images --points points --classes bone=1,2,3 "
        "--references references -d 531 -n BonePoints",
    )
    demo.plan("Dataset531_BonePoints", "3d_fullres")
    demo.copy_as_channel_zero("phantoms/test/images", "imagesTs")
    demo.train_and_predict("Baseline: the stock trainer on the templates", 531, "3d_fullres", STOCK)
    demo.step("Weak-Net", f"nnUNetv2_train 531 3d_fullres 0 -tr {TRAINER} -device cpu")
    demo.step("The best threshold", f"nnunet_weak_set_threshold -m {MODEL} --calibrate -device cpu")
    demo.step(
        "Prediction of the held-out cases",
        f"nnUNetv2_predict -i imagesTs -o {TRAINER} -d 531 -c 3d_fullres -f 0 -tr {TRAINER} -device cpu",
    )
    demo.step(
        "Held-out cases: Weak-Net against the stock trainer",
        f"nnunet_weak_evaluate {TRAINER} phantoms/test/labels --baseline stock={STOCK} --output evaluation "
        "--labels bone=1,2,3 --report",
    )
    print(f"\nThe report: {demo.folder}/evaluation/evaluation.html")
    print(f"The templates: {demo.folder}/nnUNet_raw/Dataset531_BonePoints/templates/previews")


if __name__ == "__main__":
    main()
