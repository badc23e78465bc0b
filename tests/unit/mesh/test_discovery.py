"""Which addresses a node tries, and what it makes of announcements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.discovery import (
    DEFAULT_PORT,
    MAX_CANDIDATES,
    Beacon,
    Endpoint,
    choose,
    instance_name,
    parse_endpoint,
    read_txt,
    swarm_tag,
    write_txt,
)
from mesh.errors import BadSettings

TAG = "deadbeef"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.10:4333", "192.168.1.10", 4333),
        ("192.168.1.10", "192.168.1.10", DEFAULT_PORT),
        ("pi.local:1", "pi.local", 1),
        ("tls://bus.example.org:4222", "bus.example.org", 4222),
        (" nats://x ", "x", DEFAULT_PORT),
        ("[fd00::1]:4333", "fd00::1", 4333),
        ("fd00::1", "fd00::1", DEFAULT_PORT),
        ("::1", "::1", DEFAULT_PORT),
    ],
)
def test_an_address_is_read_in_every_usual_form(text, host, port):
    endpoint = parse_endpoint(text)
    assert (endpoint.host, endpoint.port) == (host, port)
    assert parse_endpoint(endpoint.url) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host:0",
        "host:99999",
        "host:x",
        "http://host",
        "a b",
        "user@host",
        "host/path",
        "host?x",
        "-host",
        "1.2.3",
        "1.2.3.999",
        "host:1:2:3",
        "[::1",
        "h\r\nPUB",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(BadSettings) as caught:
        parse_endpoint(text)
    assert "host:port" in caught.value.hint


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_of_addresses_fail_otherwise(text):
    try:
        endpoint = parse_endpoint(text)
    except BadSettings:
        return
    assert 0 < endpoint.port < 65_536


def test_what_a_person_typed_comes_first_and_whispers_last():
    found = choose(
        [Endpoint("inv", 1, "invite"), Endpoint("saved", 1, "saved"), Endpoint("flag", 1, "flag")],
        beacons=[Beacon(TAG, "n", 1, ("10.0.0.1",))],
        swarm=TAG,
    )
    assert [endpoint.source for endpoint in found] == ["flag", "saved", "invite", "mdns"]


def test_an_address_known_twice_is_tried_once():
    twice = [Endpoint("a", 1, "invite"), Endpoint("a", 1, "saved"), Endpoint("a", 2, "saved")]
    assert choose(twice) == [Endpoint("a", 1, "saved"), Endpoint("a", 2, "saved")]


def test_announcements_of_other_swarms_are_left_out():
    beacons = [Beacon("0badcafe", "x", 1, ("10.0.0.9",)), Beacon(TAG, "y", 1, ("10.0.0.1",))]
    assert [e.host for e in choose([], beacons=beacons, swarm=TAG)] == ["10.0.0.1"]
    assert choose([], beacons=beacons) == []


def test_a_flood_of_false_announcements_cannot_keep_a_node_busy():
    beacons = [Beacon(TAG, f"n{n}", 1, (f"10.0.{n // 250}.{n % 250 + 1}",)) for n in range(1000)]
    found = choose([Endpoint("saved", 1, "saved")], beacons=beacons, swarm=TAG)
    assert len(found) == MAX_CANDIDATES
    assert found[0].host == "saved"


def test_among_whispers_private_ipv4_comes_before_link_local():
    beacon = Beacon(TAG, "n", 1, ("fe80::1", "fd00::1", "192.168.0.2"))
    assert [e.host for e in choose([], beacons=[beacon], swarm=TAG)] == ["192.168.0.2", "fd00::1", "fe80::1"]


def test_the_announcement_holds_the_tag_and_nothing_secret():
    beacon = Beacon(swarm_tag(bytes.fromhex("deadbeef" + "00" * 28)), "n", 4222)
    assert write_txt(beacon) == {"v": "1", "id": "deadbeef"}


def test_an_announcement_is_read_back():
    txt = {key.encode(): value.encode() for key, value in write_txt(Beacon(TAG, "n", 1)).items()}
    assert read_txt(
        "pc-01234567", 4222, ["10.0.0.1", "junk", "224.0.0.1", "0.0.0.0", "fe80::1%eth0"], txt
    ) == Beacon(TAG, "pc-01234567", 4222, ("10.0.0.1", "fe80::1"))


@pytest.mark.parametrize(
    ("instance", "port", "addresses", "txt"),
    [
        ("n", 4222, ["10.0.0.1"], {}),
        ("n", 4222, ["10.0.0.1"], {b"v": b"2", b"id": b"deadbeef"}),
        ("n", 4222, ["10.0.0.1"], {b"v": b"1", b"id": b"DEADBEEF"}),
        ("n", 4222, ["10.0.0.1"], {b"v": b"1", b"id": b"deadbeef00"}),
        ("n", 4222, ["10.0.0.1"], {b"v": b"1", b"id": None}),
        ("n", 4222, ["10.0.0.1"], {b"v": b"1", b"id": b"\xff" * 8}),
        ("bad\x1b[31m", 4222, ["10.0.0.1"], {b"v": b"1", b"id": b"deadbeef"}),
        ("n", 0, ["10.0.0.1"], {b"v": b"1", b"id": b"deadbeef"}),
        ("n", None, ["10.0.0.1"], {b"v": b"1", b"id": b"deadbeef"}),
        ("n", 4222, [], {b"v": b"1", b"id": b"deadbeef"}),
        ("n", 4222, ["junk"], {b"v": b"1", b"id": b"deadbeef"}),
    ],
)
def test_a_malformed_announcement_is_ignored(instance, port, addresses, txt):
    assert read_txt(instance, port, addresses, txt) is None


@given(st.text(max_size=80))
def test_every_node_name_makes_a_name_that_others_accept(name):
    txt = {b"v": b"1", b"id": b"deadbeef"}
    assert read_txt(instance_name(name, "0123456789abcdef"), 1, ["10.0.0.1"], txt) is not None
