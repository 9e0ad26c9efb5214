"""What a notebook shows of predictions."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

import digitsum
from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import compose
from digitsum.display import Column, Table
from digitsum.predictions import SHOWN, Predictions


def test_predictions_show_their_strips() -> None:
    made = compose(load_digits("builtin"), 3, seed=4)
    page = digitsum.load("reader").predict(made.images)._repr_html_()
    assert page.count("<tr>") == 3
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s)))) for s in sources]
    assert np.array_equal(np.stack(shown), made.images)  # pixel for pixel
    assert f"= {made.sums[0]}, " in page


def test_many_predictions_without_strips_are_cut() -> None:
    values = np.arange(SHOWN + 1500)
    page = Predictions(value=values.astype(np.float32), sum=values)._repr_html_()
    assert page.count("<tr>") == SHOWN
    assert "<img" not in page
    assert f"<td>{SHOWN - 1} (value" in page
    assert "and 1,500 more" in page


def test_a_printed_table_does_nothing_to_a_terminal() -> None:
    odd = "a\x1b]0;title\x07\u202e\n"
    text = str(Table(odd, [Column(odd, [odd]), Column("n", ["1"])], note=odd))
    assert len(text.splitlines()) == 4
    assert text.replace("\n", "").isprintable()
    header, row = text.splitlines()[1:3]
    assert len(header) == len(row)  # the column is as wide as what is shown


def test_no_predictions() -> None:
    empty = Predictions(value=np.zeros(0, np.float32), sum=np.zeros(0, np.int64))
    assert empty._repr_html_() == "<table></table>"
