"""Settings of the databases: the project's tables, and Dagster's own."""

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator

from autonama_dagster.configuration.files import can_be_resolved


class DatabaseSettings(BaseModel):
    """Where the tables are."""

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres to use instead of the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Database of Dagster's own tables; default: <name>_dagster on the same server.",
    )

    @field_validator("database_url", "dagster_database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgres"):
            raise ValueError("is not a postgresql:// URL")
        if value is not None and not can_be_resolved(value.get_secret_value()):
            raise ValueError("its host cannot be a name: a part of it is longer than 63 characters")
        return value
