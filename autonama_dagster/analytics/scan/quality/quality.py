"""The quality ledger: what is wrong with each symbol's day, and how far its window can be trusted.

Pure judgement: candles and what is known beside them in, rows out. The rules themselves are in
`rules` and `beside`.
"""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, window_hashes
from autonama_dagster.analytics.candles.windows import Windows
from autonama_dagster.analytics.scan.quality.beside import versus
from autonama_dagster.analytics.scan.quality.rules import (
    OK,
    RULES,
    SEVERITIES,
    Finding,
    QualityLimits,
    gaps,
    of_candles,
)

_UNKNOWN: Final = -1
_ORDER: Final = {rule: number for number, rule in enumerate(RULES)}
_NO_DAYS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a symbol's days beside its candles.

    Attributes
    ----------
    findings
        Faults the candles cannot show: kept out, fetched too early, come in two versions.
    hours
        Daily candles made of the symbol's hours, of the days whose hours are known.
    others
        Versions of its candles that other sources gave, by source.
    """

    findings: tuple[Finding, ...] = ()
    hours: Candles | None = None
    others: Mapping[str, Candles] = field(default_factory=dict)


_NOTHING: Final = Evidence()


class _Judged(NamedTuple):
    """One symbol's n days: severities, findings of the day, input hashes."""

    own: NDArray[np.int64]
    worst: NDArray[np.int64]
    findings: list[list[Finding]]
    hashes: list[str]


def judge(
    candles: Sequence[Candles],
    windows: Sequence[Windows],
    known: Sequence[NDArray[np.bool_]],
    evidence: Mapping[str, Evidence],
    limits: QualityLimits,
    lookback: int,
) -> pd.DataFrame:
    """Rows of `data_quality`: one for every symbol and asked day, with or without a candle.

    `severity` is the worst of D's own findings, made from the `lookback` days to D.
    `window_severity` is the worst of those and of every finding on a day of W(symbol, D) that looks
    at nothing before W: a break taints no window that begins at it. Nothing after D changes a row,
    but for what another source says later of a day of its window.

    Parameters
    ----------
    candles, windows
        Aligned: each symbol's candles from the first day of the first lookback or earlier, and its
        windows of n days.
    known
        Aligned with them, shape (n,): whether the exchange has answered for all of the lookback.
        Elsewhere candles are not judged.
    evidence
        By symbol, which may be absent.
    limits
        Thresholds of the rules.
    lookback
        Calendar days in a window.

    Returns
    -------
    pandas.DataFrame
        Symbol by symbol, day by day: symbol, date, severity and window_severity (of `SEVERITIES`;
        missing where the window is not known), findings (lists of rules in the order of `RULES`),
        details (JSON object by rule: severity and what was seen; missing without findings),
        input_hash (over the lookback's candles and what the evidence says against its days: hours
        that agree change nothing).
    """
    judged = [
        _judge(series, window, is_known, evidence.get(series.symbol, _NOTHING), limits, lookback)
        for series, window, is_known in zip(candles, windows, known, strict=True)
    ]
    symbols = [c.symbol for c, w in zip(candles, windows, strict=True) for _ in range(len(w))]
    days = np.concatenate([_NO_DAYS, *(w.day for w in windows)])
    findings = [found for part in judged for found in part.findings]
    return pd.DataFrame(
        {
            "symbol": pd.Series(symbols, dtype="str"),
            "date": days.astype("datetime64[D]").astype("datetime64[s]"),
            "severity": _words([part.own for part in judged]),
            "window_severity": _words([part.worst for part in judged]),
            "findings": pd.Series(
                [list(dict.fromkeys(f.rule for f in found)) for found in findings], dtype=object
            ),
            "details": pd.Series([_details(found) for found in findings], dtype="str"),
            "input_hash": pd.Series([h for part in judged for h in part.hashes], dtype="str"),
        }
    )


