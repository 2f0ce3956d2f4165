"""Options declared once make the parser, the help and the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import (
    option,
    parse,
    parser_of,
    processes_option,
    read_assignments,
    record_of,
    shorten_path,
)


@dataclass(frozen=True, kw_only=True)
class Example:
    images: Path = option("-i", metavar="DIR", help="images")
    names: tuple[str, ...] | None = option(default=None, help="names")
    scale: float = option(default=2.5, group="numbers", help="scale (default: %(default)s)")
    kind: Literal["one", "two"] = option(default="one", help="kind")
    previews: bool = option("--no-previews", default=True, recorded=False, help="none")
    folders: Mapping[str, str] = option(
        default=dict,
        action="append",
        read=partial(read_assignments, "--folders", form="NAME=DIR"),
        help="folders",
    )
    processes: int | None = processes_option()


def read(*argv: str) -> Example:
    return parse(Example, argv, prog="example")


def test_values_have_the_types_of_their_fields():
    options = read(
        "-i", "a/b", "--names", "x", "y", "--scale", "1", "--kind", "two", "--no-previews", "--folders", "a=b",
        "--folders", "c=d", "-np", "3",
    )  # fmt: skip
    assert options == Example(
        images=Path("a/b"),
        names=("x", "y"),
        scale=1.0,
        kind="two",
        previews=False,
        folders={"a": "b", "c": "d"},
        processes=3,
    )


def test_options_that_are_not_given_have_the_defaults_of_the_dataclass():
    assert read("--images", "a") == Example(images=Path("a"))


def test_help_tells_defaults_and_ends_with_how_a_command_runs():
    text = parser_of(Example, prog="example").format_help()
    assert "scale (default: 2.5)" in text and text.index("numbers:") < text.index("running:")


@pytest.mark.parametrize("count", ["0", "-3", "x", "1.5", "9" * 5000])
def test_a_number_of_processes_is_whole_and_positive(count: str):
    with pytest.raises(InvalidInputError, match="is not a whole number from 1"):
        read("-i", "a", f"-np={count}")


@pytest.mark.parametrize(("texts", "message"), [(("=b",), "is not NAME=DIR"), (("a=b", "a=c"), "a is b already")])
def test_assignments_that_cannot_be_read(texts: tuple[str, ...], message: str):
    with pytest.raises(InvalidInputError, match=message):
        read("-i", "a", *[f"--folders={text}" for text in texts])


def test_the_record_holds_what_decides_the_result_and_no_folders_of_this_machine():
    options = Example(images=Path("/data/anna/images"), folders={"a": "b"}, previews=False, processes=2)
    assert record_of(options) == {"images": "images", "scale": 2.5, "kind": "one", "folders": {"a": "b"}}


def test_arguments_without_the_folders_of_an_absolute_path():
    assert shorten_path("/data/anna/images") == "images"
    assert shorten_path("relative/images") == "relative/images"
    assert shorten_path("--prior=file=/data/p") == "--prior=file=p"
