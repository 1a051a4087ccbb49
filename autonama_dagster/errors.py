"""Errors that reach the user as one line: the thing, the value and what to do next."""

from datetime import date
from typing import Self

from autonama_dagster.text.escaping import without_controls


class AutonamaError(Exception):
    """Base of the project's errors; the CLI prints its text and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, text: object = "") -> None:
        # What others said may be quoted: any log and table can hold it then.
        super().__init__(without_controls(str(text)))


class InputError(AutonamaError):
    """The user gave something that cannot be used: a flag, a setting, a file."""

    exit_code = 2


class DatabaseError(AutonamaError):
    """The database is out of reach or refuses its work; `sqlstate` is empty where it has none."""

    sqlstate: str = ""


class SchemaError(AutonamaError):
    """A frame does not fit the table it is written to, or the table is unknown."""


class AnchorError(AutonamaError):
    """The anchor log cannot be read or written."""


class MissingRowsError(AutonamaError):
    """A stage was asked for before the ones that it is made from."""


class ExchangeError(AutonamaError):
    """The exchange is down, bans us or answers nonsense: the run ends."""


class ExchangeBannedError(ExchangeError):
    """HTTP 418: the exchange banned this address; every further call would lengthen the ban."""


class SymbolFetchError(ExchangeError):
    """One symbol's request failed for good; the other symbols go on."""


class OutageError(ExchangeError):
    """No usable connection: timeouts, refused connections, HTTP 5xx."""


class SlowAnswerError(OutageError):
    """An answer that took all its time: it is not asked for again, that would take as long."""


class RateLimitedError(ExchangeError):
    """HTTP 429: too much request weight; the throttle knows until when to be silent."""


class UnusableAnswersError(ExchangeError):
    """Every request of a batch brought garbage: it is the exchange, not a symbol."""


class BadAnswerError(SymbolFetchError):
    """An answer that is no answer: truncated, not JSON, the wrong shape, contradicting itself."""


class ConflictingCandlesError(BadAnswerError):
    """Two different candles of one time in an answer: nobody can say which one is right.

    `day` is the UTC day on which they open.
    """

    def __init__(self, text: str, day: date) -> None:
        super().__init__(text)
        self.day = day

    def __reduce__(self) -> tuple[type[Self], tuple[str, date]]:
        return type(self), (str(self), self.day)
