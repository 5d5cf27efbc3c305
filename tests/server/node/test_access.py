"""Who may associate: AE titles, addresses, certificates, and how many."""

import socket
import ssl
import time
from pathlib import Path

import pytest
from tests.support.node import RunningNode, make_certificates, read_slices, running_node
from tests.support.server import make_parts
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

from cspine.core.errors import InputError
from cspine.server.check import check_server
from cspine.server.node.access import Access
from cspine.server.node.association import close_socket
from cspine.server.node.service import Node
from cspine.server.settings import NodeSettings

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom's sockets


@pytest.mark.parametrize(
    ("allow", "calling", "called", "is_allowed"),
    [
        ([{"ae_title": "SCANNER", "address": "127.0.0.0/8"}], "SCANNER", "CSPINE", True),
        ([{"ae_title": "*", "address": "127.0.0.1"}], "ANYBODY", "CSPINE", True),
        ([{"ae_title": "SCANNER", "address": "127.0.0.1"}], "STRANGER", "CSPINE", False),
        ([{"ae_title": "SCANNER", "address": "127.0.0.1"}], "SCANNER", "OTHER", False),
        ([{"ae_title": "SCANNER", "address": "10.0.0.0/8"}], "SCANNER", "CSPINE", False),
        ([], "SCANNER", "CSPINE", False),
    ],
)
def test_list_of_peers(
    allow: list[dict[str, str]], calling: str, called: str, is_allowed: bool, tmp_path: Path
) -> None:
    with running_node(tmp_path, node={"allow": allow}) as running:
        association = running.associate(calling=calling, called=called)
        assert association.is_established == is_allowed
        association.release()


def test_a_title_is_allowed_from_its_own_address_alone() -> None:
    settings = NodeSettings.model_validate(
        {"allow": [{"ae_title": "A", "address": "10.0.0.1"}, {"ae_title": "B", "address": "10.0.0.2"}]}
    )
    access = Access(settings)

    assert access.admit_association("A", "CSPINE", "10.0.0.1") is None
    assert access.admit_association("A", "CSPINE", "10.0.0.2") is not None
    assert access.admit_connection("10.0.0.2")
    assert not access.admit_connection("10.0.0.3")


def test_associations_beyond_the_limit_are_rejected_for_now(tmp_path: Path) -> None:
    with running_node(tmp_path, node={"max_associations": 2}) as running:
        first, second = running.associate(), running.associate()
        third = running.associate()

        assert first.is_established
        assert second.is_established
        assert third.is_rejected
        assert third.acceptor.primitive is not None
        assert third.acceptor.primitive.result == 0x02  # transient
        first.release()
        for _ in range(100):
            if running.node.access.n_associations < 2:
                break
            time.sleep(0.05)
        fourth = running.associate()
        assert fourth.is_established
        second.release()
        fourth.release()


def test_associations_of_one_address_are_limited(tmp_path: Path) -> None:
    with running_node(tmp_path, node={"max_associations": 8, "max_associations_per_peer": 1}) as running:
        first, second = running.associate(), running.associate()

        assert first.is_established
        assert second.is_rejected
        first.release()


def is_served(running: RunningNode, *, within_s: float) -> bool:
    """Return whether an association is accepted within a time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        association = running.associate()
        if association.is_established:
            association.release()
            return True
        close_socket(association.dul.socket)  # pynetdicom leaves those open that the peer has closed
        time.sleep(0.1)
    return False


def test_silent_connections_take_no_place_for_long(tmp_path: Path) -> None:
    node = {"max_associations": 1, "timeout_s": 3.0}
    with running_node(tmp_path, node=node) as running:
        silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(40)]

        assert is_served(running, within_s=30.0)
        for each in silent:
            each.close()


def test_connections_that_end_before_a_request_give_their_place_back(tmp_path: Path) -> None:
    with running_node(tmp_path, node={"max_associations": 1, "timeout_s": 60.0}) as running:
        for _ in range(30):
            socket.create_connection(("127.0.0.1", running.port)).close()

        assert is_served(running, within_s=30.0)  # their timeout is over only later


def test_tls_with_a_certificate_of_the_authority(tmp_path: Path) -> None:
    authority, pairs = make_certificates(tmp_path / "certificates")
    tls = {"certificate": pairs["node"][0], "key": pairs["node"][1], "authority": authority}
    with running_node(tmp_path, node={"tls": tls}) as running:
        context = ssl.create_default_context(cafile=str(authority))
        context.check_hostname = False
        context.load_cert_chain(*pairs["scanner"])

        assert running.send(read_slices(tmp_path / "series", 2), tls_args=(context, "node")) == [0, 0]


@pytest.mark.parametrize("name", ["stranger", None])
def test_tls_without_a_certificate_of_the_authority_is_refused(name: str | None, tmp_path: Path) -> None:
    authority, pairs = make_certificates(tmp_path / "certificates")
    tls = {"certificate": pairs["node"][0], "key": pairs["node"][1], "authority": authority}
    with running_node(tmp_path, node={"tls": tls}) as running:
        context = ssl.create_default_context(cafile=str(authority))
        context.check_hostname = False
        if name:
            context.load_cert_chain(*pairs[name])

        assert not running.associate(tls_args=(context, "node")).is_established
        assert not running.associate().is_established  # nor without TLS


def test_a_peer_that_does_not_finish_its_handshake_keeps_nobody_waiting(tmp_path: Path) -> None:
    authority, pairs = make_certificates(tmp_path / "certificates")
    tls = {"certificate": pairs["node"][0], "key": pairs["node"][1], "authority": authority}
    with running_node(tmp_path, node={"tls": tls, "timeout_s": 120.0}) as running:
        silent = socket.create_connection(("127.0.0.1", running.port))
        context = ssl.create_default_context(cafile=str(authority))
        context.check_hostname = False
        context.load_cert_chain(*pairs["scanner"])

        begin = time.monotonic()
        assert running.send(read_slices(tmp_path / "series", 1), tls_args=(context, "node")) == [0]
        assert time.monotonic() - begin < 60
        silent.close()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with running_node(tmp_path / "one") as running:
        other = make_parts(tmp_path / "other", node={"port": running.port})
        with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1"):
            Node(other.settings, other.database, other.spool)
        other.database.close()


def test_the_check_of_a_configuration_asks_a_node_by_c_echo(tmp_path: Path) -> None:
    with running_node(tmp_path / "node", node={"ae_title": "PACS"}) as running:
        fine = {"name": "pacs", "kind": "dicom", "host": "127.0.0.1", "port": running.port, "ae_title": "PACS"}
        destinations = [fine, {**fine, "name": "wrong-title", "ae_title": "OTHER"}]
        settings = make_parts(tmp_path / "server", destinations=destinations).settings
        checks = {each.name: each for each in check_server(settings, with_ports=False)}

    assert next(each for name, each in checks.items() if name.endswith("pacs")).is_good
    wrong = next(each for name, each in checks.items() if name.endswith("wrong-title"))
    assert not wrong.is_good
    assert "AE title" in wrong.message
