"""Installation.

Everything static is in pyproject.toml. What stands here is what makes `-tr nnUNetTrainerSCORE` resolve without any
variable set by hand: a `.pth` file (and its successor from Python 3.15 on, a `.start` file, PEP 829) at the top of
site-packages, which at interpreter start appends the folder of trainer shims to nnU-Net's search path. See
`nnunet_weak/_autoload.py`.
"""

import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

START_FILES = ["nnunet_weak/nnunet_weak.pth", "nnunet_weak/nnunet_weak.start"]


class BuildWithStartFiles(build_py):
    """Puts the start files at the top of a wheel, beside the package."""

    def run(self) -> None:
        """Stock, and the start files."""
        super().run()
        if not self.editable_mode:
            for source, target in self._start_files():
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Stock, and the start files."""
        mine = [] if self.editable_mode else [target for _, target in self._start_files()]
        return [*super().get_outputs(include_bytecode), *mine]

    def _start_files(self) -> list[tuple[str, str]]:
        return [(source, str(Path(self.build_lib, Path(source).name))) for source in START_FILES]


class DistributionWithStartFiles(Distribution):
    """Also editable installs carry `data_files`, if the distribution says that it has data."""

    def has_data(self) -> bool:
        """Asked for by the editable_wheel command only."""
        return True


setup(
    distclass=DistributionWithStartFiles,
    cmdclass={"build_py": BuildWithStartFiles},
    packages=[
        *find_packages(include=["nnunet_weak", "nnunet_weak.*"]),
        "nnunet_weak.dataset_conversion",
        "nnunet_weak.trainers",
    ],
    package_dir={
        "nnunet_weak": "nnunet_weak",
        "nnunet_weak.trainers": "trainers",
        "nnunet_weak.dataset_conversion": "dataset_conversion",
    },
    # An editable install builds nothing, but copies data.
    data_files=[("../purelib", START_FILES)] if "editable_wheel" in sys.argv else [],
)
