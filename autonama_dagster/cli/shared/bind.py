"""Where a server of the project may listen: on this machine, unless the user says otherwise."""

from autonama_dagster.errors import InputError
from autonama_dagster.system.loopback import is_loopback


def check_host(host: str, *, allow_remote: bool) -> None:
    """Refuse an address that other machines can reach.

    Only `localhost` and literal loopback addresses (127.0.0.0/8, ::1) pass: what another name
    resolves to may change after the check.

    Parameters
    ----------
    host
        The address or name to listen on.
    allow_remote
        Whether the user has explicitly allowed other machines.

    Raises
    ------
    InputError
        The host is not this machine's loopback and other machines are not allowed.
    """
    if allow_remote or is_loopback(host):
        return
    raise InputError(
        f"--host {host}: other machines could reach it without a password; "
        "use 127.0.0.1 behind your own proxy, or add --allow-remote"
    )
