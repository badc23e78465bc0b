"""The command: what it says, in which form, with which exit code; run as a person or a program would."""

import importlib.metadata
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest

import mesh.cli as cli
from mesh.cli import GROUPS, Cli, main
from mesh.output import EXIT_OF_CODE, Exit, exit_code_of
from mesh.verbs import DURATION, Session, command, run_async
from protocol.errors import ZwermError

ROOT = Path(__file__).resolve().parents[3]
VERBS = sorted(Cli()._verbs())


def leaves() -> list[str]:
    """Every command that does something, as it is typed: `status`, `runs ls`, ..."""
    found = []
    for name, verb in sorted(Cli()._verbs().items()):
        found += (
            [f"{name} {sub}" for sub in sorted(verb.commands)] if isinstance(verb, click.Group) else [name]
        )
    return found


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the device's own home, and none is asked anything."""
    monkeypatch.setenv("ZWERM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CI", "true")


def zwerm(*arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mesh", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **env},
        check=False,
    )


def failure(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one document on stdout that says what failed."""
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["schema"], document["ok"]) == ("zwerm.error/1", False)
    assert err == ""
    error: dict[str, Any] = document["error"]
    return error


def planted(monkeypatch: pytest.MonkeyPatch, verb: Any) -> None:
    """Let another package offer a verb."""
    point = EntryPoint("theirs", "tests_planted:COMMANDS", "zwerm.commands")
    monkeypatch.setattr(EntryPoint, "load", lambda self: [verb] if self.name == "theirs" else real_load(self))
    real = importlib.metadata.entry_points
    monkeypatch.setattr(cli, "entry_points", lambda **wanted: [*real(**wanted), point])


real_load = EntryPoint.load


# --- screens ------------------------------------------------------------------------------------------------------------------


def test_the_bare_command_on_a_fresh_device_says_where_to_start(capsys: pytest.CaptureFixture[str]):
    assert main([]) == Exit.OK
    text = capsys.readouterr().out
    for start in ("zwerm demo", "zwerm init", "zwerm join", "zwerm --help"):
        assert start in text


def test_help_groups_every_verb_in_the_order_a_newcomer_needs_them(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == Exit.OK
    text = capsys.readouterr().out
    assert [text.index(f"{title}:") for title in GROUPS] == sorted(
        text.index(f"{title}:") for title in GROUPS
    )
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.MULTILINE), verb
    assert {name for names in GROUPS.values() for name in names} <= set(VERBS)


@pytest.mark.parametrize("verb", leaves())
def test_each_verb_explains_itself_and_takes_the_common_options(
    verb: str, capsys: pytest.CaptureFixture[str]
):
    for flag in ("--help", "-h"):
        assert main([*verb.split(), flag]) == Exit.OK
        text = capsys.readouterr().out
        assert text.startswith(f"Usage: zwerm {verb}")
        for option in ("--json", "--quiet", "--verbose", "--no-color", "--home", "--timeout", "--yes"):
            assert option in text, option


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_its_own_help(verb: str, capsys: pytest.CaptureFixture[str]):
    assert main(["help", verb]) == Exit.OK
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: zwerm {verb}")
    assert main([verb, "--help"]) == Exit.OK
    assert capsys.readouterr().out == text


def test_a_mistyped_verb_names_its_neighbour(capsys: pytest.CaptureFixture[str]):
    assert main(["statsu"]) == Exit.USAGE
    assert "Did you mean `zwerm status`" in capsys.readouterr().err
    assert main(["xyzzy"]) == Exit.USAGE
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_is_usage_in_words_and_in_json(verb: str, capsys: pytest.CaptureFixture[str]):
    assert main([verb, "--frobnicate"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "--frobnicate" in err
    assert f"zwerm {verb} --help" in err
    assert main([verb, "--frobnicate", "--json"]) == Exit.USAGE
    assert failure(capsys)["code"] == "E_USAGE"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nodes"],
        ["nodes", "show", "x"],
        ["invite"],
        ["runs", "ls"],
        ["status"],
        ["up"],
        ["down"],
        ["leave", "-y"],
    ],
)
def test_without_a_swarm_each_verb_says_how_to_get_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([*arguments, "--json"]) == Exit.USAGE
    error = failure(capsys)
    assert error["code"] == "E_NO_SWARM"
    assert "zwerm init" in error["hint"]


def test_a_topic_of_help_is_a_text_or_a_document(capsys: pytest.CaptureFixture[str]):
    assert main(["help", "exit-codes"]) == Exit.OK
    text = capsys.readouterr().out
    assert [int(code) for code in re.findall(r"^ +(\d+) ", text, re.MULTILINE)] == [
        int(code) for code in Exit
    ]
    assert main(["help", "ports", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["topic"] == "ports"
    assert main(["help", "nonsense"]) == Exit.USAGE


def test_the_version_is_one_line_however_it_is_asked_for(capsys: pytest.CaptureFixture[str]):
    from mesh.version import VERSION

    assert zwerm("--version").stdout == f"zwerm {VERSION}\n"
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"zwerm {VERSION}\n"


# --- forms of failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "exit_code"), [*EXIT_OF_CODE.items(), ("E_SOMETHING_ELSE", Exit.FAILED)])
def test_a_named_failure_has_its_exit_code_and_one_document(
    code: str, exit_code: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    @command("planted")
    def verb(session: Session) -> int:
        raise ZwermError(code, "it \x1b[31mbroke\x1b[0m", "mend it")

    planted(monkeypatch, verb)
    assert main(["planted", "--json"]) == exit_code == exit_code_of(ZwermError(code))
    error = failure(capsys)
    assert (error["code"], error["hint"]) == (code, "mend it")
    assert "\x1b" not in error["message"]
    assert main(["planted"]) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith(f"{code}  it ")
    assert err.splitlines()[1] == "Next  mend it"
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "/x"), "E_OS"),
        (RuntimeError("a defect"), "E_INTERNAL"),
        (ExceptionGroup("two", [ZwermError("E_NO_BID", "nobody"), ZwermError("E_OTHER")]), "E_NO_BID"),
        (ExceptionGroup("two", [RuntimeError("a defect"), ZwermError("E_OTHER")]), "E_INTERNAL"),
        (click.FileError("x", "no such file"), "E_USAGE"),
    ],
)
def test_a_failure_that_nobody_named_is_words_and_no_trace(
    error: Exception, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    @command("planted")
    def verb(session: Session) -> int:
        raise error

    planted(monkeypatch, verb)
    assert main(["planted", "--json"]) != Exit.OK
    assert failure(capsys)["code"] == code
    assert main(["planted"]) != Exit.OK
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_shows_its_place_with_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    @command("planted")
    def verb(session: Session) -> int:
        raise RuntimeError("a defect")

    planted(monkeypatch, verb)
    assert main(["planted", "-v"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_what_does_not_fit_a_message_is_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    from tests.support.members import found

    home = found(tmp_path / "hub")
    assert main(["invite", "revoke", "xyz", "--home", str(home.path), "--json"]) == Exit.USAGE
    assert failure(capsys)["code"] == "E_USAGE"


def test_a_verb_that_takes_too_long_exits_124(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import asyncio

    @command("planted")
    def verb(session: Session) -> int:
        run_async(asyncio.Event().wait(), timeout_s=session.timeout_s)
        return Exit.OK

    planted(monkeypatch, verb)
    assert main(["planted", "--timeout", "0.05s", "--json"]) == Exit.TIMEOUT == 124
    assert failure(capsys)["code"] == "E_TIMEOUT"


def test_ctrl_c_exits_130_and_says_so(tmp_path: Path):
    script = (
        "import asyncio, sys\n"
        "from mesh import cli\n"
        "from mesh.verbs import command, run_async\n"
        "@command('wait')\n"
        "def wait(session):\n"
        "    async def forever():\n"
        "        print('waiting', file=sys.stderr, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "    run_async(forever())\n"
        "root = cli.Cli()\n"
        "root._verbs()['wait'] = wait\n"
        "cli.Cli = lambda: root\n"
        "sys.exit(cli.main(['wait', '--json']))\n"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == Exit.INTERRUPTED == 130
        assert json.loads(out)["error"]["code"] == "E_INTERRUPTED"
        assert err == ""


def test_a_reader_that_leaves_is_no_failure():
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh", "help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), err) == (0, b"")


# --- terminals ----------------------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str, answer: str | None = None, **env: str) -> tuple[int, str]:
    """Run the command with a terminal for all three streams."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", **env},
        start_new_session=True,
    )
    os.close(follower)
    if answer is not None:
        os.write(leader, answer.encode())
    text = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the last process has closed its end
            break
        if not part:
            break
        text += part
    os.close(leader)
    return process.wait(30), text.decode()


