"""What asking again for stored candles has shown, for `autonama status` and the metrics."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from psycopg import Connection

from autonama_dagster.analytics.candles.shares import wilson

RECENT_DAYS: Final = 30


@dataclass(frozen=True)
class CheckFacts:
    """Stored candles that were asked for again in the last `RECENT_DAYS` days.

    Attributes
    ----------
    since
        The first of these days; None: nothing was read.
    confirmed, revised, missing, failed
        How many ended so; see the table `candle_checks`.
    confirmed_share
        Of those that were answered; None: none was.
    confirmed_low, confirmed_high
        Its 95 % interval, after Wilson.
    """

    since: date | None = None
    confirmed: int = 0
    revised: int = 0
    missing: int = 0
    failed: int = 0
    confirmed_share: float | None = None
    confirmed_low: float | None = None
    confirmed_high: float | None = None

    @property
    def answered(self) -> int:
        """How many were answered."""
        return self.confirmed + self.revised + self.missing

    @property
    def asked(self) -> int:
        """How many were asked for."""
        return self.answered + self.failed


def read_checks(connection: Connection[tuple[Any, ...]], today: date) -> CheckFacts:
    """Count the outcomes of the last `RECENT_DAYS` days, `today` included."""
    since = today - timedelta(days=RECENT_DAYS - 1)
    found = dict(
        connection.execute(
            "SELECT outcome, count(*) FROM trading.candle_checks "
            "WHERE asked_at >= %s::date::timestamp AT TIME ZONE 'UTC' GROUP BY outcome",
            (since,),
        ).fetchall()
    )
    facts = CheckFacts(since, **found)
    if not facts.answered:
        return facts
    low, high = wilson(facts.confirmed, facts.answered)
    share = facts.confirmed / facts.answered
    return CheckFacts(since, **found, confirmed_share=share, confirmed_low=low, confirmed_high=high)
