"""Rows that are sent to a model: every shape that is taken, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from training.errors import InputRefused
from training.inputs import MAX_ROWS, check_rows

NAMES = ("radius", "texture")


@pytest.mark.parametrize(
    ("rows", "shape", "options"),
    [
        ([[1, 2, 3, 4]], (2, 2), {}),
        ([[[1, 2], [3, 4]]], (2, 2), {}),
        ([[[[1], [2]], [[3], [4]]]], (2, 2, 1), {}),
        (({"b": 2.0, "a": 1, "d": 4, "c": 3},), (4,), {"names": ("a", "b", "c", "d")}),
    ],
)
def test_a_row_is_flat_nested_or_named(rows: Any, shape: Any, options: Any) -> None:
    assert check_rows(rows, shape, **options) == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows is 0 rows, but must be a list of 1 to 256 rows."),
        ({}, "rows is an object ({})"),
        ([[0.0, 0.0]] * (MAX_ROWS + 1), "rows is 257 rows"),
        ([[1.0]], "rows[0] has 1 numbers, but this model takes 2."),
        ([[0, 0], 7], "rows[1] is a number (7), but must be a list of 2 numbers."),
        ([[1.0, "abc"]], "rows[0][1] is text ('abc'), but must be a finite number."),
        ([[1.0, True]], "rows[0][1] is true or false (True)"),
        ([[1.0, None]], "rows[0][1] is empty, but"),
        ([[float("nan"), 1]], "rows[0][0] is nan, but must be a finite number."),
        ([[1e39, 1]], "rows[0][0] is 1e+39"),
        ([{"radius": 1}], "rows[0]: this model also needs 'texture'."),
        ([{"radius": 1, "texture": 2, "x": 3}], "rows[0]: this model does not know 'x'."),
        ([{"radius": 1, "texture": "2"}], "rows[0]['texture'] is text ('2')"),
    ],
)
def test_what_is_wrong_is_named(rows: Any, message: str) -> None:
    with pytest.raises(InputRefused) as refused:
        check_rows(rows, (2,), names=NAMES)
    assert message in str(refused.value)


def test_shape_bounds_and_names() -> None:
    with pytest.raises(InputRefused, match=r"rows\[0\]\[1\] is 1 long, but must be a list of 2"):
        check_rows([[[0, 0], [0]]], (2, 2))
    with pytest.raises(InputRefused, match=r"has 3 numbers, but this model takes 4 \(2 × 2\)"):
        check_rows([[0, 0, 0]], (2, 2))
    with pytest.raises(InputRefused, match=r"is 1.5, but must be a number from 0 to 1"):
        check_rows([[0, 1.5]], (2,), bounds=(0.0, 1.0))
    with pytest.raises(InputRefused, match="the inputs of this model have no names"):
        check_rows([{"a": 1}], (2, 2))
