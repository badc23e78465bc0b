"""A scripted agent of the kind that does one task and ends: `python agent_cli.py WHAT STYLE` reads its task, does WHAT and prints as STYLE does.

`WHAT` are the acts of the adapters' contract and ways to misbehave; styles: openclaw, claude, codex, kimi, hermes, plain.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

what, style = sys.argv[1], (sys.argv[2:] or ["openclaw"])[0]
CHILD = "import os, time; os.setsid(); time.sleep(600)"
prompt = Path("TASK.md").read_text() if style in ("hermes", "kimi") else sys.stdin.read()
out = Path("out")


def child():
    return subprocess.Popen([sys.executable, "-c", CHILD, "zwerm-test-child"], stdin=subprocess.DEVNULL)


def done(text, tokens=900, usd=0.000005, error=None):
    """Print the answer as the program of this style would, and end."""
    usage = {"input_tokens": tokens - 100, "output_tokens": 100}
    if style == "openclaw":
        final = {
            "ok": error is None,
            "status": "done",
            "final": {"text": text},
            "usage": {"input": tokens - 100, "output": 100},
        }
        print(
            json.dumps(
                {
                    **final,
                    "costUsd": usd,
                    "toolSummary": {"calls": 2},
                    **({"error": {"message": error}} if error else {}),
                }
            )
        )
        sys.exit(1 if error else 0)
    if style == "claude":
        kind = {
            "type": "result",
            "subtype": "success",
            "is_error": error is not None,
            "result": error or text,
        }
        print(json.dumps({**kind, "total_cost_usd": usd, "usage": usage, "num_turns": 2}))
    if style == "codex":
        print("reading the task from its standard input")
        print(json.dumps({"type": "thread.started", "thread_id": "t"}))
        print(json.dumps({"type": "item.completed", "item": {"type": "command_execution", "command": "ls"}}))
        print(json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": text}}))
        if error:
            print(json.dumps({"type": "turn.failed", "error": {"message": error}}))
            sys.exit(1)
        print(json.dumps({"type": "turn.completed", "usage": {**usage, "cached_input_tokens": 5}}))
    if style == "kimi":
        print(json.dumps({"role": "assistant", "content": "let me see", "tool_calls": [{"id": "1"}]}))
        print(json.dumps({"role": "tool", "content": "listed"}))
        print(json.dumps({"role": "assistant", "content": [{"type": "text", "text": text}]}))
    if style == "hermes":
        print(text)
        told = {
            "total_tokens": tokens,
            "estimated_cost_usd": usd,
            "api_calls": 2,
            "failed": error is not None,
        }
        Path("usage.json").write_text(json.dumps(told))
    if style == "plain":
        print(text)
    sys.exit(0)


params = json.loads(re.search(r"```json\n(.*?)\n```", prompt, re.DOTALL)[1])
inputs = re.findall(r"^- `(in/[\w.-]+)`: (\".*?\"),", prompt, re.MULTILINE)
texts = [[json.loads(name), Path(path).read_text()] for path, name in inputs]
missing = [json.loads(name) for name in re.findall(r"^- (\".*?\") is missing", prompt, re.MULTILINE)]

match what:
    case "shout":
        (out / "shout.txt").write_text(texts[0][1].upper())
        done("")
    case "echo":
        told = {"params": params, "inputs": texts, "missing": missing, "environment": sorted(os.environ)}
        (out / "result.json").write_text(json.dumps(told))
        done("")
    case "refuse":
        done("", error="there is no table in it")
    case "crash":
        sys.exit("\x1b[31mboom")
    case "sometimes":
        if params["fail"]:
            sys.exit(3)
        done("fine")
    case "several_steps":
        for number in range(5):
            (out / f"{number}").write_text("x" * 1000)
            time.sleep(0.3)
        done("done")
    case "waits_politely":

        def end(*_):
            (out / "over").touch()
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)
        (out / "pid").write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)
    case "ignores_everything":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        child()
        (out / "child").touch()
        while True:
            time.sleep(1)
    case "leaves_a_daemon":
        child()
        done("left")
    case "floods":
        with (out / "big").open("wb") as file:
            for _ in range(1024):
                file.write(bytes(1 << 20))
    case "floods_stdout":
        while True:
            sys.stdout.write("x" * 65536)
    case "hoards":
        kept = []
        while True:
            kept.append(bytearray(64 << 20))
    case "links_out":
        (out / "link").symlink_to("/etc/passwd")
        done("linked")
    case "answers":
        done("Paris.")
    case "quota":
        done("", error="429: the quota is used up")
    case "login":
        done("", error="You are not logged in")
    case "nothing":
        sys.exit(0)
    case "hangs":
        while True:
            time.sleep(1)
