"""The figure of all three methods shows the case of the median gain, and the annotation's minutes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.axes import Axes

from benchmarks import before_after
from nnunet_weak.errors import InvalidInputError


def write(path: Path, width: int, value: int = 1) -> None:
    """A box that is so wide."""
    voxels = np.zeros((4, 16, 16), np.uint8)
    voxels[1:3, 2:14, 2 : 2 + width] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))


@pytest.fixture
def work(tmp_path: Path) -> list[Path]:
    """Two working folders which together have all rows; the gains of five cases differ."""
    first, second = tmp_path / "first", tmp_path / "second"
    for kind in ("images", "labels", "initial_masks"):
        write(first / "train" / kind / "case9.nii.gz", 12)
    for kind in ("positive_anna", "negative_anna"):
        write(second / "drawings" / kind / "case9.nii.gz", 5)
    clicks = ["case,annotator,clicks", "case9,anna,60", "case9,anna,30", "case9,ben,99", "case8,anna,900"]
    (second / "drawings" / "effort.csv").write_text("\n".join(clicks))
    corners = np.array([[2, 2, 1], [13, 2, 1], [2, 13, 1], [13, 13, 2], [7, 7, 2]], float)
    rows = "".join(f"{x},{y},{z}\n" for x, y, z in corners)
    (second / "points_25_spread").mkdir()
    (second / "points_25_spread" / "case9_mandible.csv").write_text(f"l,p,s\n{rows}")
    for gain in (4, 0, 3, 1, 2):
        name = f"gain{gain}.nii.gz"
        for kind in ("images", "labels"):
            write(first / "held_out" / kind / name, 12)
        for number, row in enumerate(before_after.ROWS):
            root = first if number == 0 else second
            write(root / row.before[1] / name, 6)
            write(root / row.after[1] / name, 6 + gain)
    return [first, second]


def test_three_rows_of_the_median_case(work, tmp_path, monkeypatch, capsys):
    titles: list[str] = []
    set_title = Axes.set_title
    monkeypatch.setattr(
        Axes, "set_title", lambda axis, text, **how: titles.append(text) or set_title(axis, text, **how)
    )
    figure = tmp_path / "new" / "figure.png"
    monkeypatch.setattr(sys, "argv", ["x", "--work", *map(str, work), "--figure", str(figure)])
    before_after.main()
    assert figure.stat().st_size > 1000
    assert capsys.readouterr().out.count("4 of 5 better") == 3
    assert [title for title in titles if "min" in title] == [
        "mask of a weak model\n0 min",
        "rough drawing\nabout 1.5 min",
        "25 points\nabout 0.2 min",
    ]
    # 2 * 6 / (6 + 12) before; 2 * 8 / (8 + 12) after, of the case whose gain is the median of five
    assert [title.split()[-1] for title in titles if "Dice" in title] == ["0.67", "0.80"] * 3


def test_rows_that_were_not_run_are_named(work):
    with pytest.raises(InvalidInputError, match="without predictions/coarse-Stock-0-imagesTs"):
        before_after.find(work[:1], "predictions/coarse-Stock-0-imagesTs")
