"""What the embedded server is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import BadSettings
from mesh.server import JS_KEY_ENV, ServerSettings, ServerTokens, parse_version, render_config, store_key_text

SETTINGS = ServerSettings(
    state_dir=Path("/state"),
    tokens=ServerTokens("op", "ASYS", {"ASYS": "sys", "ASWARM": "swarm"}, "sentinel"),
    cert_file=Path("/state/c.pem"),
    key_file=Path("/state/k.pem"),
    store_key=b"\x01" * 32,
)


def parsed(settings, port=None):
    return json.loads(render_config(settings, port=port).replace(f"${JS_KEY_ENV}", '"KEY"'))


def test_tls_comes_first_and_nothing_listens_in_clear():
    config = parsed(SETTINGS)
    assert config["tls"]["handshake_first"] is True
    assert config["tls"]["min_version"] == "1.3"
    assert not {"http", "https", "http_port", "monitor_port", "websocket", "mqtt"} & set(config)


def test_the_store_is_synced_and_encrypted_by_a_bare_variable():
    text = render_config(SETTINGS)
    assert f'"key": ${JS_KEY_ENV}' in text
    assert f'"${JS_KEY_ENV}"' not in text
    assert parsed(SETTINGS)["jetstream"]["sync_interval"] == "always"
    assert parsed(replace(SETTINGS, sync_always=False))["jetstream"]["sync_interval"] != "always"


def test_a_port_once_found_is_asked_for_again():
    assert parsed(SETTINGS)["listen"] == "127.0.0.1:-1"
    assert parsed(SETTINGS, port=4333)["listen"] == "127.0.0.1:4333"
    assert parsed(replace(SETTINGS, port=4222))["listen"] == "127.0.0.1:4222"
    assert parsed(replace(SETTINGS, host="::", port=4222))["listen"] == "[::]:4222"


def test_revocations_reach_a_server_within_a_second():
    resolver = parsed(SETTINGS)["resolver"]
    assert (resolver["type"], resolver["interval"], resolver["allow_delete"]) == ("full", "1s", False)


def test_sizes_are_numbers():
    config = parsed(SETTINGS)
    sizes = [config["max_payload"], config["logfile_size_limit"], config["jetstream"]["max_file_store"]]
    assert all(isinstance(size, int) for size in sizes)


@given(key=st.binary(min_size=32, max_size=32))
def test_the_key_in_the_environment_reads_as_one_plain_word(key):
    text = store_key_text(key)
    assert text[0] == "k"
    assert text.isalnum()
    assert len(text) == 53


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70_000},
        {"port": -1},
        {"name": "two words"},
        {"name": ""},
        {"store_key": b"short"},
        {"host": "example.org"},
        {"max_store_bytes": 10},
    ],
)
def test_a_setting_that_cannot_work_is_named(wrong):
    with pytest.raises(BadSettings) as caught:
        replace(SETTINGS, **wrong)
    assert caught.value.code == "E_SETTINGS"
    assert caught.value.hint


def test_the_version_is_read_from_what_the_server_prints():
    assert parse_version("nats-server: v2.15.1\n") == (2, 15, 1)
    assert parse_version("nats-server: v2.15.10-RC.1") == (2, 15, 10)
    with pytest.raises(BadSettings):
        parse_version("hello 2.15.1")
