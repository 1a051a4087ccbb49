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
    """Results of recomputing stored rows from truncated and from extended data."""

    verified_at: Instant = instant("When the rows were compared.")
    table_name: Text = column("Table of the rows.")
    first_date: Day = day("First day of the rows.")
    last_date: Day = day("Last day of the rows.")
    symbols: Integer = column("Symbols of the rows; 0 if the table is by day.", ge=0)
    rows: Integer = column("Rows recomputed.", ge=0)
    mismatches: Integer = column("Rows that differ.", ge=0)
    look_ahead_mismatches: Integer = column(
        "Rows that differ between data truncated at their day and data extended past it.", ge=0
    )
    missing_mismatches: Integer = column("Rows that must exist and do not.", ge=0)
    extra_mismatches: Integer = column("Rows that nothing asks for.", ge=0)
    code_mismatches: Integer = column("Rows computed by another code version.", ge=0)
    parameters_mismatches: Integer = column("Rows computed with other parameters.", ge=0)
    data_mismatches: Integer = column("Rows whose inputs have changed since.", ge=0)
    platform_mismatches: Integer = column(
        "Rows that differ only by rounding, as on another CPU or library version.", ge=0
    )
    row_mismatches: Integer = column("Rows whose stored values were altered.", ge=0)
    details: Text = column("The first differences: key, column, stored, expected.", sql="jsonb")
    code_version: Text = column("Version of the analytics that did the comparison.")
    platform: Text = column("Machine and library versions used for the comparison.")
    run_id: Text = column(
        "Dagster run of the check; NULL if run from the command line.", nullable=True
    )


VERIFICATIONS = Table("verifications", Verifications, ("verified_at", "table_name"))