def test_colour_is_for_terminals_only_and_can_be_switched_off():
    code, text = on_a_terminal("doctor")
    assert "\x1b[" in text
    for arguments, env in (
        (["doctor"], {"NO_COLOR": "1"}),
        (["doctor", "--no-color"], {}),
        (["doctor"], {"TERM": "dumb"}),
        (["doctor", "--json"], {}),
    ):
        assert "\x1b" not in on_a_terminal(*arguments, **env)[1], arguments
    piped = zwerm("doctor")
    assert piped.returncode == code
    assert "\x1b" not in piped.stdout + piped.stderr


def test_nobody_is_asked_where_nobody_can_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from tests.support.members import found

    home = found(tmp_path / "hub")
    done = zwerm("leave", "--home", str(home.path))
    assert done.returncode == Exit.USAGE
    assert "--yes" in done.stderr
    assert home.exists
    code, _ = on_a_terminal("leave", "--home", str(home.path), answer="n\n", CI="")
    assert code == Exit.REFUSED
    assert home.exists
    code, text = on_a_terminal("leave", "--home", str(home.path), answer="y\n", CI="")
    assert code == Exit.OK, text
    assert not home.exists
    assert str(tmp_path / "hub.left") in text


def test_a_token_may_come_by_argument_by_file_or_by_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "token"
    file.write_text("swarm1nonsense\n")
    for done in (
        zwerm("join", "swarm1nonsense", "--json"),
        zwerm("join", "--token-file", str(file), "--json"),
        zwerm("join", "-", "--json", stdin="swarm1nonsense\n"),
        zwerm("join", "--json", stdin="swarm1nonsense\n"),
    ):
        assert done.returncode == Exit.USAGE
        assert json.loads(done.stdout)["error"]["hint"]


