"""Classes of a data set as users name them: `liver=1 spleen=2,3`."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_weak.errors import Problems
from nnunet_weak.options import read_assignments

Classes = dict[str, tuple[int, ...]]

_FORM = "NAME or NAME=VALUE,VALUE with values from 1, liver=1 for example"


def parse_classes(texts: Sequence[str], option: str = "--classes") -> Classes:
    """Read the name of each class and its values in reference label maps; the class itself has the number of its place.

    Args:
        texts: `NAME`, which has the value of its place, from 1; or `NAME=VALUE,VALUE` for one value or a union.
        option: The option, for messages.

    Raises:
        InvalidInputError: A name or value that is given twice, another form, or a name that nnU-Net reserves.
    """
    problems = Problems()
    classes: Classes = {}
    for place, (name, values) in enumerate(read_assignments(option, texts, _FORM).items(), start=1):
        numbers = [part.strip() for part in values.split(",")] if values else [str(place)]
        if not all(part.isdecimal() and int(part) > 0 for part in numbers):
            problems.add(f"{option} {name}={values}", f"is not {_FORM}")
        elif name in ("background", "ignore"):
            problems.add(f"{option} {name}", "the name has its own meaning in nnU-Net", "choose another name")
        else:
            classes[name] = tuple(map(int, numbers))
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
