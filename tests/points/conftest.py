from __future__ import annotations

from pathlib import Path

import pytest
from point_study import PointStudy


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PointStudy:
    (tmp_path / "nnUNet_raw").mkdir()
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "nnUNet_raw"))
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    return PointStudy(tmp_path)
