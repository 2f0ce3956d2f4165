"""Classes of a data set as users name them: `liver=1 spleen=2,3`."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_weak.errors import Problems

Classes = dict[str, tuple[int, ...]]


def parse_classes(texts: Sequence[str], option: str = "--classes") -> Classes:
    """Name of each class with its values in reference label maps; the class itself is numbered by its place, from 1.

    Args:
        texts: `NAME`, which has the value of its place; or `NAME=VALUE,VALUE` for one value or a union.
        option: What the user calls them, for messages.

    Raises:
        InvalidInputError: A name or value that is given twice, no such form, or the name of something else in nnU-Net.
    """
    problems = Problems()
    classes: Classes = {}
    for place, text in enumerate(texts, start=1):
        name, equals, values = text.partition("=")
        name = name.strip()
        numbers = [part.strip() for part in values.split(",")] if equals else [str(place)]
        if not name or not all(part.isdecimal() and int(part) > 0 for part in numbers):
            problems.add(
                f"{option} {text}", "is not NAME or NAME=VALUE,VALUE with values from 1", "liver=1, for example"
            )
        elif name in classes:
            problems.add(f"{option} {text}", f"{name} is named twice")
        elif name in ("background", "ignore"):
            problems.add(f"{option} {text}", f"{name} has its own meaning in nnU-Net", "choose another name")
        else:
            classes[name] = tuple(int(part) for part in numbers)
    given = [value for values in classes.values() for value in values]
    for value in sorted({value for value in given if given.count(value) > 1}):
        owners = " and ".join(name for name, values in classes.items() if value in values)
        problems.add(option, f"the value {value} belongs to {owners}", "write the values, NAME=VALUE, for all classes")
    problems.raise_if_any("Classes")
    return classes
