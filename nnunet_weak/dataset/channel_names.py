"""Names of the image channels, which choose nnU-Net's normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nnunet_weak.errors import Problems

_AIR_HU = -200.0


class HasMinima(Protocol):
    """A case whose images were read."""

    @property
    def minima(self) -> tuple[float, ...]:
        """Lowest intensity of each image channel."""


def check_channel_names(names: Sequence[str] | None, image_channels: int, problems: Problems) -> None:
    """Check that there are as many names as channels; 0 channels are none to compare with."""
    if names is not None and image_channels and len(names) != image_channels:
        problems.add(
            f"--channel-names {' '.join(names)}",
            f"the images have {image_channels} channels",
            "name each channel once, in their order",
        )


def channel_names_from(checked: Sequence[HasMinima], given: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """Names of the image channels, guessed from the intensities where none were given, and remarks on them."""
    lowest = list(zip(*(case.minima for case in checked), strict=True))
    looks_like_ct = [max(minima) < _AIR_HU for minima in lowest]
    if given is None:
        names = tuple("CT" if ct else "MRI" for ct in looks_like_ct)
        return names, [
            f"Image channels taken as {', '.join(names)} from their lowest intensities, which chooses nnU-Net's "
            "normalisation; "
            "--channel-names overrules it"
        ]
    remarks = [
        f"Channel {index} is called {name}, but not all images hold air of -1000 HU: is it a CT?"
        for index, (name, ct) in enumerate(zip(given, looks_like_ct, strict=False))
        if name.casefold() == "ct" and not ct
    ]
    remarks += [
        f"Channel {index} is called {name}, but holds values below {_AIR_HU:g} in every image: CT normalisation "
        "needs the name CT"
        for index, (name, ct) in enumerate(zip(given, looks_like_ct, strict=False))
        if name.casefold() != "ct" and ct
    ]
    return tuple(given), remarks
