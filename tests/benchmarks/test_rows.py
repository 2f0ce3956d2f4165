"""Rows run in the order asked for, several at once, within a budget; one that fails stops no other."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import few_cases, rows
from benchmarks.annotations import ANNOTATIONS
from benchmarks.rows import Clock, choose, run_rows
from benchmarks.runs import DataFolder, Row, RunOptions
from nnunet_weak.options import record_of

ROWS = [Row("acdc", annotation, "Stock") for annotation in ("full", "coarse", "few2")]


def options(tmp_path: Path, **changed: object) -> RunOptions:
    return RunOptions(data=tmp_path / "data", work=tmp_path / "work", results=tmp_path / "results", **changed)


def test_rows_come_in_the_order_asked_for_and_once(tmp_path: Path):
    asked = options(tmp_path, rows=("few2", "Stock-1"), seeds=(0, 1))
    names = [row.name for row in choose(ROWS, asked)]
    assert names == ["acdc-few2-Stock-0", "acdc-few2-Stock-1", "acdc-full-Stock-1", "acdc-coarse-Stock-1"]
    assert len(choose(ROWS, options(tmp_path, seeds=(0, 1)))) == 6


def test_a_row_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(row: Row, path: Path, options: RunOptions) -> dict:
        if row.annotation == "full":
            raise SystemExit("failed with exit code 1")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"schedule": record_of(options), "row": row.name}))
        return {}

    monkeypatch.setattr(rows, "_run", run)
    with pytest.raises(SystemExit, match=r"^failed: acdc-full-Stock-0$"):
        run_rows(ROWS, options(tmp_path))
    assert sorted(path.stem for path in (tmp_path / "results").iterdir()) == [
        "acdc-coarse-Stock-0",
        "acdc-few2-Stock-0",
    ]


def test_rows_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    meeting = threading.Barrier(3, timeout=30)

    def run(row: Row, path: Path, options: RunOptions) -> dict:
        meeting.wait()
        return {"row": row.name}

    monkeypatch.setattr(rows, "_run", run)
    assert len(run_rows(ROWS, options(tmp_path, jobs=3))) == 3


def test_no_row_begins_that_would_end_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = Clock(minutes=2)
    assert clock.has_time_for("acdc"), "nothing is known yet"
    with clock.measure("acdc"):
        now[0] += 50
    assert clock.has_time_for("acdc")
    now[0] += 30
    assert not clock.has_time_for("acdc") and clock.has_time_for("hippocampus")
    assert Clock(None).has_time_for("acdc")


def test_what_several_rows_need_gets_one_number(tmp_path: Path):
    (tmp_path / "data" / "acdc" / "images").mkdir(parents=True)
    first, second = (DataFolder(options(tmp_path, jobs=2), "acdc", log) for log in ("one", "two"))
    assert [first.number("a"), second.number("b"), second.number("a"), first.number("b")] == [541, 542, 541, 542]
    (first.raw / "Dataset600_c").mkdir()
    assert second.number("c") == 600 and first.number("d") == 601


def test_what_several_rows_need_is_written_once(tmp_path: Path):
    (tmp_path / "data" / "acdc" / "images").mkdir(parents=True)
    folders = [DataFolder(options(tmp_path, jobs=4), "acdc", f"row{number}") for number in range(4)]
    written = []

    def write(path: Path) -> None:
        path.mkdir()  # from now on it seems to be there
        time.sleep(0.1)
        (path / "content").touch()
        written.append(path)

    def need(folder: DataFolder) -> bool:
        return (folder.folder / folder.once("drawn", write) / "content").exists()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(need, folders))
    assert len(written) == 1


def test_figure_of_few_cases_takes_what_was_measured(tmp_path: Path):
    def write(data: str, annotation: str, trainer: str, seed: int, dice: float) -> None:
        row = {"data": data, "annotation": annotation, "trainer": trainer, "seed": seed}
        result = {"row": row, "metrics": [{"dice": dice}, {"dice": dice + 0.1}]}
        (tmp_path / f"{data}-{annotation}-{seed}.json").write_text(json.dumps(result))

    for data in few_cases.PANELS:
        write(data, "full", "Stock", 0, 0.8)
    write("acdc", "few5", "Stock", 0, 0.6)
    write("acdc", "few5", "Stock", 1, 0.7)
    dice = few_cases.dice_of_rows(tmp_path)
    assert dice["acdc", "few5", "Stock"] == pytest.approx([0.65, 0.75])
    few_cases.draw(dice, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    rows_of_figure = {
        row for panel in few_cases.PANELS.values() for curve in panel.curves.values() for row in curve.values()
    }
    assert all(annotation in ANNOTATIONS for annotation, _ in rows_of_figure)
