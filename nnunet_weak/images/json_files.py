"""Text and JSON files of users and other programs, read within bounds, so that a damaged file gives a clear error."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError

MOST_BYTES = 64 << 20
_KINDS = {str: "a text", dict: "an object", int: "a whole number", list: "a list"}
MOST_LEVELS = 64
"""Arrays and objects inside each other."""


class InvalidJsonError(ValueError):
    """Raised by an `object_pairs_hook` that refuses an object; the text says why."""


def read_text(path: Path, most_bytes: int = MOST_BYTES, errors: str = "strict") -> str:
    """Content of a text file in UTF-8, with or without a byte order mark.

    Raises:
        InvalidInputError: It cannot be read, is larger than `most_bytes`, or is of another encoding.
    """
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise InvalidInputError(
                f"{path}: {size} bytes, more than the {most_bytes} of any sensible file of this kind "
                "(remedy: check that it is the right file, or split it)"
            )
        return path.read_text(encoding="utf-8-sig", errors=errors)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror} (remedy: check path and rights)") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: not a text in UTF-8: {error} (remedy: save or export it again)") from error


def load_json(
    path: Path, most_bytes: int = MOST_BYTES, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Content of a JSON file.

    Args:
        path: The file, in UTF-8.
        most_bytes: Its largest size.
        object_pairs_hook: As of `json.loads`; it may raise `InvalidJsonError`.

    Raises:
        InvalidInputError: As `read_text`; or it is not JSON, is nested deeper than `MOST_LEVELS`, or holds a number
            with thousands of digits or half of a surrogate pair, which no other program could print.
    """
    text = read_text(path, most_bytes)
    try:
        content = json.loads(text, object_pairs_hook=object_pairs_hook)
        if "\\ud" in text.lower():
            json.dumps(content, ensure_ascii=False).encode()
        reason = f"nested deeper than {MOST_LEVELS} levels" if _deeper_than(MOST_LEVELS, content) else ""
    except RecursionError:
        reason = f"nested deeper than {MOST_LEVELS} levels"
    except UnicodeEncodeError:
        reason = "a text holds half of a surrogate pair, \\ud800 to \\udfff, which is no character"
    except json.JSONDecodeError as error:
        reason = str(error)
    except InvalidJsonError as error:
        reason = str(error)
    except ValueError:  # the one other reason: Python's limit of 4,300 digits
        reason = "a number has thousands of digits"
    if reason:
        raise InvalidInputError(f"{path}: not valid JSON: {reason} (remedy: correct it, or export it again)")
    return content


def load_object(path: Path, *, most_bytes: int = MOST_BYTES, **kinds: type) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Args:
        path: The file.
        most_bytes: Its largest size.
        kinds: Keys that it must have, and of which type each value must be.

    Raises:
        InvalidInputError: As `load_json`; or it is no object, or a key is missing or of another type.
    """
    content = load_json(path, most_bytes)
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: holds no JSON object (remedy: take the file as nnU-Net wrote it)")
    for key, kind in kinds.items():
        if type(content.get(key)) is not kind:
            found = reprlib.repr(content[key]) if key in content else "missing"
            what = f'"{key}" must be {_KINDS[kind]}; it is {found}'
            raise InvalidInputError(f"{path}: {what} (remedy: take the file as nnU-Net wrote it)")
    return content


def _deeper_than(levels: int, content: Any) -> bool:
    level = [content]
    for _ in range(levels):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, (dict, list)) for item in level)
