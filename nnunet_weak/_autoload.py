"""Tell nnU-Net where our trainers are, at interpreter start.

nnU-Net 2.8 looks for trainers in the folders of the environment variable `nnUNet_extTrainer`. A `.pth` file in
site-packages imports this module when Python starts; it appends the folder of shims, behind whatever the user has set.
It runs in every Python process of the environment: it imports nothing but `os` and cannot fail.
"""

import os

VARIABLE = "nnUNet_extTrainer"


def extend_search_path() -> None:
    """Append the folder of trainer shims to `nnUNet_extTrainer`, once."""
    shims = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trainer_shims")
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder.strip()]
    if shims not in folders:
        os.environ[VARIABLE] = os.pathsep.join([*folders, shims])


extend_search_path()
