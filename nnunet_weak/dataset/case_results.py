"""What a converter found out about a case, as JSON: parts of a conversion hand it over to the merge.

Text, numbers, tuples, mappings, paths, NumPy arrays and dataclasses of this package become JSON and the same again,
bit for bit. Reading a file makes such objects and runs nothing else that it may name.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak.errors import InvalidInputError

_PACKAGE = "nnunet_weak."


def to_json(value: Any) -> Any:
    """Encode a value.

    Raises:
        TypeError: Of a type that has no encoding.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [to_json(item) for item in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if is_dataclass(value) and type(value).__module__.startswith(_PACKAGE):
        kind = type(value)
        return {
            "dataclass": [kind.__module__, kind.__qualname__],
            "fields": {entry.name: to_json(getattr(value, entry.name)) for entry in fields(value) if entry.init},
        }
    raise TypeError(f"{type(value)} has no encoding")


def from_json(content: Any) -> Any:
    """Decode what `to_json` made.

    Raises:
        InvalidInputError: Anything else.
    """
    try:
        return _decode(content)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise InvalidInputError(f"no result of a converter: {error}") from error


def _decode(content: Any) -> Any:
    if not isinstance(content, dict):
        if isinstance(content, list):
            raise ValueError("a list without its type")
        return content
    if "array" in content:
        array = np.frombuffer(base64.b64decode(content["array"]), np.dtype(content["dtype"]))
        return array.reshape(content["shape"]).copy()
    if "path" in content:
        return Path(content["path"])
    for name, kind in (("tuple", tuple), ("list", list)):
        if name in content:
            return kind(_decode(item) for item in content[name])
    if "mapping" in content:
        return {_decode(key): _decode(item) for key, item in content["mapping"]}
    module, name = content["dataclass"]
    if not module.startswith(_PACKAGE):
        raise ValueError(f"{module} is no module of this package")
    kind = getattr(importlib.import_module(module), name)
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise ValueError(f"{module}.{name} is no dataclass")
    return kind(**{key: _decode(value) for key, value in content["fields"].items()})
