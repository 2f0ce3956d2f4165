from __future__ import annotations

from pathlib import Path

import pytest
from drawing_study import DrawingStudy


@pytest.fixture
def drawings(nnunet_folders: Path) -> DrawingStudy:
    return DrawingStudy(nnunet_folders)
