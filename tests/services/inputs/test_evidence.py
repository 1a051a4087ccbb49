"""What is known of a symbol's days beside its candles, put together for a scan."""

from autonama_dagster.analytics.scan.quality.beside import copied
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.quality.rules import ERROR
from autonama_dagster.services.inputs.evidence import with_copies

TWO, THREE = ["AUSDT", "BUSDT"], ["AUSDT", "BUSDT", "CUSDT"]


def test_candles_in_common_are_added_where_they_are_not_known():
    known = {"AUSDT": Evidence(tuple(copied({1: THREE})))}
    found = with_copies(known, {"AUSDT": {1: TWO, 2: TWO}, "BUSDT": {2: TWO}})
    assert {symbol: [(f.day, f.rule) for f in of.findings] for symbol, of in found.items()} == {
        "AUSDT": [(1, "copied"), (2, "copied")],
        "BUSDT": [(2, "copied")],
    }
    first, second = found["AUSDT"].findings
    assert (first.seen["pairs"], second.seen["pairs"]) == (3, 2)  # what is known is not said anew
    assert second.severity == ERROR
    assert len(known["AUSDT"].findings) == 1
