from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from nnunet_weak.tables import csv_text, plain_text


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@SUM(A1)", "\t=1", "=cmd|'/c calc'!A0"])
def test_formulas_become_text(text):
    cells = next(csv.reader(io.StringIO(csv_text([text], []), newline="")))
    assert cells == [f"'{text}"] and plain_text(cells[0]) == text
    assert plain_text("'tis") == "'tis" and plain_text("'-3") == "'-3"


def test_numbers_and_names_stay_as_they_are():
    rows = [["case_1", -1.5, np.float64(-0.25), "-3.5", "a=b", None, math.nan, "1,2"]]
    expected = 'name,x,y,z,u,v,w,q\ncase_1,-1.5,-0.25,-3.5,a=b,,,"1,2"\n'
    assert csv_text(list("name x y z u v w q".split()), rows) == expected
