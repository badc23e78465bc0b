"""A scripted agent that speaks the Agent Client Protocol, with nothing but the standard library: `python agent_acp.py WHAT` does WHAT when it is prompted.

It finds its parameters and files in the prompt, as any agent has to, and writes where the prompt says. `WHAT` are the acts of
`agent_program` (the adapters' contract) and ways in which real agents misbehave.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

what = sys.argv[1]
CHILD = "import os, time; os.setsid(); time.sleep(600)"
session = "s-1"
calls = 0


def write(message):
    sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    sys.stdout.buffer.flush()


def read():
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def update(**content):
    write({"method": "session/update", "params": {"sessionId": session, "update": content}})


def say(text):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


def use(tokens, **more):
    update(sessionUpdate="usage_update", used=tokens, size=100_000, **more)


def tool(title, status="completed"):
    global calls
    calls += 1
    update(
        sessionUpdate="tool_call", toolCallId=f"t{calls}", title=title, kind="execute", status="in_progress"
    )
    update(sessionUpdate="tool_call_update", toolCallId=f"t{calls}", status=status)


def ask(method, **params):
    """One request of ours; returns (result, error)."""
    global calls
    calls += 1
    write({"id": f"r{calls}", "method": method, "params": {"sessionId": session, **params}})
    while True:
        message = read()
        if message.get("id") == f"r{calls}":
            return message.get("result"), message.get("error")


def permission(title, arguments, options=None):
    listed = options or [("n", "reject_once"), ("always", "allow_always"), ("y", "allow_once")]
    result, _ = ask(
        "session/request_permission",
        toolCall={"toolCallId": "p1", "title": title, "kind": "execute", "rawInput": arguments},
        options=[{"optionId": name, "name": kind, "kind": kind} for name, kind in listed],
    )
    return result["outcome"]


def child():
    return subprocess.Popen([sys.executable, "-c", CHILD, "zwerm-test-child"], stdin=subprocess.DEVNULL)


def order(prompt):
    params = json.loads(re.search(r"```json\n(.*?)\n```", prompt, re.DOTALL)[1])
    inputs = [
        (json.loads(name), path)
        for path, name in re.findall(r"^- `(in/[\w.-]+)`: (\".*?\"),", prompt, re.MULTILINE)
    ]
    missing = [json.loads(name) for name in re.findall(r"^- (\".*?\") is missing", prompt, re.MULTILINE)]
    return params, inputs, missing


def act(prompt, cwd):
    """Do it; returns why the turn ended."""
    params, inputs, missing = order(prompt)
    out = Path(cwd) / "out"
    texts = [[name, (Path(cwd) / path).read_text()] for name, path in inputs]
    match what:
        case "shout":
            (out / "shout.txt").write_text(texts[0][1].upper())
        case "echo":
            told = {"params": params, "inputs": texts, "missing": missing, "environment": sorted(os.environ)}
            (out / "result.json").write_text(json.dumps(told))
        case "refuse":
            say("there is no table in it")
            return "refusal"
        case "crash":
            print("\x1b[31mboom", file=sys.stderr)
            os._exit(3)
        case "sometimes":
            if params["fail"]:
                os._exit(3)
            say("fine")
        case "several_steps":
            plan = ["one", "two", "three"]
            for number in range(len(plan)):
                update(
                    sessionUpdate="plan",
                    entries=[
                        {
                            "content": words,
                            "priority": "low",
                            "status": "completed"
                            if at < number
                            else "in_progress"
                            if at == number
                            else "pending",
                        }
                        for at, words in enumerate(plan)
                    ],
                )
                tool(f"make {plan[number]}")
                (out / f"{number}").write_text("x" * 1000)
            say("done")
        case "waits_politely":
            (out / "pid").write_text(str(os.getpid()))
            while True:
                if read().get("method") == "session/cancel":
                    (out / "over").touch()
                    return "cancelled"
        case "ignores_everything":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            child()
            (out / "child").touch()
            while True:
                time.sleep(1)
        case "leaves_a_daemon":
            child()
            say("left")
        case "floods":
            with (out / "big").open("wb") as file:
                for _ in range(1024):
                    file.write(bytes(1 << 20))
        case "floods_stdout":
            while True:
                say("x" * 60_000)
        case "one_endless_line":
            while True:
                sys.stdout.buffer.write(b"x" * (1 << 20))
        case "hoards":
            kept = []
            while True:
                kept.append(bytearray(64 << 20))
        case "links_out":
            (out / "link").symlink_to("/etc/passwd")
            say("linked")
        case "talks":
            use(400)
            say(f"{permission('rm -rf x', {'command': 'rm -rf x'})}")
            use(900, cost={"amount": 0.000005, "currency": "USD"})
            (out / "draft.txt").write_text(
                (Path(cwd) / "in" / "previous-0000.txt").read_text() + ", and more"
            )
        case "permits":
            got = permission("run: touch it", {"command": "touch it"}, params.get("options"))
            if got.get("optionId") in ("y", "yes"):
                (out / "ran.txt").write_text("touched")
            say(json.dumps(got))
        case "spends":
            used = 0
            while True:
                used += 40
                use(used)
                time.sleep(0.02)
        case "dies_in_the_middle":
            (out / "half.txt").write_text("half")
            say("I have begun")
            os._exit(9)
        case "hangs":
            while True:
                time.sleep(1)
        case "noise":
            sys.stdout.buffer.write(b"Welcome!\n\xff\xfe\x00\n[1, 2]\n\n{not json\n")
            sys.stdout.buffer.write(b'{"jsonrpc": "2.0", "method": "session/update", "params": 7}\n')
            sys.stdout.buffer.write(
                b'{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s-1","update":'
                b'{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"caf\xe9 "}}}}\n'
            )
            update(sessionUpdate="usage_update", used=None, size=None)
            update(sessionUpdate="tool_call", toolCallId="t", title=None)
            update(sessionUpdate="from the future", x=1)
            say("after the noise")
        case "gated":
            use(500)
            with Path(params["begun"]).open("a") as begun:
                begun.write(f"{inputs[0][0]} {os.getpid()}\n")
            while not Path(params["gate"]).exists():
                tool("wait at the gate")
                time.sleep(0.1)
            (out / "shout.txt").write_text(texts[0][1].upper())
        case "nothing":
            pass
        case "too_long":
            return "max_tokens"
        case "writes":
            got = []
            for path in params["paths"]:
                result, error = ask("fs/write_text_file", path=path.replace("CWD", cwd), content="written")
                got.append("ok" if error is None else error["code"])
            say(json.dumps(got))
        case "reads":
            got = []
            for path in params["paths"]:
                if path == "LINK":
                    (out / "link").symlink_to("/etc/passwd")
                    path = f"{cwd}/out/link"
                result, error = ask(
                    "fs/read_text_file", path=path.replace("CWD", cwd), **params.get("more", {})
                )
                got.append(result["content"] if error is None else error["code"])
            say(json.dumps(got))
        case "terminal":
            _, error = ask("terminal/create", command="id")
            say(str(error["code"]))
        case "reaches_out":
            try:
                Path(params["path"]).write_text("escaped")
                say("written")
            except OSError as error:
                say(type(error).__name__)
            say(f" {sorted(path.name for path in Path.home().iterdir()) if Path.home().exists() else []}")
        case _:
            say("echo: ")
            say(prompt)
    return "end_turn"


def main():
    global session
    cwd = ""
    if what == "exits_with_nonsense":
        print("usage: some other program")
        sys.exit(0)
    if what == "writes_nonsense":
        while True:
            print("this is a web server, listening")
    if what == "old_node":
        sys.exit("error: this program requires Node.js 24 or later (found 18)")
    if what == "says_not_logged_in":
        sys.exit("You are not logged in. Run: some login")
    while True:
        message = read()
        method, number = message.get("method"), message.get("id")
        if method == "initialize":
            version = 7 if what == "wrong_version" else 1
            result = {
                "protocolVersion": version,
                "agentCapabilities": {},
                "agentInfo": {"name": "scripted", "version": "1"},
            }
            write({"id": number, "result": result})
        elif method == "session/new":
            if what == "needs_login":
                write({"id": number, "error": {"code": -32000, "message": "Authentication required"}})
                continue
            cwd = message["params"]["cwd"]
            write({"id": number, "result": {"sessionId": session}})
        elif method == "session/prompt":
            if what == "quota":
                data = {"retryAfter": 60}
                write(
                    {
                        "id": number,
                        "error": {"code": -32603, "message": "429: the quota is used up", "data": data},
                    }
                )
                continue
            reason = act(message["params"]["prompt"][0]["text"], cwd)
            write(
                {
                    "id": number,
                    "result": {
                        "stopReason": reason,
                        **({"usage": {"totalTokens": 900}} if what == "talks" else {}),
                    },
                }
            )
        elif number is not None and method is not None:
            write({"id": number, "error": {"code": -32601, "message": "no such method"}})


main()
