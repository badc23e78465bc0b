"""The daemon's log, and the very first step of the command."""

import logging
import stat
import sys
from pathlib import Path

import pytest

import mesh.entry as entry
from mesh.home import Home
from mesh.logs import log_to_file
from mesh.version import VERSION


@pytest.fixture(autouse=True)
def _root_logger():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_the_log_lies_in_the_home_and_only_its_owner_reads_it(tmp_path: Path):
    home = Home(tmp_path / "z")
    log_to_file(home)
    logging.getLogger("zwerm.test").warning("who went where")
    logging.getLogger("zwerm.test").debug("not this")
    path = home.file("logs/daemon.log")
    assert "WARNING zwerm.test: who went where" in path.read_text()
    assert "not this" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_with_more_words_the_log_says_more_also_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    log_to_file(Home(tmp_path), verbose=2, console=True)
    logging.getLogger("zwerm.test").debug("this too")
    assert "this too" in (tmp_path / "logs" / "daemon.log").read_text()
    assert "this too" in capsys.readouterr().err


def test_the_log_starts_anew_when_it_is_full_and_five_old_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log_to_file(Home(tmp_path))
    [handler] = [one for one in logging.getLogger().handlers if getattr(one, "backupCount", 0)]
    assert (handler.maxBytes, handler.backupCount) == (20 << 20, 5)  # type: ignore[attr-defined]
    handler.maxBytes = 2000  # type: ignore[attr-defined]
    for number in range(300):
        logging.getLogger("zwerm.test").warning("line %d of a long story", number)
    kept = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert kept == ["daemon.log", *(f"daemon.log.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 2000 for path in (tmp_path / "logs").iterdir())


def test_the_version_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["zwerm", "--version"])
    monkeypatch.setitem(sys.modules, "mesh.cli", None)  # loading it would fail
    assert entry.main() == 0
    assert capsys.readouterr().out == f"zwerm {VERSION}\n"


def test_ctrl_c_while_the_command_loads_is_no_trace(monkeypatch: pytest.MonkeyPatch):
    import mesh.cli as cli

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["zwerm", "status"])
    monkeypatch.setattr(cli, "main", interrupted)
    assert entry.main() == 130
