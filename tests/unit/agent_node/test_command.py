"""Programs as agents: what a sandbox hides, what an exit status means, and that nothing is offered without its sandbox."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_node import sandbox_proc
from agent_node.adapters import Place, build
from agent_node.adapters.base import Job, Outcome
from agent_node.config import load_config
from agent_node.errors import AdapterError, WorkError

ROOT = Path(__file__).parents[3]
BOXED = pytest.param(
    "auto",
    marks=pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine"),
)
boxed_only = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine")


class Bench:
    """One program, run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"
        self.jobs.mkdir()
        self.serial = 0

    def command(self, code: str, *words: str, **more: Any) -> Any:
        script = self.folder / f"program{self.serial}.py"
        script.write_text(code)
        entry = {"name": "tool", "adapter": "command", "capability": "test.it", "sandbox": "none"}
        entry |= {
            "argv": [sys.executable, "-I", str(script), *words],
            "readable": [sys.prefix, sys.base_prefix],
        }
        [adapter], left_out = build(
            Place(load_config({"documents": False, "agents": [entry | more]}), self.jobs)
        )
        assert left_out == []
        return adapter

    def job(self, params: dict[str, Any] | None = None) -> Job:
        self.serial += 1
        folder = self.jobs / f"{self.serial}"
        for path in (folder, folder / "in", folder / "out"):
            path.mkdir()
        return Job(str(self.serial), "test.it", params or {}, folder)

    async def run(self, code: str, *words: str, params: dict[str, Any] | None = None, **more: Any) -> Outcome:
        outcome: Outcome = await self.command(code, *words, **more).run(self.job(params), lambda *_: None)
        return outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def told(outcome: Outcome) -> Any:
    content = outcome.outputs[0].content
    assert isinstance(content, Path)
    return json.loads(content.read_text())


@pytest.mark.parametrize("sandbox", ["none", BOXED])
async def test_the_command_line_is_the_owners_word_for_word(bench: Bench, sandbox: str) -> None:
    words = ["a b", "*", "$(id)", "`id`", "; rm -rf /", "--", "ü", "'\"", "{}"]
    outcome = await bench.run("import json, sys; print(json.dumps(sys.argv[1:]))", *words, sandbox=sandbox)
    assert told(outcome) == words


@pytest.mark.parametrize("sandbox", ["none", BOXED])
async def test_files_in_the_folder_out_are_outputs_by_their_names(bench: Bench, sandbox: str) -> None:
    code = """
import json, os, sys
order = json.load(sys.stdin)
os.makedirs(order["out"] + "/sub")
for name in ("b.csv", "a.txt", "sub/c.bin"):
    open(order["out"] + "/" + name, "w").write(name)
os.mkfifo(order["out"] + "/pipe")
os.symlink("/etc/passwd", order["out"] + "/link")
os.symlink("/etc", order["out"] + "/folder")
print("not json")
"""
    outcome = await bench.run(code, sandbox=sandbox)
    assert [(made.name, made.media_type) for made in outcome.outputs] == [
        ("a.txt", "text/plain"),
        ("b.csv", "text/csv"),
        ("sub/c.bin", "application/octet-stream"),
    ]


