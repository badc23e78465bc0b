"""Secrets: kept privately, never shown, refused in words."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent_node.errors import AdapterError
from agent_node.secrets_file import SecretError, list_secrets, read_secret, remove_secret, write_secret
from mesh.home import Home


def test_a_secret_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    write_secret(tmp_path, "API_KEY", "  sk-1\n")
    path = tmp_path / "secrets" / "API_KEY"
    assert read_secret(tmp_path, "API_KEY") == "sk-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    write_secret(tmp_path, "API_KEY", "sk-2")
    assert (read_secret(tmp_path, "API_KEY"), list_secrets(tmp_path)) == ("sk-2", ["API_KEY"])


def test_a_secret_that_others_can_read_is_not_used_and_doctor_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    write_secret(tmp_path, "API_KEY", "sk-1")
    assert Home(tmp_path).problems() == []
    (tmp_path / "secrets" / "API_KEY").chmod(0o640)
    with pytest.raises(AdapterError, match="can be read by others"):
        read_secret(tmp_path, "API_KEY")
    assert "API_KEY can be read by others" in " ".join(Home(tmp_path).problems())


@pytest.mark.parametrize("name", ["", "../keys/sign", "a b", "9", "x" * 65, "a/b", "é"])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError):
        write_secret(tmp_path, name, "value")
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("value", ["", " \n", "two\nlines", "bell\a", "x" * 20_000])
def test_a_value_that_no_key_has_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SecretError):
        write_secret(tmp_path, "API_KEY", value)
    assert list_secrets(tmp_path) == []


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as caught:
        read_secret(tmp_path, "API_KEY")
    assert "zwerm secrets set API_KEY" in caught.value.hint
    write_secret(tmp_path, "OTHER", "x")
    with pytest.raises(SecretError) as missing:
        remove_secret(tmp_path, "API_KEY")
    assert (missing.value.code, "OTHER" in missing.value.hint) == ("E_NOT_FOUND", True)
    remove_secret(tmp_path, "OTHER")
    assert list_secrets(tmp_path) == []


def test_a_link_in_the_place_of_a_secret_is_not_followed(tmp_path: Path) -> None:
    write_secret(tmp_path, "OTHER", "x")
    (tmp_path / "secrets" / "API_KEY").symlink_to(tmp_path / "secrets" / "OTHER")
    with pytest.raises(AdapterError):
        read_secret(tmp_path, "API_KEY")
