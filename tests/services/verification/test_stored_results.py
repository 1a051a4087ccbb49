"""Result hashes that are not those of the stored rows, beside what recomputing found."""

import pandas as pd

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.services.verification.stored_results import with_other_results

DAY = pd.Timestamp("2024-01-01")


def found(**kinds):
    """A cell of each symbol."""
    rows = [
        {"symbol": symbol, "date": DAY, "column": "close", "stored": "1", "expected": "2",
         "kind": kind}
        for symbol, kind in kinds.items()
    ]  # fmt: skip
    columns = ["symbol", "date", "column", "stored", "expected", "kind"]
    return pd.DataFrame(rows, columns=columns).astype({"symbol": "str", "date": "M8[s]"})


def others(*symbols):
    rows = [{"symbol": s, "date": DAY, "stored": "a", "expected": "b"} for s in symbols]
    frame = pd.DataFrame(rows, columns=["symbol", "date", "stored", "expected"])
    return frame.astype({"symbol": "str", "date": "M8[s]"})


def compared(found, others, earlier=()):
    rows = [
        {"symbol": s, "date": DAY, "code_version": "old" if s == "OLD" else "1", "params_hash": "p"}
        for s in ("AAA", "BBB", "CCC", "OLD")
    ]
    stored = pd.DataFrame(rows).astype({"symbol": "str", "date": "M8[s]"})
    return with_other_results("signals", found, stored, others, earlier, Versions("p", "1"))


def kinds(part):
    return dict(zip(part["symbol"], part["kind"], strict=True))


def test_a_row_that_recomputes_and_has_another_hash_was_changed():
    part = compared(found(), others("AAA"))
    assert kinds(part) == {"AAA": "row"}
    assert part["column"].tolist() == ["result_hash"]


def test_rounding_is_no_excuse_where_the_hash_differs():
    before = found(AAA="platform", BBB="platform", CCC="code")
    part = compared(before, others("AAA", "CCC"))
    assert kinds(part) == {"AAA": "row", "BBB": "platform", "CCC": "code"}


def test_a_row_that_follows_from_a_missing_one_has_other_data():
    earlier = [found(AAA="missing", BBB="row", CCC="extra")]
    part = compared(found(), others("AAA", "BBB", "CCC"), earlier)
    assert kinds(part) == {"AAA": "data", "BBB": "row", "CCC": "data"}


def test_nothing_is_added_where_all_hashes_fit():
    before = found(AAA="platform")
    part = compared(before, others())
    pd.testing.assert_frame_equal(part, before)


def test_other_code_has_another_hash():
    assert kinds(compared(found(), others("OLD", "AAA"))) == {"OLD": "code", "AAA": "row"}
