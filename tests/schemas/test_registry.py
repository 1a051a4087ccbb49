import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from autonama_dagster.analytics.scan.indicators.indicators import INDICATORS
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas import ddl, registry
from autonama_dagster.schemas.base import SCHEMA
from resources.postgres.migrate import migrate, newest_revision
from resources.postgres.urls import sqlalchemy_url


@pytest.fixture
def connection(database):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_migrations_make_exactly_the_models_tables(connection):
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        },
    )
    found = compare_metadata(context, ddl.metadata())
    changes = [c for group in found for c in (group if isinstance(group, list) else [group])]
    # Comments are not the migrations' business: they are written anew from the registry.
    assert [c for c in changes if not c[0].endswith("comment")] == []


def test_the_views_answer(connection):
    for name in registry.VIEWS:
        assert connection.execute(sa.text(f"SELECT count(*) FROM {SCHEMA}.{name}")).scalar() == 0


def test_descriptions_reach_postgres(connection):
    found = sa.inspect(connection).get_columns("signals", schema=SCHEMA)
    expected = registry.table("signals").schema.columns
    assert {c["name"]: c["comment"] for c in found} == {
        name: column.description for name, column in expected.items()
    }


def test_migrating_again_does_nothing(database, connection):
    migrate(database)
    version = connection.execute(sa.text(f"SELECT version_num FROM {SCHEMA}.alembic_version"))
    assert version.scalar() == newest_revision()


def test_every_column_is_described():
    for table in registry.TABLES.values():
        for name, column in table.schema.columns.items():
            assert column.description, f"{table.name}.{name}"


def test_the_indicators_table_is_the_analytics_registry():
    columns = registry.table("indicators").columns
    assert columns[:2] == ("symbol", "date")
    assert columns[2:-6] == tuple(i.name for i in INDICATORS)


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(SchemaError, match="'prices' is unknown; known tables: universe, ohlcv_1d"):
        registry.table("prices")
