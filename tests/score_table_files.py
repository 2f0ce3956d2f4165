"""Score tables as tests write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.regions import RegionSource
from nnunet_weak.scores.report import format_table
from nnunet_weak.scores.table import ScoreTable, read_scores

CASES = ("case_01", "case_02", "c1", "c2")
REGIONS = ("proximal", "shaft", "head", "neck", "a", "b", "c", "d")
LONG = """case,region,quality,error
case_01,proximal,3,under
case_01,shaft,5,none
case_02,proximal,4.5,over
case_02,shaft,1,both
"""
EXPECTED = {
    "case_01": {"proximal": (3.0, -1), "shaft": (5.0, 0)},
    "case_02": {"proximal": (4.5, 1), "shaft": (1.0, 2)},
}


def conversion(path: Path, regions: Sequence[str] = REGIONS, **options: Any) -> ScoreConversion:
    folders = {"images": Path("images"), "masks": Path("masks")}
    sources = tuple(RegionSource(name, (number,)) for number, name in enumerate(regions, start=1))
    return ScoreConversion(**folders, dataset_id=1, name="Bones", scores=path, regions=sources, **options)


def read(path: Path, cases: Sequence[str] = CASES, regions: Sequence[str] = REGIONS, **options: Any) -> ScoreTable:
    return read_scores(conversion(path, regions, **options), cases)


def shown(path: Path, cases: Sequence[str] = CASES, regions: Sequence[str] = REGIONS, **options: Any) -> str:
    asked = conversion(path, regions, **options)
    return format_table(asked, read_scores(asked, cases))


def plain(table: ScoreTable) -> dict[str, dict[str, tuple[float, int]]]:
    return {
        case: {region: (score.quality, int(score.error)) for region, score in scores.items()}
        for case, scores in table.scores.items()
    }


def write(tmp_path: Path, content: str | bytes, name: str = "scores.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(path: Path, **options: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(path, **options)
    return str(caught.value)
