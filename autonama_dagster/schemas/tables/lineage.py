"""The view `signal_lineage`: each signal with what it is made of, its hashes computed anew in SQL.

The hashes are those of `analytics.candles.digests`, `analytics.candles.hashing`,
`analytics.candles.results` and `analytics.scan.input_hashes`, the window is that of
`analytics.candles.windows`: a test holds both together.
"""

from autonama_dagster.analytics.candles.candles import NUMBERS
from autonama_dagster.analytics.candles.intervals import MAX_MISSING_DAYS
from autonama_dagster.analytics.candles.windows import MAX_OVERNIGHT_RATIO
from autonama_dagster.schemas.result_sql import result_sql
from autonama_dagster.schemas.tables.analysis import (
    DATA_QUALITY,
    INDICATORS_TABLE,
    REGRESSION_BANDS,
)
from autonama_dagster.schemas.tables.decision import SIGNALS_TABLE
from autonama_dagster.schemas.tables.market import UNIVERSE


def _is_far(price: str, close: str) -> str:
    """SQL: one price is no continuation of another, as `windows.is_jump` says."""
    least, most = f"1 / {MAX_OVERNIGHT_RATIO}::float8", f"{MAX_OVERNIGHT_RATIO}"
    return f"({price} / {close} NOT BETWEEN {least} AND {most})"


_NUMBERS = " || ".join(f"float8send(coalesce(w.{name}, 'NaN'))" for name in NUMBERS)
# As `digests.digests` packs a daily candle.
_CANDLE = f"""
    convert_to(w.symbol || E'\\n1d\\n', 'UTF8') || int8send(w.date - date '1970-01-01')
    || convert_to(w.row_hash, 'UTF8') || {_NUMBERS}
    || int8send(w.trades) || convert_to(w.source, 'UTF8')
"""
# The rows that a signal is made from, each with its alias, in the order of its chain.
_MADE_FROM = {"b": REGRESSION_BANDS, "i": INDICATORS_TABLE, "q": DATA_QUALITY, "u": UNIVERSE}
_CHAIN = " || E'\\n' || ".join(f"coalesce({row}.result_hash, '')" for row in _MADE_FROM)
_RESULT = result_sql(SIGNALS_TABLE, "s", _CHAIN)
_ARE_RESULTS = " AND ".join(
    f"({row}.symbol IS NULL OR coalesce({row}.result_hash = {found}, FALSE))"
    for row, found in ((row, result_sql(of, row, "''")) for row, of in _MADE_FROM.items())
)

SIGNAL_LINEAGE = f"""
SELECT s.symbol, s.date, s.signal, s.status, s.quality, s.signal_strength, s.confirmations,
       s.close, s.fitted_price, s.lower_band, s.upper_band, s.z_score,
       u.rank AS universe_rank, u.is_member,
       w.window_start, w.window_end, w.candles, w.missing_days, w.last_break,
       w.sources, w.first_fetched_at, w.last_fetched_at, w.candle_run_ids,
       a.polynomial_regression AS channel,
       s.params_hash, s.code_version, s.computed_at,
       s.run_id AS signal_run_id, b.run_id AS bands_run_id, i.run_id AS indicators_run_id,
       u.run_id AS universe_run_id, q.run_id AS quality_run_id,
       b.input_hash AS stored_window_hash, w.window_hash,
       b.input_hash = w.window_hash AND i.input_hash IS NOT DISTINCT FROM
           CASE WHEN i.symbol IS NULL THEN NULL ELSE w.window_hash END AS is_window_match,
       s.input_hash AS stored_input_hash, h.input_hash,
       s.result_hash AS stored_result_hash, r.result_hash,
       r.is_result_match,
       s.input_hash = h.input_hash AND r.is_result_match AS is_match
FROM trading.signals AS s
JOIN trading.regression_bands AS b USING (symbol, date)
JOIN trading.asset_analytics AS a USING (symbol, date)
LEFT JOIN trading.data_quality AS q USING (symbol, date)
LEFT JOIN trading.indicators AS i USING (symbol, date)
LEFT JOIN trading.universe AS u USING (symbol, date)
CROSS JOIN LATERAL (
    SELECT min(w.date) AS window_start,
           max(w.date) AS window_end,
           count(*) AS candles,
           max(w.date) - min(w.date) + 1 - count(*) AS missing_days,
           max(w.last_break) AS last_break,
           array_agg(DISTINCT w.source) AS sources,
           min(w.fetched_at) AS first_fetched_at,
           max(w.fetched_at) AS last_fetched_at,
           array_agg(DISTINCT w.run_id) AS candle_run_ids,
           encode(sha256(coalesce(string_agg(
               sha256({_CANDLE}), ''::bytea ORDER BY w.date
           ), ''::bytea)), 'hex') AS window_hash
    FROM (
        SELECT c.*, max(c.date) FILTER (WHERE c.is_break AND NOT c.is_undone) OVER () AS last_break
        FROM (
            SELECT e.*,
                   coalesce(e.is_back, FALSE)
                   OR coalesce(lead(e.is_back) OVER (ORDER BY e.date), FALSE) AS is_undone
            FROM (
                SELECT d.*,
                       d.date - lag(d.date) OVER o > {MAX_MISSING_DAYS + 1}
                       OR {_is_far("d.open", "lag(d.close) OVER o")} AS is_break,
                       {_is_far("d.open", "lag(d.close) OVER o")}
                       AND {_is_far("lag(d.open) OVER o", "lag(d.close, 2) OVER o")}
                       AND NOT {_is_far("d.open", "lag(d.close, 2) OVER o")}
                       AND d.date - lag(d.date) OVER o <= {MAX_MISSING_DAYS + 1}
                       AND lag(d.date) OVER o - lag(d.date, 2) OVER o <= {MAX_MISSING_DAYS + 1}
                       AS is_back
                FROM trading.ohlcv_1d AS d
                WHERE d.symbol = s.symbol
                  AND d.date BETWEEN s.date - (a.analysis_period_days - 1)::integer AND s.date
                WINDOW o AS (ORDER BY d.date)
            ) AS e
        ) AS c
    ) AS w
    WHERE w.date >= coalesce(w.last_break, '-infinity') AND b.n_obs > 0
) AS w
CROSS JOIN LATERAL (
    SELECT encode(sha256(convert_to(
        concat_ws(E'\\n', w.window_hash, u.input_hash, q.input_hash), 'UTF8'
    )), 'hex') AS input_hash
) AS h
CROSS JOIN LATERAL (
    SELECT r.result_hash,
           coalesce(s.result_hash = r.result_hash, FALSE) AND {_ARE_RESULTS} AS is_result_match
    FROM (SELECT {_RESULT} AS result_hash) AS r
) AS r
"""  # noqa: S608  (numbers and names of this module alone)
