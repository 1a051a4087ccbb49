"""Faults planted in recorded candles: the ledger finds every kind."""

from bench.planting import FAULTS
from bench.quality import planted, recorded

# Nothing can tell a day that did not move from one that is out of its place.
SOMETIMES = {"days shifted by one, each the one after", "open and close swapped"}


def test_every_kind_of_planted_fault_is_found(market_data):
    names = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "LTCUSDT")
    folder = market_data / "klines" / "1d"
    candles = [recorded(folder / f"{name}.csv.gz") for name in names]
    found = planted(candles, 3, seed=1)
    assert len(found) == len(FAULTS) == 31
    always = {name for name, of in found.items() if of["found"] == of["planted"]}
    assert set(found) - always <= SOMETIMES
    assert all(found[name]["found"] for name in SOMETIMES)
