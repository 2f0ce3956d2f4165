from __future__ import annotations

from pathlib import Path

import pytest
from score_study import ScoreStudy


@pytest.fixture
def study(nnunet_folders: Path) -> ScoreStudy:
    return ScoreStudy(nnunet_folders)
