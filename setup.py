"""Installation.

Everything static is in pyproject.toml. What stands here is what makes `-tr nnUNetTrainerSCORE` resolve without any
variable set by hand: a `.pth` file (and its successor from Python 3.15 on, a `.start` file, PEP 829) at the top of
site-packages, which at interpreter start appends the folder of trainer shims to nnU-Net's search path. See
`nnunet_weak/_autoload.py`.
"""

from setuptools import Distribution, find_packages, setup


class DistributionWithStartFiles(Distribution):
    """Also editable installs carry `data_files`, if the distribution says that it has data."""

    def has_data(self) -> bool:
        """Asked for by the editable_wheel command only."""
        return True


setup(
    distclass=DistributionWithStartFiles,
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
    data_files=[("../purelib", ["nnunet_weak/nnunet_weak.pth", "nnunet_weak/nnunet_weak.start"])],
)
