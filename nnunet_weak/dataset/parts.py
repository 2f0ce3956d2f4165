"""Split the cases of a command over machines, in nnU-Net's words: `-num_parts 4 -part_id 0` to `-part_id 3`.

Parts share nothing but the folder they write to, in which every case has files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from nnunet_weak.errors import Problems
from nnunet_weak.options import RUN, option, read_count

Case = TypeVar("Case")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Options of every command that can be split."""

    num_parts: int = option(
        "-num_parts",
        "--num_parts",
        default=1,
        group=RUN,
        read=partial(read_count, "-num_parts"),
        recorded=False,
        metavar="P",
        help="split the cases in P parts (default: %(default)s)",
    )
    part_id: int = option(
        "-part_id",
        "--part_id",
        default=0,
        group=RUN,
        read=partial(read_count, "-part_id", least=0),
        recorded=False,
        metavar="I",
        help="the part to do, from 0 (default: %(default)s)",
    )

    def check_part(self, problems: Problems) -> None:
        """Add the problem of a part that does not exist."""
        if not 0 <= self.part_id < self.num_parts:
            problems.add(f"-part_id {self.part_id}", f"parts are numbered from 0 to {self.num_parts - 1}", "choose one")

    def of(self, cases: Mapping[str, Case]) -> dict[str, Case]:
        """The cases of this part: every `num_parts`-th by name."""
        return {name: cases[name] for name in sorted(cases)[self.part_id :: self.num_parts]}


def without_parts(command: Sequence[str]) -> list[str]:
    """A command line without what splits it: the parts and their merge leave the record of a single run."""
    kept: list[str] = []
    skip = False
    for word in command:
        name = word.split("=")[0].lstrip("-") if word.startswith("-") else ""
        if skip:
            skip = False
        elif name in ("num_parts", "part_id", "num-parts", "part-id"):
            skip = "=" not in word
        elif name != "merge":
            kept.append(word)
    return kept
