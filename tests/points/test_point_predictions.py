from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from point_study import CENTRES, PointStudy, ball, sphere_points
from scipy.ndimage import gaussian_filter

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.predictions import read_probabilities

LONG = ball(CENTRES["liver"]) | ball(np.array(CENTRES["liver"]) + (3, 0, 0))


def predictions(
    study: PointStudy, cases=("case_0", "case_1"), shape=LONG.shape, reader="SimpleITKIO", **labels
) -> Path:
    """What `nnUNetv2_predict --save_probabilities` leaves: here of a model that is fairly sure of a long object."""
    folder = study.folder / "predicted"
    folder.mkdir()
    content = {"labels": {"background": 0, "spleen": 1, "liver": 2} | labels}
    (folder / "dataset.json").write_text(json.dumps(content))
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": reader}))
    inside = gaussian_filter(np.where(LONG, 0.9, 0.1), 0.5)
    probabilities = np.stack([0.9 - inside, np.full_like(inside, 0.1), inside]).astype(np.float32)
    for case in cases:
        np.savez_compressed(folder / f"{case}.npz", probabilities=probabilities[:, : shape[0]])
    return folder


def test_templates_are_weighed_against_a_prediction(study: PointStudy):
    # The points say nothing of one end, the model does.
    body = sphere_points(CENTRES["liver"])
    body = body[body[:, 0] < CENTRES["liver"][0] + 2]
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver", points=body)
    overlap = {}
    for options in ((), ("--follow-prediction", str(predictions(study)))):
        assert study.convert("--classes", "liver", "--overwrite", *options) == 0
        template = study.labels("case_0") == 1
        overlap[bool(options)] = (template & LONG).sum() / (template | LONG).sum()
        assert template[ball(CENTRES["liver"], 3.0)].all()
    assert overlap[True] > overlap[False] + 0.03, overlap
    record = json.loads((study.raw / "conversion.json").read_text())
    assert record["options"]["follow_prediction"] == "predicted"
    assert "case_0.npz" in json.dumps(record) and str(study.folder) not in json.dumps(record)


def test_a_second_round_beside_references_says_what_its_agreement_is_worth(study: PointStudy, capsys):
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver")
    study.reference("case_0", 7 * ball(CENTRES["liver"]))
    references = ("--classes", "liver=7", "--references", str(study.folder / "references"))
    assert study.convert(*references, "--follow-prediction", str(predictions(study))) == 0
    said = capsys.readouterr().out
    assert "; too good if the model was trained on these" in said and "alone first" not in said
    assert np.array_equal(study.labels("case_0") == 1, ball(CENTRES["liver"]))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"cases": ["case_0"]}, "no probabilities of 1 of 2 cases: case_1"),
        ({"shape": (5,)}, "probabilities of shape (3, 5, 20, 24) (label, z, y, x), but labels and image need (3, 9,"),
        ({"reader": "NibabelIOWithReorient"}, "oriented differently"),
        ({"liver": [1, 2]}, "no label of its own for liver"),
    ],
)
def test_bad_predictions_are_named(study: PointStudy, capsys, given, message):
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver")
    assert study.convert("--classes", "liver", "--follow-prediction", str(predictions(study, **given))) != 0
    assert message in capsys.readouterr().err
    assert not study.raw.exists()


@pytest.mark.parametrize("spoil", ["compression", "header", "size", "magic", "NaN"])
def test_a_damaged_archive_is_refused(study: PointStudy, spoil):
    folder = predictions(study)
    path, image = folder / "case_1.npz", sitk.GetImageFromArray(LONG.astype(np.uint8))
    assert list(read_probabilities(path, ["liver"], image)) == ["liver"]
    content = path.read_bytes()
    if spoil == "compression":
        path.write_bytes(content[:200] + b"\xff" * 50 + content[250:])
    elif spoil == "header":
        np.savez(path, probabilities=np.zeros(3))
        path.write_bytes(path.read_bytes().replace(b"(3,)", b"((3,"))
    elif spoil == "magic":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("probabilities.npy", "no array")
    elif spoil == "NaN":
        np.savez(path, probabilities=np.full((3, *LONG.shape), np.nan, np.float32))
    else:
        np.savez_compressed(path, probabilities=np.zeros((3, *LONG.shape[:2], 10 * LONG.shape[2])))
    with pytest.raises(InvalidInputError, match="case_1.npz: holds no probabilities: .*remedy"):
        read_probabilities(path, ["liver"], image)


def test_a_folder_without_predictions_is_named(study: PointStudy, capsys):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    folder = predictions(study)
    (folder / "case_1.npz").write_bytes(b"not an archive")
    assert study.convert("--classes", "liver", "--follow-prediction", str(folder)) != 0
    assert "case_1.npz: holds no probabilities" in capsys.readouterr().err
    (folder / "dataset.json").unlink()
    assert study.convert("--classes", "liver", "--follow-prediction", str(folder)) != 0
    assert "holds no dataset.json that can be read" in capsys.readouterr().err
    assert study.convert("--classes", "liver", "--follow-image", "--templates", "liver=liver.stl") == 2
    assert "exclude each other" in capsys.readouterr().err