def test_a_damaged_home_can_be_left_by_wiping_it(tmp_path: Path):
    home = tmp_path / "damaged"
    home.mkdir()
    (home / "node.json").write_text("{")
    done = zwerm("leave", "--home", str(home), "-y", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "E_HOME"
    assert home.exists()
    assert zwerm("leave", "--wipe", "--home", str(home), "-y").returncode == Exit.OK
    assert not home.exists()


# --- other people's verbs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [ImportError("no such module"), SystemExit(3), None])
def test_a_package_whose_verbs_cannot_be_loaded_is_remembered_and_harmless(
    broken: BaseException | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def load(self: EntryPoint) -> Any:
        if self.name != "theirs":
            return real_load(self)
        if broken is None:
            return ["not a command"]
        raise broken

    point = EntryPoint("theirs", "x:y", "zwerm.commands")
    monkeypatch.setattr(EntryPoint, "load", load)
    real = importlib.metadata.entry_points
    monkeypatch.setattr(cli, "entry_points", lambda **wanted: [*real(**wanted), point])
    root = Cli()
    assert sorted(root._verbs()) == VERBS
    assert list(root.broken) == ["theirs"]
    assert main(["--help"]) == Exit.OK
    assert "zwerm" in capsys.readouterr().out


def test_a_verb_of_another_package_is_listed_last_and_takes_no_verb_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    @command("teleport")
    def verb(session: Session) -> int:
        """Move at once."""
        return Exit.OK

    planted(monkeypatch, verb)
    assert main(["--help"]) == Exit.OK
    text = capsys.readouterr().out
    assert text.index("More:") < text.index("teleport")
    verb.name = "status"
    assert Cli()._verbs()["status"] is not verb


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1.5", 1.5), (" 3S ", 3)]
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "nan", "inf", "1e12", "5 minutes"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(click.UsageError):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("line", leaves())
def test_examples_in_the_help_keep_their_lines(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert "\\b" not in said
    assert "Examples:" not in said or "\n  Examples:\n    zwerm " in said


def test_the_first_help_screen_loads_no_heavy_library() -> None:
    code = "import sys; from mesh.cli import main; main(['--help']); print(sorted({'pydantic', 'cryptography', 'nats', 'rich'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
