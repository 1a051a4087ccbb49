"""Table of verifications: which stored rows were computed again, and what differed."""

from autonama_dagster.schemas.base import (
    Day,
    Instant,
    Integer,
    Table,
    TableModel,
    Text,
    column,
    day,
    instant,
)


class Verifications(TableModel):
    """Rows computed again from cut and from extended data, and how many differ."""

    verified_at: Instant = instant("When they were compared.")
    table_name: Text = column("Table of the rows.")
    first_date: Day = day("First day of the rows.")
    last_date: Day = day("Last day of the rows.")
    symbols: Integer = column("Symbols of the rows; 0 where the table is by day.", ge=0)
    rows: Integer = column("Rows that were computed again.", ge=0)
    mismatches: Integer = column("Rows with a difference.", ge=0)
    look_ahead_mismatches: Integer = column(
        "Of them rows that differ between data cut at their day and data extended past it.", ge=0
    )
    code_mismatches: Integer = column("Rows made by other code.", ge=0)
    parameters_mismatches: Integer = column("Rows made with other parameters.", ge=0)
    data_mismatches: Integer = column("Rows whose inputs have changed since.", ge=0)
    platform_mismatches: Integer = column(
        "Rows that differ by rounding alone, as another processor or library does.", ge=0
    )
    row_mismatches: Integer = column("Rows that were changed themselves.", ge=0)
    details: Text = column("The first differences: key, column, stored, expected.", sql="jsonb")
    code_version: Text = column("Version of the analytics that compared.")
    platform: Text = column("Machine and libraries that compared.")
    run_id: Text = column("Dagster run of the check; NULL: the command line.", nullable=True)


VERIFICATIONS = Table("verifications", Verifications, ("verified_at", "table_name"))
