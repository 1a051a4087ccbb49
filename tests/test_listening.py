"""What listens, and for whom: this machine alone, or one user of it."""

import os
import socket
import stat

import psutil
import pytest

from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.system.loopback import is_loopback


def listeners(pids):
    """Addresses of the TCP and UDP sockets that these processes listen on."""
    return {
        (c.laddr.ip, c.laddr.port)
        for c in psutil.net_connections("inet")
        if c.pid in pids and (c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM)
    }


def test_the_embedded_server_has_a_private_socket_and_no_port(postgres):
    main = psutil.Process(postgres.pid())
    family = [main, *main.children(recursive=True)]
    assert len(family) > 3
    assert listeners({p.pid for p in family}) == set()
    folder = postgres.socket_dir.lstat()
    assert stat.S_ISDIR(folder.st_mode)
    assert stat.S_IMODE(folder.st_mode) == 0o700
    assert folder.st_uid == main.uids().real
    sockets = [c.laddr for c in psutil.net_connections("unix") if c.pid == main.pid and c.laddr]
    assert {os.path.dirname(path) for path in sockets} == {str(postgres.socket_dir)}  # noqa: PTH120
    assert stat.S_IMODE(postgres.data_dir.stat().st_mode) == 0o700


def test_no_host_is_trusted_but_the_socket(postgres):
    rules = [
        line.split()
        for line in (postgres.data_dir / "pg_hba.conf").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert {rule[-1] for rule in rules if rule[0] != "local"} == {"reject"}


def test_the_replay_exchange_listens_on_this_machine():
    with ReplayServer(SyntheticMarket(7)):
        found = listeners({os.getpid()})
    assert found
    assert [address for address, _ in found if not is_loopback(address)] == []


def test_a_port_that_is_open_would_be_found():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        assert probe.getsockname() in listeners({os.getpid()})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_hosts_are_not_this_machine(host):
    assert not is_loopback(host)
