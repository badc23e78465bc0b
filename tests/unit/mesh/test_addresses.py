"""Where this device listens and how others reach it."""

import socket

import pytest

from mesh.addresses import bind_host, choose_port, reachable_addresses
from mesh.errors import BadSettings, PortTaken


@pytest.fixture
def taken():
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("said", "host"),
    [("lan", "0.0.0.0"), ("loopback", "127.0.0.1"), ("192.0.2.7", "192.0.2.7"), ("::1", "::1")],
)
def test_a_place_to_listen_is_a_word_or_an_address(said: str, host: str):
    assert bind_host(said) == host


@pytest.mark.parametrize("said", ["", "everywhere", "example.org", "1.2.3", "127.0.0.1:4747"])
def test_anything_else_is_refused_with_the_choices(said: str):
    with pytest.raises(BadSettings) as caught:
        bind_host(said)
    assert "loopback" in caught.value.hint


def test_a_port_that_was_asked_for_is_used_or_refused(taken: int):
    with pytest.raises(PortTaken) as caught:
        choose_port("127.0.0.1", taken)
    assert caught.value.port == taken
    free, moved = choose_port("127.0.0.1", 0)
    assert choose_port("127.0.0.1", free) == (free, False)
    assert not moved


def test_a_usual_port_that_is_taken_gives_way_to_the_next_and_says_so(
    taken: int, monkeypatch: pytest.MonkeyPatch
):
    import mesh.addresses as addresses

    monkeypatch.setattr(addresses, "DEFAULT_PORT", taken)
    port, moved = choose_port("127.0.0.1", None)
    assert (port != taken, moved) == (True, True)


@pytest.mark.parametrize("port", [0, 4799, None])
def test_an_address_that_this_device_does_not_have_is_a_setting_that_cannot_work(port: int | None):
    with pytest.raises(BadSettings) as caught:
        choose_port("192.0.2.7", port)
    assert "192.0.2.7" in caught.value.message
    assert "--bind" in caught.value.hint


def test_a_port_that_needs_more_rights_is_not_called_taken(monkeypatch: pytest.MonkeyPatch):
    def refused(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(BadSettings) as caught:
        choose_port("127.0.0.1", 80)
    assert "1024" in caught.value.hint


def test_who_listens_on_one_address_is_reached_there_and_nowhere_else():
    assert reachable_addresses("127.0.0.1") == ["127.0.0.1"]


def test_who_listens_everywhere_is_reached_by_addresses_that_mean_something_elsewhere():
    found = reachable_addresses("0.0.0.0")
    assert found
    assert found == ["127.0.0.1"] or not any(address.startswith(("127.", "169.254.")) for address in found)
