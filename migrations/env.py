"""Alembic's environment: runs on the connection that the caller hands over.

Views and comments hold no data: after the migrations they are made anew from the registry.
"""

import sqlalchemy as sa
from alembic import context

from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.ddl import comments, metadata
from autonama_dagster.schemas.registry import VIEWS

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata(),
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
    compare_type=True,
)
with context.begin_transaction():
    for name in VIEWS:
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {SCHEMA}.{name}"))
    context.run_migrations()
    if not context.config.attributes.get("autogenerates"):
        for name, (_, query) in VIEWS.items():
            connection.execute(sa.text(f"CREATE VIEW {SCHEMA}.{name} AS {query}"))
        for statement in comments():
            connection.exec_driver_sql(statement.replace("%", "%%"))
