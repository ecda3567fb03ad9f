"""The figures of counts, and how they are written and drawn."""

from __future__ import annotations

import math
import statistics

import pytest

from gunicorn_raindrops.watcher.aggregate import Aggregate, number_text

DRAWN = """\
value |------------------------------------------------------------------| count
    1 |@@@@@@@@@@@@@@@@@@@@@@                                            |    29
    2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@                     |    58
    4 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|    84
      ~
Total |------------------------------------------------------------------|   171
"""


def of(*numbers: int) -> Aggregate:
    aggregate = Aggregate()
    for number in numbers:
        aggregate.add(number)
    return aggregate


def test_figures() -> None:
    """Count, ends, mean, deviation of a sample, and zeros as low outliers."""
    numbers = [0, 0, 3, 5, 70, 1000]
    one = of(*numbers)
    assert (one.count, one.min, one.max, one.sum) == (6, 0, 1000, 1078)
    assert one.mean == statistics.mean(numbers)
    assert one.std_dev == pytest.approx(statistics.stdev(numbers))
    assert (one.outliers_low, one.outliers_high) == (2, 0)
    assert of(2**127 - 1, 2**127).outliers_high == 1


def test_few() -> None:
    """Of none there are no figures, of one there is no deviation, of equal ones it is 0."""
    none = Aggregate()
    assert (none.count, none.min, none.max) == (0, None, None)
    assert math.isnan(none.mean)
    assert math.isnan(none.std_dev)
    assert math.isnan(of(7).std_dev)
    assert of(*[94906267] * 3).std_dev == 0.0  # its square is no float


def test_a_copy_is_independent() -> None:
    one = of(1, 2)
    other = one.copy()
    one.add(3)
    assert (other.count, str(other)) == (2, str(of(1, 2)))


def test_drawing() -> None:
    """Rows of powers of two, as wide as a terminal; a gap is one tilde; zeros are not drawn."""
    assert str(of(*(i % 7 for i in range(200)))) == DRAWN
    assert [line.split()[0] for line in str(of(1, 9, 2**20)).splitlines()] == [
        "value", "1", "~", "8", "~", "1048576", "~", "Total"
    ]  # fmt: skip
    assert {len(line) for line in str(of(1, 2**20)).splitlines() if "|" in line} == {80}
    assert str(of(1, 1, 2)).count("@") == 3
    assert str(of(0, 0)) == str(Aggregate()) == "Empty histogram"


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (3, "3"), (math.nan, "NaN"), (1 / 3, "0.3333333333333333"), (1e-05, "1.0e-05"),
     (1.5e-05, "1.5e-05"), (1e16, "1.0e+16"), (2.0, "2.0")],
)  # fmt: skip
def test_numbers_are_written_as_ruby_does(number: float | None, text: str) -> None:
    assert number_text(number) == text
