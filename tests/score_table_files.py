"""Score tables as tests write and read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.table import ScoreTable, read_scores

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


def plain(table: ScoreTable) -> dict[str, dict[str, tuple[float, int]]]:
    return {
        case: {region: (score.quality, score.error) for region, score in regions.items()}
        for case, regions in table.scores.items()
    }


def write(tmp_path: Path, content: str | bytes, name: str = "scores.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(path: Path, **options: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_scores(path, **options)  # type: ignore[arg-type]
    return str(caught.value)
