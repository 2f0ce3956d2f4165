"""Classes of a data set as users name them: `liver=1 spleen=2,3`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nnunet_weak.errors import Problems
from nnunet_weak.options import read_assignments

Classes = dict[str, tuple[int, ...]]

_RANGE = re.compile(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^\w .+()-]")  # as of regions
_LARGEST_VALUE = 65535
_FORM = f"NAME or NAME=VALUE,VALUE with values from 1 to {_LARGEST_VALUE}, liver=1 or ribs=3-14 for example"


def parse_classes(texts: Sequence[str], option: str = "--classes") -> Classes:
    """Read the name of each class and its values in reference label maps; the class itself has the number of its place.

    Args:
        texts: `NAME`, which has the value of its place, from 1; or `NAME=VALUE` with one value, or several
            values and ranges (`3-14`) that are separated by commas.
        option: The option, for messages.

    Raises:
        InvalidInputError: A name or value that is given twice, another form, or a name that nnU-Net reserves.
    """
    problems = Problems()
    classes: Classes = {}
    for place, (name, values) in enumerate(read_assignments(option, texts, _FORM).items(), start=1):
        ranges = [_RANGE.fullmatch(part) for part in (values or str(place)).split(",")]
        numbers = [n for found in ranges if found for n in range(int(found[1]), int(found[2] or found[1]) + 1)]
        if not all(ranges) or not 1 <= min(numbers, default=0) <= max(numbers) <= _LARGEST_VALUE:
            problems.add(f"{option} {name}={values}", f"is not {_FORM}")
        elif name in ("background", "ignore"):
            problems.add(f"{option} {name}", "the name has its own meaning in nnU-Net", "choose another name")
        elif bad := sorted(set(_NOT_IN_NAMES.findall(name))):
            what = f"the name contains {' '.join(bad)}, and it becomes a part of names of files"
            problems.add(f"{option} {name}", what, "choose letters, digits, blanks and . _ - + ( )")
        else:
            classes[name] = tuple(numbers)
    owners: dict[int, list[str]] = {}
    for name, known in classes.items():
        for value in known:
            owners.setdefault(value, []).append(name)
    for value, names in sorted(owners.items()):
        if len(names) > 1:
            what = f"the value {value} belongs to {' and '.join(dict.fromkeys(names))}"
            problems.add(option, what, "write the values, NAME=VALUE, for all classes")
    problems.raise_if_any("Classes")
    return classes
