from __future__ import annotations

import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.figures import slice_png
from nnunet_weak.evaluation.folders import evaluate_folders
from nnunet_weak.evaluation.labels import LabelScheme
from nnunet_weak.evaluation.paired_tests import compare
from nnunet_weak.evaluation.record import Evaluation, write_texts
from nnunet_weak.evaluation.report import report_html
from nnunet_weak.evaluation.summary import summarise


def image_of(value_at, size=(12, 20, 6), spacing=(1.5, 0.5, 4.0)):
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    for index in value_at:
        image[index] = 1
    return image


def test_pictures_that_cannot_be_drawn_are_noted(tmp_path):
    """The evaluation took its time: a missing or odd image must not lose the report."""
    for folder in ("ref", "new", "images"):
        (tmp_path / folder).mkdir()
    for case in ("a", "b", "c"):
        sitk.WriteImage(image_of([(3, 4, 2), (4, 4, 2)]), str(tmp_path / "ref" / f"{case}.nii.gz"))
        sitk.WriteImage(image_of([(4, 4, 2), (5, 4, 2)]), str(tmp_path / "new" / f"{case}.nii.gz"))
    sitk.WriteImage(image_of([]), str(tmp_path / "images" / "a.nii.gz"))
    sitk.WriteImage(image_of([], spacing=(1, 1, 1)), str(tmp_path / "images" / "b_0000.nii.gz"))
    labels = {"organ & rim": (1,)}
    frame = evaluate_folders({"new": tmp_path / "new"}, tmp_path / "ref", LabelScheme(labels))
    settings = {
        "version": "0",
        "method": "new",
        "methods": {"new": str(tmp_path / "new")},
        "reference": str(tmp_path / "ref"),
        "labels": labels,
        "nsd_tolerance_mm": 2.0,
    }
    none = compare(frame, "new", "new", "dice").iloc[:0]
    page = report_html(Evaluation(frame, summarise(frame), none, settings), tmp_path / "images")
    assert page.count("<figure>") == 5 + 1
    assert "b, organ &amp; rim: Dice 0.500: the image is not on the reference" in page
    assert "c, organ &amp; rim: Dice 0.500: no image in" in page
    assert "against baselines" not in page


def test_slice_shows_where_the_masks_differ_most():
    reference, prediction = image_of([(3, 4, 2)]), image_of([(3, 4, 2), (5, 6, 4)])
    png = slice_png(image_of([]), reference, prediction, (1,))
    assert png.startswith(b"\x89PNG")
    assert png != slice_png(image_of([]), reference, reference, (1,))
    with pytest.raises(InvalidInputError, match="grid"):
        slice_png(image_of([], size=(12, 20, 7)), reference, prediction, (1,))


def test_the_files_of_an_evaluation_are_written_all_or_not_at_all(tmp_path):
    write_texts(tmp_path, {"a.csv": "old"})
    with pytest.raises(UnicodeEncodeError):
        write_texts(tmp_path, {"a.csv": "new", "b.json": "new", "c.html": "\udcff"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.csv": "old"}
    write_texts(tmp_path, {"a.csv": "new", "b.json": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.csv": "new", "b.json": "new"}
