"""Every published vector gives what it says, with each library that verifies signatures here."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from protocol import enrol, signing
from protocol.certificate import verify_certificate
from protocol.charter import Charter, verify_chain
from protocol.codec import unpack
from protocol.envelope import audience_hash, node_id, open_sealed_body
from protocol.errors import EXPLANATIONS, Rejected
from protocol.halts import open_halt
from protocol.invite import Invite, decode_invite, open_invite_record, proof_key
from protocol.limits import BODY_MAX_BYTES
from protocol.objects import open_object
from protocol.registry import BODY_NODES_MAX, body_validator
from protocol.revocations import open_revocations
from protocol.sealing import BoxKey
from protocol.signing import check_public_key, key_id, prepare
from protocol.verify import Directory, Member, TypeRule, Verifier

from .generate import VECTORS, cases, text_of, write

PATHS = sorted(VECTORS.glob("*/*.json"))
Expect = dict[str, Any]


def data_of(given: Any) -> bytes:
    if isinstance(given, str):
        return bytes.fromhex(given)
    return b"".join(bytes.fromhex(part) * times for part, times in given)


def run_envelope(given: dict[str, Any]) -> Expect:
    role = frozenset({"any"})
    directory = Directory()
    for member in given["members"]:
        directory.add(
            Member(
                bytes.fromhex(member["sender"]),
                bytes.fromhex(member["public_key"]),
                bytes.fromhex(member["serial"]),
                expires_ms=member["expires_ms"],
                roles=role,
                zones=range(65536),
            )
        )
    rules = {kind: TypeRule(kind, "", BODY_MAX_BYTES, role) for kind in given["types"]}
    Verifier(bytes.fromhex(given["swarm8"]), directory, rules).verify(
        data_of(given["hex"]),
        audience=audience_hash(given["audience"]),
        types=set(rules),
        now_ms=given["now_ms"],
    )
    return {}


def run_invite(given: dict[str, Any]) -> Expect:
    invite = decode_invite(given["text"])
    return {
        "version": invite.version,
        "flags": invite.flags,
        "expiry": invite.expiry,
        "invite_id": invite.invite_id.hex(),
        "secret": invite.secret.hex(),
        "swarm_id": invite.swarm_id.hex(),
        "bus_pin": invite.bus_pin.hex(),
        "endpoints": [endpoint._asdict() for endpoint in invite.endpoints],
    }


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$hex": value.hex()}
    if isinstance(value, float):
        assert math.isfinite(value)
        return {"$float": struct.pack(">d", value).hex()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return {"$int": str(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def run_body(given: dict[str, Any]) -> Expect:
    return {"value": plain(unpack(bytes.fromhex(given["hex"])))}


def run_key(given: dict[str, Any]) -> Expect:
    check_public_key(bytes.fromhex(given["public_key"]))
    return {}


def run_hash(given: dict[str, Any]) -> Expect:
    data = {key: bytes.fromhex(value) for key, value in given.items() if key not in ("what", "text")}
    made: bytes | str
    match given["what"]:
        case "node_id":
            made = node_id(data["public_key"])
        case "key_id":
            made = key_id(data["public_key"])
        case "audience":
            made = audience_hash(given["text"])
        case "check_code":
            made = enrol.check_code(data["transcript"], data["nonce"])
        case "transcript":
            made = enrol.transcript_of(data["swarm_id"], data["head"], data["body"])
        case "proof_key":
            made = proof_key(Invite(0, 0, bytes(8), data["secret"], data["swarm_id"], bytes(16))).public
        case other:
            raise AssertionError(other)
    return {"value": made.hex() if isinstance(made, bytes) else made}


def run_sealed(given: dict[str, Any]) -> Expect:
    box = BoxKey.from_seed(bytes.fromhex(given["private_key"]))
    return {"plaintext": box.open(bytes.fromhex(given["sealed"]), bytes.fromhex(given["info"])).hex()}


def run_sealed_envelope(given: dict[str, Any]) -> Expect:
    box = BoxKey.from_seed(bytes.fromhex(given["private_key"]))
    return {"plaintext": open_sealed_body(bytes.fromhex(given["hex"]), box).hex()}


def run_object(given: dict[str, Any]) -> Expect:
    open_object(bytes.fromhex(given["hex"]), given["object_kind"], bytes.fromhex(given["public_key"]))
    return {}


def chain_of(given: dict[str, Any]) -> Charter:
    return verify_chain([bytes.fromhex(raw) for raw in given["chain"]], bytes.fromhex(given["swarm_id"]))


def run_charter(given: dict[str, Any]) -> Expect:
    chain_of(given)
    return {}


def run_certificate(given: dict[str, Any]) -> Expect:
    verify_certificate(bytes.fromhex(given["hex"]), chain_of(given), given["now_s"])
    return {}


def run_record(given: dict[str, Any]) -> Expect:
    open_invite_record(bytes.fromhex(given["hex"]), chain_of(given), given["issued_s"])
    return {}


def run_message(given: dict[str, Any]) -> Expect:
    value = unpack(bytes.fromhex(given["hex"]), max_nodes=BODY_NODES_MAX[given["type"]])
    try:
        return {"items": len(body_validator(given["type"]).validate_python(value))}
    except ValidationError:
        raise Rejected("E_SCHEMA") from None


def run_revocations(given: dict[str, Any]) -> Expect:
    open_revocations(bytes.fromhex(given["hex"]), chain_of(given))
    return {}


def run_halt(given: dict[str, Any]) -> Expect:
    open_halt(bytes.fromhex(given["hex"]), bytes.fromhex(given["certificate"]), chain_of(given))
    return {}


def run_request(given: dict[str, Any]) -> Expect:
    box = BoxKey.from_seed(bytes.fromhex(given["box_private_key"]))
    enrol.open_request(bytes.fromhex(given["hex"]), chain_of(given), box, bytes.fromhex(given["proof_pub"]))
    return {}


RUNNERS: dict[str, Callable[[dict[str, Any]], Expect]] = {
    "envelope": run_envelope,
    "invite": run_invite,
    "body": run_body,
    "key": run_key,
    "sealed": run_sealed,
    "sealed-envelope": run_sealed_envelope,
    "object": run_object,
    "charter": run_charter,
    "certificate": run_certificate,
    "invite-record": run_record,
    "enrol-request": run_request,
    "message": run_message,
    "revocations": run_revocations,
    "halt": run_halt,
}


def outcome(vector: dict[str, Any]) -> Expect:
    given = vector["given"]
    if vector["kind"] == "signature":
        key = prepare(bytes.fromhex(given["public_key"]))
        signature, message = bytes.fromhex(given["signature"]), bytes.fromhex(given["message"])
        holds = key.verify(signature, message)
        if len(signature) == signing.SIGNATURE_BYTES:
            assert key.verify_tail(b"", message + signature) == holds
        return {"holds": holds}
    if vector["kind"] == "hash":
        return run_hash(given)
    try:
        return {"code": "OK", **RUNNERS[vector["kind"]](given)}
    except Rejected as error:
        return {"code": error.code}


@pytest.mark.parametrize("backend", sorted(signing.BACKENDS))
@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "BACKEND", backend)
    vector = json.loads(path.read_text())
    assert outcome(vector) == vector["expect"]


def test_both_libraries_are_compared() -> None:
    assert set(signing.BACKENDS) == {"pynacl", "cryptography"}


def test_there_are_enough_vectors_and_one_in_each_file() -> None:
    assert len(PATHS) >= 150
    for path in PATHS:
        vector = json.loads(path.read_text())
        assert vector["id"] == f"{path.parent.name}/{path.stem}"
        assert vector["kind"] == path.parent.name


def test_every_code_of_the_wire_has_a_vector() -> None:
    # Rates and sessions are the receiver's own business, and schemas are those of messages: unit tests have them.
    seen = {json.loads(path.read_text())["expect"].get("code") for path in PATHS}
    assert set(EXPLANATIONS) - seen == {"E_RATE", "E_SESSION"}


def test_published_vectors_are_what_the_generator_makes() -> None:
    made = {f"{case.kind}/{case.id}": text_of(case) for case in cases()}
    published = {f"{path.parent.name}/{path.stem}": path.read_text() for path in PATHS}
    assert published == made


def test_the_generator_never_changes_a_published_vector(tmp_path: Path) -> None:
    added = write(tmp_path)
    assert Counter(added) == Counter(set(added))
    added[0].write_text("published")
    added[1].unlink()
    assert write(tmp_path) == [added[1]]
    assert added[0].read_text() == "published"
