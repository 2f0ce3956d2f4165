"""nnU-Net's plans: read, and used so that damaged ones are named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import load_object

_REMEDY = "run nnUNetv2_plan_and_preprocess again, or copy the model folder again"


def read_plans(path: Path) -> dict[str, Any]:
    """Plans as nnU-Net wrote them.

    Raises:
        InvalidInputError: The file is damaged, or holds no configurations.
    """
    plans = load_object(path, dataset_name=str, plans_name=str, configurations=dict)
    for name, configuration in plans["configurations"].items():
        if not isinstance(configuration, dict):
            raise InvalidInputError(f"{path}: the configuration {name!r} is no object (remedy: {_REMEDY})")
    return plans


@contextmanager
def damaged_plans_named(*paths: Path) -> Iterator[None]:
    """Name the files that nnU-Net uses here, if it fails because an entry of its plans or `dataset.json` is wrong.

    Raises:
        InvalidInputError: It failed.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        named = " or ".join(map(str, paths))
        raise InvalidInputError(f"{named}: nnU-Net cannot use it ({reason}) (remedy: {_REMEDY})") from error
