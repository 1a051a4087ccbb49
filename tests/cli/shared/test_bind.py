import pytest

from autonama_dagster.cli.shared.bind import check_host
from autonama_dagster.errors import InputError


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LocalHost"]
)
def test_this_machine_needs_no_option(host):
    check_host(host, allow_remote=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "10.0.0.1",
        "192.168.1.2",
        "example.com",
        "127.0.0.1.example.com",
        "::ffff:10.0.0.1",
    ],
)
def test_other_addresses_need_it(host):
    with pytest.raises(InputError, match="--allow-remote") as refused:
        check_host(host, allow_remote=False)
    assert f"--host {host}" in str(refused.value)
    check_host(host, allow_remote=True)
