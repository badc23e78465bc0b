"""The cases of message bodies, journal records and lists of revocations. Every field is written by hand, codes are stated from SPEC."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from .build import (
    GENESIS_OBJECT,
    ISSUER,
    ISSUER2,
    NOW_MS,
    NOW_S,
    ROOT,
    SERIAL,
    SWARM_ID,
    Case,
    msg,
    seed,
    sha,
    signed_object,
)
from .cases_charter import following

NODE = "0123456789abcdef0123456789abcdef"
RUN = "ahz4pbt6a6xlfdmzq2swxkotoq"
ME = "U" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "A" * 23
REF = {"sha256": sha(b"content"), "size": 300_000, "chunks": 2, "writer": ME}
FILE = {"name": "Zo\u00eb's notes.txt", "ref": REF}
TYPED = {**FILE, "media_type": "text/plain"}
GONE = {"name": "old.pdf", "code": "E_ENCRYPTED", "message": "it needs a password"}
FENCE = {"subtask": "read.3", "attempt": 1, "epoch": 1}
ROUND = {"subtask": "read.3", "round": 7}
CARD = {"name": "docs", "capabilities": ["doc.extract"]}
FULL_CARD = {**CARD, "description": "reads documents", "adapter": "python", "slots": 2}
ANY = {"a": [None, True, -1, 0.5, "x", {"b": []}]}

# code -> (name, required fields, fields with a default)
MESSAGES: dict[int, tuple[str, dict[str, Any], dict[str, Any]]] = {
    0x0101: ("announce", {**ROUND, "capability": "doc.extract", "window_ms": 200, "deadline_ms": 60_000},
             {"input_bytes": 300_000, "input_count": 1, "inputs": [sha(b"content")[:8]]}),
    0x0102: ("bid", {**ROUND, "agent": "docs", "price": 120_000, "eta_ms": 800, "success": 0.97, "load": 0.25,
                     "queue": 0, "free_slots": 2}, {"local_bytes": 300_000, "quiet_ms": 10_000, "valid_ms": 3_200}),
    0x0103: ("decline", {**ROUND, "code": "E_SLOTS"}, {"detail": "all slots are taken"}),
    0x0104: ("offer", {"capability": "doc.extract", "agent": "docs", "slots": 2, "price": 120_000, "eta_ms": 800,
                       "success": 1, "load": 0, "valid_ms": 30_000}, {}),
    0x0105: ("withdraw", ROUND, {}),
    0x0110: ("award", {**FENCE, "round": 7, "capability": "doc.extract", "agent": "docs", "lease_ms": 10_000,
                       "deadline_ms": 60_000}, {"params": ANY, "inputs": [FILE, TYPED], "missing": [GONE], "confirm": True}),
    0x0111: ("reject", {**ROUND, "reason": "outbid"}, {}),
    0x0112: ("confirm", FENCE, {}),
    0x0113: ("refuse", {**FENCE, "code": "E_DRAINING"}, {"detail": "this node is going down"}),
    0x0114: ("cancel", FENCE, {"reason": "the run was cancelled"}),
    0x0115: ("result_ack", {**FENCE, "applied": True}, {}),
    0x0120: ("started", FENCE, {}),
    0x0121: ("progress", {**FENCE, "step": 4}, {"fraction": 0.5, "note": "page 4 of 8"}),
    0x0122: ("result", {**FENCE, "wall_ms": 812}, {"outputs": [TYPED], "cpu_ms": 640}),
    0x0123: ("failed", {**FENCE, "code": "E_WORK"}, {"message": "there is no table in it", "retryable": False}),
    0x0124: ("cancelled", FENCE, {}),
    0x0201: ("hello", {"name": "nas", "version": "0.1.0", "roles": ["agent"], "certificate": seed("certificate")},
             {"protocols": [1], "agents": [CARD, FULL_CARD], "slots": 2, "started_ms": NOW_MS}),
    0x0202: ("heartbeat", {"load": 0.5, "slots_used": 1, "slots": 2}, {"running": 1, "refused": 3}),
    0x0203: ("goodbye", {}, {"reason": "stopped"}),
    0x0204: ("who", {}, {}),
    0x0301: ("submit_run", {"goal": "Find all dates in these documents."},
             {"inputs": [TYPED], "skipped": [GONE], "planner": "file", "plan": ANY}),
    0x0302: ("cancel_run", {"run": RUN}, {"reason": "a mistake"}),
    0x0303: ("list_runs", {}, {"limit": 10}),
    0x0304: ("show_run", {"run": RUN[-6:]}, {}),
    0x0305: ("list_nodes", {}, {}),
    0x0306: ("create_invite", {"id": SERIAL, "proof_pub": ISSUER.public},
             {"role": "coordinator", "uses": 2, "ttl_s": 60, "label": "for the attic"}),
    0x0307: ("list_invites", {}, {}),
    0x0308: ("revoke_invite", {"invite": SERIAL.hex()}, {}),
    0x0309: ("leave", {}, {}),
    0x030A: ("revoke_node", {"node": "nas"}, {"reason": "sold"}),
    0x030B: ("renew", {}, {}),
    0x030C: ("ping", {}, {}),
    0x0380: ("reply", {"ok": False}, {"code": "E_NOT_FOUND", "message": "no such run", "hint": "List them.", "data": ANY,
                                      "blobs": {"charter": b"\x90"}}),
    0x0401: ("event", {"seq": 3, "at_ms": NOW_MS, "kind": "subtask.awarded"}, {"subtask": "read.3", "node": NODE, "data": ANY}),
    0x0501: ("revocation", {"revocations": b"\xc1\x4f"}, {}),
    0x0502: ("charter", {"charter": b"\xc1\x4f"}, {}),
    0x0503: ("halt", {"halt": b"\xc1\x4f"}, {"reason": "a drill"}),
}  # fmt: skip

# Revision 3: what it added to messages that were there, and the messages that it added.
USED = {"money": 120_000, "tokens": 900, "steps": 4, "bytes_out": 300, "children": 1}
ADDED: dict[int, dict[str, Any]] = {
    0x0102: {"unpriced": True, "estimate": USED},
    0x0110: {"caps": USED, "partial": [FILE]},
    0x0121: {"state": "limited", "wait_ms": 60_000, "used": USED, "partial": [FILE]},
    0x0122: {"used": USED},
    0x0123: {"used": USED, "partial": [FILE], "retry_ms": 60_000},
    0x0124: {"used": USED, "partial": [FILE]},
    0x0202: {"halted": True},
    0x0301: {"budget": {**USED, "wall_ms": 60_000}, "parent": RUN},
    0x0302: {"subtask": "read.3"},
    0x0401: {"node_name": "nas", "volatile": True},
}
# Added later to revision 3: under names of their own, since a published vector is never changed.
ADDED_LATER: dict[int, dict[str, Any]] = {
    0x0202: {"halt": 2, "stopped": 3},
    0x0503: {"certificate": b"\xc1\x4f"},
}
HANDED = msg({"goal": "a part of it", "parent": RUN})
MESSAGES_3: dict[int, tuple[str, dict[str, Any], dict[str, Any]]] = {
    0x030D: ("pause_run", {"run": RUN}, {"reason": "lunch"}),
    0x030E: ("resume_run", {"run": RUN}, {}),
    0x030F: ("run_events", {"run": RUN}, {"after": 12, "limit": 1000}),
    0x0310: ("for_run", {"to": NODE, "by": NODE, "run": RUN, "asks": 0x0302, "item": {"run": RUN}}, {}),
    0x0602: (
        "head",
        {"run": RUN, "seq": 7, "count": 9, "digest": sha(b"last"), "epoch": 2, "owner": NODE},
        {"closed": True},
    ),
}

HELD = {**FENCE, "node": NODE}
RECORDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "run.opened": ({"run": RUN, "goal": REF, "by": NODE, "epoch": 1, "owner": NODE}, {"inputs": [FILE], "skipped": [GONE]}),
    "plan.adopted": ({"plan": REF, "part": 1, "parts": 1, "subtasks": [
        {"id": "read.3", "capability": "doc.extract"},
        {"id": "report", "capability": "doc.report", "needs": ["read.3"], "tolerant": True, "tries": 5,
         "deadline_ms": 100, "data_class": 0}]}, {}),
    "run.owned": ({"epoch": 2, "owner": NODE}, {}),
    "subtask.awarded": ({**HELD, "round": 7, "bus_key": ME, "agent": "docs", "lease_ms": 10_000, "deadline_ms": 60_000},
                        {"bids": [{"node": NODE, "agent": "docs", "price": 120_000, "eta_ms": 800, "success": 0.97, "load": 0.25,
                                   "score": -1.5, "envelope": sha(b"bid")[:16]}], "reason": "the only bid"}),
    "subtask.unbid": ({**ROUND, "asked": 2}, {"declines": [{"node": NODE, "code": "E_SLOTS", "detail": "full"}]}),
    "attempt.refused": ({**HELD, "code": "E_SLOTS"}, {"detail": "full"}),
    "attempt.failed": ({**HELD, "code": "E_LEASE"}, {"message": "silent", "retryable": True}),
    "result.rejected": ({**HELD, "reason": "no key total"}, {}),
    "subtask.accepted": ({**HELD, "wall_ms": 812}, {"outputs": [TYPED], "cpu_ms": 640}),
    "result.late": (HELD, {"what": "failed"}),
    "subtask.failed": ({"subtask": "report", "code": "E_NEED"}, {"message": "a need failed", "cause": "read.3"}),
    "subtask.cancelled": ({"subtask": "report"}, {}),
    "run.cancelling": ({"by": NODE}, {"reason": "a mistake"}),
    "run.closed": ({"outcome": "partial"}, {"code": "E_WORK", "message": "without one", "hint": "Look.", "deliverables": [TYPED]}),
}  # fmt: skip
RECORDS_ADDED: dict[str, dict[str, Any]] = {
    "run.opened": {"budget": {"money": 0, "tokens": None}, "parent": RUN, "depth": 8},
    "subtask.awarded": {"reserved": USED, "hedge": True},
    "attempt.failed": {"used": USED, "partial": [FILE]},
    "subtask.accepted": {"used": USED},
    "result.rejected": {"used": USED},
    "subtask.cancelled": {"used": USED},
}
# Of version 2 of the records: under names of their own, since a published vector is never changed.
RECORDS_ADDED_2: dict[str, dict[str, Any]] = {
    "run.owned": {"began_ms": NOW_MS - 5_000},
    "attempt.failed": {"retry_ms": 60_000},
}
RECORDS_3: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "subtask.cancelling": ({"subtask": "read.3", "by": NODE}, {"reason": "a mistake"}),
    "run.paused": ({"by": NODE}, {"reason": "lunch"}),
    "run.resumed": ({"by": NODE}, {}),
    "attempt.state": ({**HELD, "state": "person"}, {"wait_ms": 60_000, "note": "may it send this?"}),
    "budget.noted": ({"kind": "money", "level": "warn", "used": 80, "limit": 100}, {"scope": "node nas"}),
    "plan.revised": ({"plan": REF, "subtask": "read.3", "subtasks": [{"id": "read.3b", "capability": "doc.ocr"}]}, {"reason": "no text"}),
    "child.opened": ({"run": RUN, "by": NODE, "reserved": USED}, {}),
    "child.closed": ({"run": RUN, "used": {}}, {}),
    "chain": ({"prev": sha(b"before"), "first": 9}, {"version": 1}),
}  # fmt: skip
JOURNAL = 0x0601


def case(name: str, code: str, clause: str, comment: str, kind: int, body: Any, count: int = 1) -> Case:
    data = body if isinstance(body, bytes) else msg(body)
    expect: dict[str, Any] = {"code": code, **({"items": count} if code == "OK" else {})}
    return Case("message", name, clause, comment, {"type": kind, "hex": data.hex()}, expect)


def record(name: str, *, full: bool = True) -> dict[str, Any]:
    required, more = (RECORDS | RECORDS_3)[name]
    return {"k": name, "at_ms": NOW_MS, **required, **(more if full else {})}


def messages() -> Iterator[Case]:
    for kind, (name, required, more) in {**MESSAGES, **MESSAGES_3}.items():
        yield case(
            f"ok-{name}", "OK", "MSG-4", f"A {name} with all of its fields.", kind, [{**required, **more}]
        )
        if more:
            yield case(
                f"ok-{name}-short", "OK", "MSG-1", f"A {name} with its defaults left out.", kind, [required]
            )
        yield case(
            f"e-{name}-more",
            "E_SCHEMA",
            "MSG-4",
            "A field that is not known.",
            kind,
            [{**required, "more": 1}],
        )
        if required:
            first = next(iter(required))
            rest = {key: value for key, value in required.items() if key != first}
            yield case(f"e-{name}-less", "E_SCHEMA", "MSG-1", f"No {first}.", kind, [rest])
            yield case(
                f"e-{name}-nil", "E_SCHEMA", "MSG-4", f"Nil for {first}.", kind, [{**required, first: None}]
            )
    for kind, added in ADDED.items():
        name, required, more = MESSAGES[kind]
        item = {**required, **more, **added}
        yield case(f"ok-{name}-3", "OK", "MSG-4", f"A {name} with all fields of revision 3.", kind, [item])
        for key in added:
            wrong = [{**item, key: 7.5}]
            yield case(f"e-{name}-3-{key}", "E_SCHEMA", "MSG-4", f"7.5 for {key}.", kind, wrong)
    for kind, added in ADDED_LATER.items():
        name, required, more = MESSAGES[kind]
        item = {**required, **more, **ADDED.get(kind, {}), **added}
        yield case(f"ok-{name}-halt", "OK", "MSG-4", f"A {name} with what halting needs.", kind, [item])
        for key in added:
            wrong = [{**item, key: 7.5}]
            yield case(f"e-{name}-halt-{key}", "E_SCHEMA", "MSG-4", f"7.5 for {key}.", kind, wrong)
    handed = {**MESSAGES_3[0x0310][1], "asks": 0x0301, "item": {}, "body": HANDED}
    yield case("ok-for_run-body", "OK", "OWN-6", "A submission that is handed on.", 0x0310, [handed])
    wrong = [{**handed, "body": HANDED.hex()}]
    yield case("e-for_run-body", "E_SCHEMA", "OWN-6", "Its body in words.", 0x0310, wrong)
    head = MESSAGES_3[0x0602][1]
    yield case(
        "ok-head-snapshot",
        "OK",
        "OWN-7",
        "A head that names a snapshot.",
        0x0602,
        [{**head, "snapshot": REF}],
    )
    yield case(
        "e-head-snapshot", "E_SCHEMA", "OWN-7", "A snapshot in words.", 0x0602, [{**head, "snapshot": "x"}]
    )
    warned = {**MESSAGES[0x0201][1], "agents": [{**FULL_CARD, "warning": "it works unconfined"}]}
    yield case("ok-hello-warning", "OK", "MSG-4", "A card with a warning.", 0x0201, [warned])
    wrong = [{**warned, "agents": [{**CARD, "warning": 7.5}]}]
    yield case("e-hello-warning", "E_SCHEMA", "MSG-4", "7.5 for the warning of a card.", 0x0201, wrong)
    confirm, bid = 0x0112, MESSAGES[0x0102][1]
    yield case("ok-250", "OK", "MSG-1", "250 items.", confirm, [FENCE] * 250, 250)
    yield case("e-251", "E_SCHEMA", "MSG-1", "251 items.", confirm, [FENCE] * 251)
    yield case("e-0", "E_SCHEMA", "MSG-1", "No item.", confirm, [])
    yield case("e-map", "E_SCHEMA", "MSG-1", "An item that is not in an array.", confirm, FENCE)
    yield case("e-two-requests", "E_SCHEMA", "MSG-1", "Two requests.", 0x030C, [{}, {}])
    yield case("e-two-replies", "E_SCHEMA", "MSG-1", "Two replies.", 0x0380, [{"ok": True}] * 2)
    yield case("e-mixed", "E_SCHEMA", "MSG-1", "A bid and a confirm.", 0x0102, [bid, FENCE])
    ends: list[tuple[str, str, int, dict[str, Any]]] = [
        ("round-0", "E_SCHEMA", 0x0105, {**ROUND, "round": 0}),
        ("round-most", "OK", 0x0105, {**ROUND, "round": 2**52}),
        ("round-above", "E_SCHEMA", 0x0105, {**ROUND, "round": 2**52 + 1}),
        ("round-true", "E_SCHEMA", 0x0105, {**ROUND, "round": True}),
        ("round-float", "E_SCHEMA", 0x0105, {**ROUND, "round": 1.0}),
        ("round-text", "E_SCHEMA", 0x0105, {**ROUND, "round": "1"}),
        ("subtask-64", "OK", 0x0105, {**ROUND, "subtask": "a" * 64}),
        ("subtask-65", "E_SCHEMA", 0x0105, {**ROUND, "subtask": "a" * 65}),
        ("subtask-line", "E_SCHEMA", 0x0105, {**ROUND, "subtask": "a\n"}),
        ("subtask-capital", "E_SCHEMA", 0x0105, {**ROUND, "subtask": "A"}),
        ("subtask-bin", "E_SCHEMA", 0x0105, {**ROUND, "subtask": b"a"}),
        ("share-int", "OK", 0x0102, {**bid, "success": 1, "load": 0}),
        ("share-above", "E_SCHEMA", 0x0102, {**bid, "load": 1.0000001}),
        ("share-true", "E_SCHEMA", 0x0102, {**bid, "load": True}),
        ("note-200", "OK", 0x0203, {"reason": "\U0001f41d" * 200}),
        ("note-201", "E_SCHEMA", 0x0203, {"reason": "x" * 201}),
        ("bin-short", "E_SCHEMA", 0x0306, {"id": bytes(7), "proof_pub": bytes(32)}),
        ("bin-text", "E_SCHEMA", 0x0306, {"id": "a" * 8, "proof_pub": bytes(32)}),
        ("choice", "E_SCHEMA", 0x0111, {**ROUND, "reason": "ugly"}),
        ("list-32", "OK", 0x0101, {**MESSAGES[0x0101][1], "inputs": [bytes(8)] * 32}),
        ("list-33", "E_SCHEMA", 0x0101, {**MESSAGES[0x0101][1], "inputs": [bytes(8)] * 33}),
        ("plan-nil", "OK", 0x0301, {"goal": "x", "plan": None}),
        ("plan-list", "E_SCHEMA", 0x0301, {"goal": "x", "plan": []}),
        ("object-bin", "E_SCHEMA", 0x0380, {"ok": True, "data": {"a": [b"x"]}}),
        ("blob-text", "E_SCHEMA", 0x0380, {"ok": True, "blobs": {"a": "x"}}),
        ("blobs-17", "E_SCHEMA", 0x0380, {"ok": True, "blobs": {str(at): b"" for at in range(17)}}),
        ("kind", "E_SCHEMA", 0x0401, {"seq": 1, "at_ms": 1, "kind": "Run.opened"}),
        ("file-more", "E_SCHEMA", 0x0122, {**FENCE, "wall_ms": 1, "outputs": [{**FILE, "path": "x"}]}),
        ("file-writer", "E_SCHEMA", 0x0122, {**FENCE, "wall_ms": 1, "outputs": [{**FILE, "ref": {**REF, "writer": "*"}}]}),
    ]  # fmt: skip
    for name, code, kind, item in ends:
        yield case(
            f"{'ok' if code == 'OK' else 'e'}-value-{name}",
            code,
            "MSG-4",
            f"{name}, in a {MESSAGES[kind][0]}.",
            kind,
            [item],
        )
    nan = msg([{**bid, "load": 0.25}]).replace(struct.pack(">d", 0.25), struct.pack(">d", float("nan")))
    yield case("e-nan", "E_BODY", "MSG-4", "A load that is not a number.", 0x0102, nan)
    missing = [
        {"name": "x", "code": "E_X"}
    ] * 3334  # 2 + 3,334 x 3 + what else an award has: more than 10,000 values
    award = [{**MESSAGES[0x0110][1], "missing": missing}]
    yield case("ok-many-values", "OK", "MSG-3", "10,013 values in an award.", 0x0110, award)
    beats = [[{"load": 0, "slots_used": 0, "slots": 1}] * 2500]
    yield case("e-many-values", "E_BODY", "MSG-3", "10,002 values in a heartbeat.", 0x0202, beats)


def records() -> Iterator[Case]:
    for name, added in RECORDS_ADDED.items():
        text = name.replace(".", "-")
        item = {**record(name), **added}
        yield case(
            f"ok-record-{text}-3", "OK", "REC-2", f"{name} with all fields of revision 3.", JOURNAL, [item]
        )
        for key in added:
            wrong = [{**item, key: 7.5}]
            yield case(f"e-record-{text}-3-{key}", "E_SCHEMA", "REC-2", f"7.5 for {key}.", JOURNAL, wrong)
    for name, added in RECORDS_ADDED_2.items():
        text = name.replace(".", "-")
        item = {**record(name), **RECORDS_ADDED.get(name, {}), **added}
        yield case(f"ok-record-{text}-v2", "OK", "REC-2", f"{name} as of version 2.", JOURNAL, [item])
        for key in added:
            wrong = [{**item, key: 7.5}]
            yield case(f"e-record-{text}-v2-{key}", "E_SCHEMA", "REC-2", f"7.5 for {key}.", JOURNAL, wrong)
    for name in RECORDS | RECORDS_3:
        text = name.replace(".", "-")
        yield case(
            f"ok-record-{text}", "OK", "REC-2", f"{name} with all of its fields.", JOURNAL, [record(name)]
        )
        short = record(name, full=False)
        yield case(f"ok-record-{text}-short", "OK", "REC-2", f"{name}, defaults left out.", JOURNAL, [short])
        no_k = {key: value for key, value in short.items() if key != "k"}
        yield case(f"e-record-{text}-no-k", "E_SCHEMA", "REC-2", f"{name} without k.", JOURNAL, [no_k])
        yield case(
            f"e-record-{text}-more",
            "E_SCHEMA",
            "REC-2",
            "A field that is not known.",
            JOURNAL,
            [{**short, "more": 1}],
        )
    one = record("subtask.cancelled")
    yield case("ok-records-256", "OK", "REC-1", "256 records.", JOURNAL, [one] * 256, 256)
    yield case("e-records-257", "E_SCHEMA", "REC-1", "257 records.", JOURNAL, [one] * 257)
    yield case("e-records-0", "E_SCHEMA", "REC-1", "No record.", JOURNAL, [])
    yield case(
        "ok-records-mixed",
        "OK",
        "REC-1",
        "One of each.",
        JOURNAL,
        [record(name) for name in RECORDS],
        len(RECORDS),
    )
    yield case(
        "e-record-kind",
        "E_SCHEMA",
        "REC-2",
        "A record that is not known.",
        JOURNAL,
        [{"k": "run.lost", "at_ms": 1}],
    )


def revocations() -> Iterator[Case]:
    def entry(kind: str = "node", **over: Any) -> dict[str, Any]:
        size = 16 if kind in ("node", "issuer") else 8
        return {"kind": kind, "id": seed(kind)[:size], "at": NOW_S, "why": "sold", **over}

    def body(*entries: dict[str, Any], **over: Any) -> bytes:
        packed: bytes = msgpack.packb(
            {"v": 1, "n": 1, "issued": NOW_S, "next": NOW_S + 86_400, "revoked": list(entries), **over}
        )
        return packed

    def case(
        name: str, code: str, clause: str, comment: str, raw: bytes, chain: list[bytes] | None = None
    ) -> Case:
        given = {
            "hex": raw.hex(),
            "chain": [item.hex() for item in chain or [GENESIS_OBJECT]],
            "swarm_id": SWARM_ID.hex(),
        }
        return Case("revocations", name, clause, comment, given, {"code": code})

    kinds = ("node", "serial", "invite", "issuer")
    good = signed_object(3, body(*(entry(kind) for kind in kinds)), ISSUER)
    yield case("ok", "OK", "REV-1", "One entry of each kind.", good)
    yield case("ok-empty", "OK", "REV-2", "Nobody.", signed_object(3, body(), ISSUER))
    short = [{key: value for key, value in entry().items() if key != "why"}]
    yield case("ok-short", "OK", "REV-2", "No reason, no version.", signed_object(3, msg(
        {"n": 1, "issued": NOW_S, "next": NOW_S, "revoked": short}), ISSUER))  # fmt: skip
    many = [entry("serial", id=at.to_bytes(8, "big"), why="") for at in range(2_500)]
    yield case(
        "ok-many", "OK", "REV-2", "2,500 entries: 12,506 values.", signed_object(3, body(*many), ISSUER)
    )
    yield case("e-type", "E_TYPE", "REV-1", "An object of another kind.", signed_object(2, body(), ISSUER))
    yield case(
        "e-issuer", "E_ISSUER", "REV-1", "By a key that no charter names.", signed_object(3, body(), ISSUER2)
    )
    yield case(
        "e-sig",
        "E_SIG",
        "REV-1",
        "Changed after it was signed.",
        good[:40] + bytes([good[40] ^ 1]) + good[41:],
    )
    yield case("e-len", "E_LEN", "REV-1", "A byte behind it.", good + b"\0")
    yield case("e-body", "E_BODY", "REV-1", "No msgpack.", signed_object(3, b"\xc1", ISSUER))
    for kind in kinds:
        wrong = signed_object(3, body(entry(kind, id=bytes(24 - len(entry(kind)["id"])))), ISSUER)
        yield case(f"e-id-{kind}", "E_SCHEMA", "REV-2", f"The id of a {kind} has another size.", wrong)
    for name, given in (
        ("kind", entry(kind="role", id=bytes(8))),
        ("more", entry(more=1)),
        ("at", entry(at=2**32)),
    ):
        yield case(
            f"e-entry-{name}", "E_SCHEMA", "REV-2", f"Wrong: {name}.", signed_object(3, body(given), ISSUER)
        )
    yield case("e-n", "E_SCHEMA", "REV-2", "Number 0.", signed_object(3, body(n=0), ISSUER))
    dated = following({"not_before_issue": {ISSUER.id.hex(): NOW_S}}, [ROOT])
    yield case(
        "e-issuer-withdrawn",
        "E_ISSUER",
        "REV-1",
        "By an issuer that was withdrawn before.",
        good,
        [GENESIS_OBJECT, dated],
    )
    before = signed_object(3, body(issued=NOW_S - 1), ISSUER)
    yield case(
        "ok-issuer-before",
        "OK",
        "REV-1",
        "Issued before its issuer was withdrawn.",
        before,
        [GENESIS_OBJECT, dated],
    )


def all_cases() -> Iterator[Case]:
    yield from messages()
    yield from records()
    yield from revocations()
