"""The matrix of canaries: what counts as caught, and that the docs show all of it."""

import re

import pytest
from places import ROOT

from bench.canaries import Outcome
from bench.canary_plants import CANARIES, Canary


def outcome(**found):
    canary = Canary("forgery", "a band moved", print, {"verify": "bands row", "explain": "bands"})
    return Outcome(canary, found)


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        ({"verify": {"bands row"}, "explain": {"bands"}}, []),
        ({"verify": {"bands data"}, "explain": {"bands"}}, ["verify: bands row"]),
        ({"verify": {"bands row", "signals row"}, "explain": set()}, ["explain: bands"]),
        ({}, ["verify: bands row", "explain: bands"]),
    ],
)
def test_a_canary_is_caught_by_all_that_must_name_it(found, missed):
    assert outcome(**found).missed == missed


def test_the_docs_show_every_canary_and_what_it_is_called():
    text = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\|[^|]*\| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE))
    for canary in CANARIES:
        shown = rows[canary.name]
        for name in canary.caught_by.get("verify", "").split():
            assert f"`{name}`" in shown, canary.name
        assert ("`anchor check`" in shown) == ("anchor" in canary.caught_by), canary.name


def test_canaries_have_names_of_their_own():
    names = [canary.name for canary in CANARIES]
    assert len(names) == len(set(names))
    assert all(canary.caught_by for canary in CANARIES)