@boxed_only
async def test_a_sandbox_hides_home_keys_processes_and_environment(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_NODE", "hunter2")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "sign").write_text("secret")
    code = """
import json, os, sys
order = json.load(sys.stdin)
def tried(do):
    try:
        return do()
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "key": tried(lambda: open(order["params"]["key"]).read()),
    "home": tried(lambda: sorted(os.listdir(order["params"]["home"]))),
    "shadow": tried(lambda: open("/etc/shadow").read()),
    "usr": tried(lambda: open("/usr/x", "w")),
    "in": tried(lambda: open("/job/in/x", "w")),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "environment": sorted(os.environ),
    "root": sorted(os.listdir("/job")),
}))
"""
    seen = told(
        await bench.run(code, params={"key": str(keys / "sign"), "home": str(tmp_path)}, sandbox="auto")
    )
    assert seen["key"] == "FileNotFoundError"
    assert seen["home"] == ["program0.py"]
    assert seen["shadow"] == "FileNotFoundError"
    assert seen["usr"] in ("OSError", "PermissionError")
    assert seen["in"] in ("OSError", "PermissionError")
    assert seen["processes"] <= 3
    assert set(seen["environment"]) <= {"HOME", "LANG", "LC_CTYPE", "PATH", "PWD", "ZWERM_JOB"}
    assert seen["root"] == ["in", "out", "work"]


@boxed_only
@pytest.mark.parametrize(("network", "answer"), [(False, "refused"), (True, "hello")])
async def test_a_sandbox_has_no_network_unless_its_owner_says_so(
    bench: Bench, network: bool, answer: str
) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code = """
import json, socket, sys
order = json.load(sys.stdin)
try:
    said = socket.create_connection(("127.0.0.1", order["params"]["port"]), 5).recv(5).decode()
except OSError:
    said = "refused"
print(json.dumps(said))
"""
    async with server:
        assert told(await bench.run(code, params={"port": port}, network=network, sandbox="auto")) == answer


@boxed_only
async def test_a_sandbox_lets_a_program_make_no_sandbox_of_its_own(bench: Bench) -> None:
    code = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
print(json.dumps(libc.unshare(0x10000000)))
"""
    assert told(await bench.run(code, sandbox="auto")) == -1


async def test_without_bubblewrap_nothing_is_offered_half(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which
    monkeypatch.setattr(
        "agent_node.sandbox_proc.shutil.which", lambda name: None if name == "bwrap" else real(name)
    )
    sandbox_proc._problem.cache_clear()
    entry = {"name": "tool", "adapter": "command", "capability": "test.it", "argv": ["/bin/true"]}
    try:
        offered, [out] = build(Place(load_config({"documents": False, "agents": [entry]}), bench.jobs))
    finally:
        sandbox_proc._problem.cache_clear()
    assert offered == []
    assert isinstance(out.error, AdapterError)
    assert "bubblewrap" in out.error.message
    assert 'sandbox = "none"' in out.error.hint


def test_a_program_that_is_not_there_is_not_offered(bench: Bench) -> None:
    entry = {"name": "tool", "adapter": "command", "capability": "test.it", "argv": ["/no/such/program"]}
    offered, [out] = build(Place(load_config({"documents": False, "agents": [entry]}), bench.jobs))
    assert offered == []
    assert "/no/such/program" in out.error.message


async def test_an_exit_status_is_a_failure_with_the_end_of_what_was_said(bench: Bench) -> None:
    code = "import sys; sys.stderr.write('x' * 5000 + '\\x1b[31mthe reason'); sys.exit(4)"
    with pytest.raises(WorkError) as caught:
        await bench.run(code)
    assert caught.value.code == "E_COMMAND"
    assert "status 4" in caught.value.message
    assert caught.value.message.endswith("the reason")
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("sandbox", ["none", BOXED])
async def test_a_program_that_a_signal_ended_says_which(bench: Bench, sandbox: str) -> None:
    with pytest.raises(WorkError) as caught:
        await bench.run("import ctypes; ctypes.string_at(0)", sandbox=sandbox)
    assert "SIGSEGV" in caught.value.message
    assert caught.value.again


@pytest.mark.parametrize("sandbox", ["none", BOXED])
async def test_a_program_that_takes_too_long_is_ended(bench: Bench, sandbox: str) -> None:
    with pytest.raises(WorkError) as caught:
        await bench.run("import time; time.sleep(600)", timeout_s=0.7, sandbox=sandbox)
    assert (caught.value.code, caught.value.again) == ("E_TIMEOUT", True)


async def test_many_files_that_fill_the_space_together_are_cut_off(bench: Bench) -> None:
    code = """
import json, sys, time
order = json.load(sys.stdin)
for number in range(10_000):
    with open(f"{order['out']}/{number}", "wb") as file:
        file.write(bytes(1 << 19))
    time.sleep(0.01)
"""
    with pytest.raises(WorkError) as caught:
        await bench.run(code, output_mib=8)
    assert (caught.value.code, caught.value.again) == ("E_OUTPUT_LIMIT", False)


async def test_a_program_that_must_answer_in_json_and_does_not_has_failed(bench: Bench) -> None:
    with pytest.raises(WorkError) as caught:
        await bench.run("print('hello {')", output="stdout.json")
    assert caught.value.code == "E_OUTPUT"
    assert "hello {" in caught.value.message


async def test_what_a_program_prints_is_ignored_when_only_files_count(bench: Bench) -> None:
    assert (await bench.run("print('{}')", output="files")).outputs == []


async def test_a_program_need_not_read_what_it_is_given(bench: Bench) -> None:
    outcome = await bench.run("import os; os.close(0); print(1)", params={"text": "x" * 1_000_000})
    assert told(outcome) == 1


async def test_too_many_files_are_a_failure(bench: Bench) -> None:
    code = """
import json, sys
order = json.load(sys.stdin)
for number in range(300):
    open(f"{order['out']}/{number}", "w").close()
"""
    with pytest.raises(WorkError) as caught:
        await bench.run(code)
    assert caught.value.code == "E_OUTPUT"


_NODE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.agent_node.test_command import Bench

folder = Path(sys.argv[1])
bench = Bench(folder)
code = "import sys, time; time.sleep(600)"
asyncio.run(bench.run(code, "zwerm-orphan-test", sandbox=sys.argv[2]))
"""


@pytest.mark.parametrize("sandbox", ["none", BOXED])
def test_when_the_node_is_killed_its_programs_die_with_it(tmp_path: Path, sandbox: str) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", _NODE.format(root=str(ROOT)), str(tmp_path), sandbox],
        stderr=subprocess.DEVNULL,
    )
    try:
        programs = _until_found(node, str(tmp_path))
        node.send_signal(signal.SIGKILL)
        node.wait(10)
        _, alive = psutil.wait_procs(programs, timeout=10)
        assert alive == []
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()


def _is_at_home(program: psutil.Process, folder: str) -> bool:
    """Whether the program runs where it was told to: in the sandbox, or in the job's directory."""
    return program.cwd().startswith((folder, "/job"))


def _until_found(node: subprocess.Popen[bytes], folder: str) -> list[psutil.Process]:
    """The program of the node, once it has become itself."""
    for _ in range(1000):
        found = [
            child
            for child in psutil.Process(node.pid).children(recursive=True)
            if "zwerm-orphan-test" in child.cmdline()
            and not any("limits_proc" in word for word in child.cmdline())
        ]
        # While bubblewrap still makes the sandbox there is no program in it yet, and nothing of it tells its halves that the other has died.
        if found and found[-1].name() != "bwrap" and _is_at_home(found[-1], folder):
            return found
        try:
            node.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"the node ended with {node.returncode}, or its program never started")
