"""Dagster's webserver behind the guard; options as its own.

`python -m autonama_dagster.cli.serve.dagster_webserver`.

Dagster executes whatever GraphQL it is sent, by GET too, and looks at nothing but the document.
"""

import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import uvicorn
from dagster_webserver import cli
from dagster_webserver.app import create_app_from_workspace_process_context
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from autonama_dagster.settings import load_settings
from autonama_dagster.system.web_guard import Guard, Guarded

if TYPE_CHECKING:
    from starlette.types import Scope

GRAPHQL = "/graphql"
JSON_TYPES = {"application/json", "application/graphql"}  # no form of a page can send these


class GuardedUi(Guarded):
    """Dagster's UI: what is sent to GraphQL is looked at too."""

    def refusal(self, scope: "Scope") -> str | None:
        """Why the request is refused: by the guard, or as a mutation that no page of ours sends."""
        reason = super().refusal(scope)
        if reason is not None or scope["type"] != "http":
            return reason
        if not scope["path"].rstrip("/").endswith(GRAPHQL):
            return None
        if scope["method"] == "POST":
            return _refused_type(scope)
        return _refused_query(scope)


def _refused_type(scope: "Scope") -> str | None:
    given = [v.decode("latin-1") for n, v in scope["headers"] if n.lower() == b"content-type"]
    types = {value.partition(";")[0].strip().lower() for value in given}
    if len(types) == 1 and types <= JSON_TYPES:
        return None
    return f"a POST to {GRAPHQL} needs the content type application/json"


def _refused_query(scope: "Scope") -> str | None:
    fields = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if all(map(_only_reads, fields.get("query", []))):
        return None
    return "GET only allows queries: send mutations by POST"


def _only_reads(document: str) -> bool:
    try:
        definitions = parse(document).definitions
    except (GraphQLError, RecursionError):
        return False
    operations = [d for d in definitions if isinstance(d, OperationDefinitionNode)]
    return all(operation.operation is OperationType.QUERY for operation in operations)


def serve(
    context: Any,
    host: str,
    port: int,
    path_prefix: str,
    log_level: str,
    live_data_poll_rate: int | None = None,
) -> None:
    """Serve the UI, guarded, in the place of dagster-webserver's function of these parameters."""
    app = create_app_from_workspace_process_context(
        context,
        path_prefix,
        live_data_poll_rate,
        lifespan=cli._lifespan,  # noqa: SLF001
    )
    guard = Guard(host, load_settings().ui_url, "AUTONAMA_UI_URL")
    logging.getLogger(cli.WEBSERVER_LOGGER_NAME).info(
        f"Serving dagster-webserver on http://{host}:{port} in process {os.getpid()}"  # noqa: G004
    )
    uvicorn.run(GuardedUi(app, guard), host=host, port=port, log_level=log_level)


if __name__ == "__main__":
    assert callable(cli.host_dagster_ui_with_workspace_process_context)  # noqa: S101  # still there
    cli.host_dagster_ui_with_workspace_process_context = serve  # type: ignore[assignment]
    cli.main()  # type: ignore[no-untyped-call]
