"""What libpq's own variables (PGHOSTADDR, PGOPTIONS, ...) may say: less than the URL.

libpq reads them wherever a URL is silent, and some win over it: PGHOSTADDR leads to another server
than the URL names. So the process and the programs that it starts keep only what completes a login.
"""

import os
from typing import Final

from autonama_dagster.settings import Settings

# What a URL may leave open, and how the two ends prove who they are.
COMPLETES_A_URL: Final = frozenset(
    {
        *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE"),
        *("PGCONNECT_TIMEOUT", "PGREQUIREAUTH", "PGREQUIREPEER", "PGCHANNELBINDING"),
        *("PGREQUIRESSL", "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLCOMPRESSION", "PGSSLCERT"),
        *("PGSSLKEY", "PGSSLCERTMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI"),
        *("PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGMINPROTOCOLVERSION"),
        *("PGMAXPROTOCOLVERSION", "PGGSSENCMODE", "PGGSSLIB", "PGGSSDELEGATION"),
        *("PGKRBSRVNAME", "PGREALM"),
    }
)
# Another server than the URL's, or another session than ours.
MISLEADS: Final = frozenset(
    {
        *("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTARGETSESSIONATTRS"),
        *("PGLOADBALANCEHOSTS", "PGOPTIONS", "PGAPPNAME", "PGCLIENTENCODING", "PGDATESTYLE"),
        *("PGTZ", "PGGEQO"),
    }
)


def drop_libpq_variables(settings: Settings) -> None:
    """Remove libpq's variables from the environment: all, where only the embedded server is used.

    Called before a URL is made, so that every driver and client program sees the same.
    """
    has_url = settings.database_url is not None or settings.dagster_database_url is not None
    for name in MISLEADS if has_url else MISLEADS | COMPLETES_A_URL:
        os.environ.pop(name, None)