def _judge(
    candles: Candles,
    windows: Windows,
    known: NDArray[np.bool_],
    evidence: Evidence,
    limits: QualityLimits,
    lookback: int,
) -> _Judged:
    asked, oldest = windows.day, windows.day - (lookback - 1)
    own = np.where(known, OK, _UNKNOWN)
    against = _against(candles, evidence, limits)
    hashes = _hashes(candles, oldest, asked, known, against)
    findings: list[list[Finding]] = [[] for _ in asked]
    accounted = np.array([f.day for f in evidence.findings if "kept_out" in f.seen], dtype=np.int64)
    of_gaps = gaps(candles, int(asked.max(initial=0)), accounted)
    found = sorted([*of_candles(candles, limits), *of_gaps, *against], key=_rank)
    if not found:
        return _Judged(own, own, findings, hashes)
    day, severity, since = (np.array([f[i] for f in found], dtype=np.int64) for i in (0, 2, 3))
    of_evidence = set(map(id, evidence.findings))
    is_outside = np.array([id(f) in of_evidence for f in found])
    # n days x k findings, and a symbol has few of these.
    is_own = (day == asked[:, None]) & (since >= oldest[:, None])
    is_own &= known[:, None] | is_outside
    begins = _begins(candles, windows, oldest)[:, None]
    in_window = (day >= begins) & (day <= asked[:, None]) & (since >= begins) & known[:, None]
    own = np.maximum(own, np.where(is_own, severity, _UNKNOWN).max(axis=1))
    worst = np.maximum(own, np.where(in_window, severity, _UNKNOWN).max(axis=1))
    for row, at in np.argwhere(is_own).tolist():
        findings[row].append(found[at])
    return _Judged(own, np.where(known, worst, _UNKNOWN), findings, hashes)


def _against(candles: Candles, evidence: Evidence, limits: QualityLimits) -> list[Finding]:
    """What is known beside the candles and speaks against them."""
    found = list(evidence.findings)
    for source, other in evidence.others.items():
        found += versus(candles, other, "rest_vs_archive", source, limits)
    if evidence.hours is not None:
        found += versus(candles, evidence.hours, "daily_vs_hourly", "1h", limits)
    return found


def _rank(finding: Finding) -> tuple[int, int, int]:
    """Findings go by day, in the order of `RULES`, the more severe one first."""
    return finding.day, _ORDER[finding.rule], -finding.severity


def _begins(candles: Candles, windows: Windows, oldest: NDArray[np.int64]) -> NDArray[np.int64]:
    """The day from which each window looks: that of its first candle, or its first calendar day."""
    begins = oldest.copy()
    has_any = windows.stop > windows.start
    begins[has_any] = candles.day[windows.start[has_any]]
    return begins


def _hashes(
    candles: Candles,
    oldest: NDArray[np.int64],
    asked: NDArray[np.int64],
    known: NDArray[np.bool_],
    against: Sequence[Finding],
) -> list[str]:
    """Hash of the lookback's candles, also those before a break, and of what speaks against them.

    A finding on a later day changes nothing.
    """
    start = np.where(known, np.searchsorted(candles.day, oldest), 0)
    stop = np.where(known, np.searchsorted(candles.day, asked, side="right"), 0)
    used = window_hashes(candles, Windows(asked, start, stop, known))
    said = sorted((f.day, _json(f)) for f in against)
    return [
        combine(of_candles, *(text for day, text in said if first <= day <= last))
        for of_candles, first, last in zip(used, oldest.tolist(), asked.tolist(), strict=True)
    ]


def _words(severities: Sequence[NDArray[np.int64]]) -> pd.Series:
    """Severities as words, missing where unknown."""
    words = pd.array([*SEVERITIES, None], dtype="str")
    return pd.Series(words.take(np.concatenate([_NO_DAYS, *severities])))


def _details(findings: Sequence[Finding]) -> str | None:
    """JSON object: what was seen, by rule; of two findings of one rule the more severe one."""
    if not findings:
        return None
    worst = {f.rule: f for f in reversed(findings)}
    found = {
        rule: {"severity": SEVERITIES[worst[rule].severity], **worst[rule].seen}
        for rule in RULES
        if rule in worst
    }
    return _json(found)


def _json(value: Any) -> str:
    """JSON text; a number that JSON does not know, of a candle changed by hand, is null."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value if not isinstance(value, float) or isfinite(value) else None)


def churn_pct(before: AbstractSet[str], now: AbstractSet[str]) -> float:
    """Members of the day before that are none now, in percent; 0 where there was no day before.

    A ranking by 30-day medians changes 1.3 of 100 a day: a tenth at once is a fault of the data.
    """
    return 100 * len(before - now) / len(before) if before else 0.0


def coverage_pct(members: pd.Series, judged: pd.Series) -> pd.Series:
    """Members whose day has a candle and a whole window, in percent, for each of several days.

    Some lack one on any day: a pair that is delisted stays a member until its median has fallen.
    """
    return 100 * judged / members
