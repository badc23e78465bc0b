"""A program for the adapter `command`: `python agent_program.py WHAT` does what the function WHAT of `agent_contract` does, by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

order = json.load(sys.stdin)
out = Path(order["out"])
what = sys.argv[1]
CHILD = "import os, time; os.setsid(); time.sleep(600)"


def child():
    return subprocess.Popen([sys.executable, "-c", CHILD, "zwerm-test-child"], stdin=subprocess.DEVNULL)


def report(**line):
    with Path(order["report"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def texts():
    return [[given["name"], Path(given["path"]).read_text()] for given in order["inputs"]]


if what == "shout":
    (out / "shout.txt").write_text(texts()[0][1].upper())
elif what == "echo":
    missing = [item["name"] for item in order["missing"]]
    told = {
        "params": order["params"],
        "inputs": texts(),
        "missing": missing,
        "environment": sorted(os.environ),
    }
    json.dump(told, sys.stdout)
elif what == "refuse":
    sys.exit("there is no table in it")
elif what == "crash":
    sys.exit("\x1b[31mboom")
elif what == "sometimes":
    if order["params"]["fail"]:
        sys.exit(3)
    json.dump("fine", sys.stdout)
elif what == "several_steps":
    for number in range(5):
        (out / f"{number}").write_text("x" * 1000)
        time.sleep(0.3)
elif what == "waits_politely":

    def end(*_):
        (out / "over").touch()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    (out / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
elif what == "ignores_everything":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child()
    (out / "child").touch()
    while True:
        time.sleep(1)
elif what == "leaves_a_daemon":
    child()
    json.dump("left", sys.stdout)
elif what == "floods":
    with (out / "big").open("wb") as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
elif what == "hoards":
    kept = []
    while True:
        kept.append(bytearray(64 << 20))
elif what == "links_out":
    (out / "link").symlink_to("/etc/passwd")
    for name in ("stdout", "stderr", "../stdout"):
        try:
            (out.parent / name).unlink()
            (out.parent / name).symlink_to("/etc/passwd")
        except OSError:
            continue
elif what == "talks":
    report(progress={"fraction": 0.2, "note": "one"})
    report(limited={"wait_s": 30, "note": "429"})
    report(progress={"fraction": 0.4, "note": "two"})
    report(person={"note": "Which of the two?"})
    report(progress={"fraction": 0.6, "note": "three"})
    report(used={"tokens": 900, "money": 5})
    (out / "draft").write_text(Path(order["previous"][0]["path"]).read_text() + ", and more")
    report(partial={"name": "draft.txt", "path": str(out / "draft")})
    with Path(order["report"]).open("a") as file:
        file.write(
            "no json\n[1]\n{}\n" + json.dumps({"partial": {"path": "/etc/passwd"}, "progress": 7}) + "\n"
        )
    json.dump("done", sys.stdout)
elif what == "spends":
    used = 0
    while True:
        used += 40
        report(used={"tokens": used})
        time.sleep(0.05)
elif what == "quota":
    report(failed={"code": "E_LIMITED", "message": "the quota is used up", "retry_s": 60})
    sys.exit(1)
