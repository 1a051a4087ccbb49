import datetime as dt

import numpy as np
import pytest

from autonama_dagster.reports.charts.heatmap import correlation_heatmap
from autonama_dagster.reports.charts.names import short_names

DAY = dt.date(2023, 12, 9)


def tick_names(figure):
    return [t.get_text() for t in figure.axes[0].get_yticklabels()]


def image(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)


@pytest.fixture
def two_groups(make_pairs):
    """A, C, E move together, B, D, F too; the groups against each other. A-E is unknown."""
    symbols = [f"{name}USDT" for name in "ABCDEF"]
    side = np.array([1, -1, 1, -1, 1, -1])
    matrix = 0.8 * np.outer(side, side)
    matrix[0, 4] = matrix[4, 0] = np.nan
    return make_pairs(symbols, matrix)


def test_alike_members_stand_side_by_side_on_both_axes(drawn, two_groups):
    correlation_heatmap(two_groups, date=DAY)
    names = tick_names(drawn.figure)
    assert {frozenset(names[:3]), frozenset(names[3:])} == {frozenset("ACE"), frozenset("BDF")}
    assert [t.get_text() for t in drawn.figure.axes[0].get_xticklabels()] == names


def test_cells_are_the_pairs_and_the_diagonal_is_one(drawn, two_groups):
    correlation_heatmap(two_groups.sample(frac=1, random_state=1), date=DAY)
    cells, names = image(drawn.figure), tick_names(drawn.figure)
    at = names.index
    np.testing.assert_array_equal(cells, cells.T)
    np.testing.assert_array_equal(np.diag(cells), 1.0)
    assert cells[at("A"), at("C")] == 0.8
    assert cells[at("A"), at("B")] == -0.8
    assert np.isnan(cells[at("A"), at("E")])


def test_colours_are_centred_at_zero_with_opposite_ends_for_opposite_signs(drawn, two_groups):
    correlation_heatmap(two_groups, date=DAY)
    drawing = drawn.figure.axes[0].images[0]
    assert drawing.get_clim() == (-1, 1)
    low, middle, high = drawing.cmap(drawing.norm([-1.0, 0.0, 1.0]))[:, :3]
    assert middle.min() > 0.9
    assert low[0] > low[2]  # red
    assert high[2] > high[0]  # blue


def test_it_says_what_it_shows(drawn, two_groups):
    correlation_heatmap(two_groups, date=DAY, expected_high=0.25)
    words = drawn.words()
    assert "2023-12-09 UTC, 6 members" in words
    assert "14 of 14 pairs at or above 0.7 (either sign), 0.2 by chance" in words
    assert "daily log returns over the last 90 days" in words
    assert "fewer than 60 common days" in words


@pytest.mark.parametrize("size", [2, 30, 100])
def test_labels_are_legible_apart_and_on_the_page(drawn, make_pairs, size):
    random = np.random.default_rng(3)
    matrix = np.corrcoef(random.normal(size=(size, 90)))
    names = [f"COIN{i:03}XUSDT" for i in range(size)]
    correlation_heatmap(
        make_pairs(names, matrix), date=DAY, expected_high=1234.5, source_label="replay-estimated"
    )
    assert drawn.overlapping() == []
    assert drawn.outside() == []
    assert min(t.get_fontsize() for t in drawn.texts()) >= 5.5


@pytest.mark.parametrize("label", [None, "synthetic"])
def test_the_noisiest_matrix_of_100_members_stays_under_70_kb(make_pairs, label):
    random = np.random.default_rng(4)
    names = [f"COIN{i:03}USDT" for i in range(100)]
    pairs = make_pairs(names, random.uniform(-1, 1, (100, 100)))
    assert len(correlation_heatmap(pairs, date=DAY, source_label=label)) <= 70_000


def test_no_pairs_give_a_page_that_says_so(drawn, make_pairs):
    correlation_heatmap(make_pairs([], np.empty((0, 0))), date=DAY)
    assert "No pairs of members on this day." in drawn.words()
    assert "2023-12-09 UTC" in drawn.words()


def test_pairs_that_are_all_unknown_are_grey(drawn, make_pairs):
    correlation_heatmap(make_pairs(["AUSDT", "BUSDT"], np.full((2, 2), np.nan)), date=DAY)
    assert "2023-12-09 UTC, 2 members" in drawn.words().split("\n")


def test_a_name_in_another_script_is_drawn_without_a_warning(drawn, make_pairs):
    correlation_heatmap(make_pairs(["币安USDT", "BTCUSDT"], np.eye(2)), date=DAY)
    assert short_names(["币安USDT"])["币安USDT"] in tick_names(drawn.figure)
