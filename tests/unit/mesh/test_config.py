"""A device's settings: safe defaults, and a clear refusal of everything that means nothing."""

from pathlib import Path

import pytest

from mesh.config import Config, load_config
from mesh.errors import BadSettings
from mesh.home import Home


def written(tmp_path: Path, text: str | bytes) -> Home:
    home = Home(tmp_path)
    home.write("config.toml", text if isinstance(text, bytes) else text.encode())
    return home


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    config = load_config(Home(tmp_path))
    assert config == Config()
    assert (config.mdns, config.sync_always) == (True, True)


def test_what_the_owner_sets_is_taken_over(tmp_path: Path):
    config = load_config(written(tmp_path, "mdns = false\njournal_mib = 16\nartifacts_mib = 64\n"))
    assert not config.mdns
    sizes = config.workspace_sizes()
    assert (sizes.journal, sizes.artifacts) == (16 << 20, 64 << 20)


def test_the_roles_get_their_own_sections_and_the_agents(tmp_path: Path):
    text = '[agent]\nslots = 2\n[coordinator]\nx = 1\n[[agents]]\nname = "a"\n[[agents]]\nname = "b"\n'
    config = load_config(written(tmp_path, text))
    assert config.section("agent") == {"slots": 2, "agents": [{"name": "a"}, {"name": "b"}]}
    assert config.section("coordinator") == {"x": 1}
    assert config.section("other") == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mdsn = true", "mdsn"),
        ("mdns = 'yes'", "mdns"),
        ("mdns = 1", "mdns"),
        ("journal_mib = 0", "journal_mib"),
        ("replicas = 2", "replicas"),
        ("journal_mib = '16'", "journal_mib"),
        ("artifacts_mib = 1.5", "artifacts_mib"),
        ("agent = 3", "[agent]"),
        ("agents = {}", "[[agents]]"),
        ("[[coordinator]]", "[coordinator]"),
        ("mdns = ", "config.toml"),
        (b"\xff\xfe", "config.toml"),
    ],
)
def test_a_setting_that_cannot_be_names_itself_and_the_file(tmp_path: Path, text: str | bytes, named: str):
    with pytest.raises(BadSettings) as caught:
        load_config(written(tmp_path, text))
    said = f"{caught.value.message} {caught.value.hint}"
    assert named in said
    assert str(tmp_path / "config.toml") in said
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(BadSettings) as caught:
        load_config(Home(tmp_path))
    assert "config.toml" in caught.value.message
