from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import MOST_LEVELS, load_json


def test_content_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text('{"ä": [1, "\\ud83e\\uddb4"]}', encoding=encoding)
        assert load_json(path) == {"ä": [1, "\N{BONE}"]}
    path.write_text("[" * MOST_LEVELS + "]" * MOST_LEVELS)
    assert load_json(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON: Expecting"),
        (b"", "not valid JSON: Expecting value"),
        (b"[" * 1_000_000, "nested deeper than 64 levels|not valid JSON"),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), "nested deeper than 64 levels"),
        (b'{"a": ' * 70 + b"1" + b"}" * 70, "nested deeper than 64 levels"),
        (b"9" * 5000, "thousands of digits"),
        (rb'{"\uDFFF": 1}', "half of a surrogate pair"),
        (b'"\xff"', "not a text in UTF-8"),
        (b"[" + b"0," * 600 + b"0]", "1203 bytes, more than the 1000"),
    ],
)
def test_damaged_and_hostile_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    most_bytes = 1000 if "bytes" in message else 64 << 20
    with pytest.raises(InvalidInputError, match=message) as error:
        load_json(path, most_bytes)
    assert str(path) in str(error.value) and "remedy" in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="none.json: cannot be read: No such file"):
        load_json(tmp_path / "none.json")
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        load_json(tmp_path)
