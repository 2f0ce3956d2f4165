"""The figure of cases before and after shows the quartiles of the change."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks import before_after


def test_the_cases_at_the_quartiles_are_drawn(tmp_path: Path, monkeypatch, capsys):
    held_out, drawn = tmp_path / "held_out", []
    for gain in (4, 0, 3, 1, 2):
        for folder, size in (
            (held_out / "images", 12),
            (held_out / "labels", 12),
            (held_out / "initial_masks", 6),
            (tmp_path / "refined", 6 + gain),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            voxels = np.zeros((4, 16, 16), np.uint8)
            voxels[1:3, 2:14, 2 : 2 + size] = 1
            sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / f"gain{gain}.nii.gz"))
    figure = tmp_path / "new" / "figure.png"
    monkeypatch.setattr(sys, "argv", ["x", "--work", str(tmp_path), "--refined", "refined", "--figure", str(figure)])
    show = before_after.show
    monkeypatch.setattr(before_after, "show", lambda *arguments: (drawn.append(arguments[-1]), show(*arguments)))
    before_after.main()
    assert drawn == ["gain1", "gain2", "gain3"] * 2
    assert figure.stat().st_size > 1000 and "4 better" in capsys.readouterr().out
