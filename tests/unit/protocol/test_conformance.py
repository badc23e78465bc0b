from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol import conformance
from protocol.envelope import audience_hash
from protocol.errors import ZwermError

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "protocol" / "vectors"


def vectors(kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((VECTORS / kind).glob("*.json"))]


def data_of(given: Any) -> str:
    return given if isinstance(given, str) else "".join(part * times for part, times in given)


def answers(kind: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    out = io.StringIO()
    conformance.run(kind, json.dumps(given), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def command(*arguments: str, given: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    data = given.encode() if isinstance(given, str) else given
    return subprocess.run(
        [sys.executable, "-m", "protocol.conformance", *arguments],
        input=data,
        capture_output=True,
        cwd=ROOT,
        timeout=50,
        check=False,
    )


ENVELOPES = vectors("envelope")
ENVELOPE_INPUT = {
    **{key: value for key, value in ENVELOPES[0]["given"].items() if key != "hex"},
    "cases": [{"id": vector["id"], "hex": data_of(vector["given"]["hex"])} for vector in ENVELOPES],
}


@pytest.mark.requirement("CONF-3")
@pytest.mark.parametrize("audience", ["text", "hash"])
def test_envelopes_get_the_codes_of_the_vectors(audience: str) -> None:
    given = dict(ENVELOPE_INPUT)
    if audience == "hash":
        given["audience"] = audience_hash(given["audience"]).hex()
    assert answers("envelope", given) == [{"id": vector["id"], **vector["expect"]} for vector in ENVELOPES]


@pytest.mark.requirement("CONF-3")
def test_each_case_meets_a_fresh_replay_window() -> None:
    good = next(vector for vector in ENVELOPES if vector["id"] == "envelope/ok")
    cases = [{"id": number, "hex": good["given"]["hex"]} for number in range(3)]
    assert [answer["code"] for answer in answers("envelope", {**ENVELOPE_INPUT, "cases": cases})] == [
        "OK"
    ] * 3


@pytest.mark.requirement("CONF-3")
def test_a_member_with_a_key_that_nobody_should_admit_signs_nothing() -> None:
    neutral = "01" + "00" * 31
    members = [{**member, "public_key": neutral} for member in ENVELOPE_INPUT["members"]]
    good = bytes.fromhex(
        next(vector for vector in ENVELOPES if vector["id"] == "envelope/ok")["given"]["hex"]
    )
    forged = good[:-64] + bytes.fromhex(neutral) + bytes(32)
    given = {**ENVELOPE_INPUT, "members": members, "cases": [{"id": "x", "hex": forged.hex()}]}
    assert answers("envelope", given) == [{"id": "x", "code": "E_SIG"}]


@pytest.mark.requirement("CONF-4")
def test_invites_get_the_codes_and_fields_of_the_vectors() -> None:
    found = vectors("invite")
    given = {"cases": [{"id": vector["id"], "text": vector["given"]["text"]} for vector in found]}
    assert answers("invite", given) == [{"id": vector["id"], **vector["expect"]} for vector in found]


@pytest.mark.requirement("CONF-4")
def test_keys_get_the_codes_of_the_vectors() -> None:
    found = vectors("key")
    given = {"cases": [{"id": vector["id"], **vector["given"]} for vector in found]}
    assert answers("key", given) == [{"id": vector["id"], **vector["expect"]} for vector in found]


@pytest.mark.requirement("CONF-2")
def test_the_command_prints_one_object_a_line_and_ends_well() -> None:
    given = {"cases": [{"id": 1, "public_key": "00" * 32}, {"id": "b", "public_key": ""}]}
    done = command("key", given=json.dumps(given))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b'{"id":1,"code":"E_KEY"}\n{"id":"b","code":"E_KEY"}\n'


@pytest.mark.requirement("CONF-2")
@pytest.mark.parametrize(
    ("arguments", "given", "reason"),
    [
        ([], "", "usage"),
        (["nothing"], "", "usage"),
        (["key", "key"], "{}", "usage"),
        (["key"], "", "one JSON object"),
        (["key"], "[]", "one JSON object"),
        (["key"], b"\xff\xfe", "one JSON object"),
        (["key"], "[" * 100_000, "one JSON object"),
        (["key"], "{}", "'cases'"),
        (["key"], '{"cases": [1]}', "cases[0]"),
        (["key"], '{"cases": [{"public_key": "xyz"}]}', "not hex"),
        (["key"], '{"cases": [{"public_key": 1}]}', "'public_key'"),
        (["invite"], '{"cases": [{"id": 1}]}', "'text'"),
        (["envelope"], "{}", "'now_ms'"),
        (["envelope"], json.dumps({**ENVELOPE_INPUT, "cases": [], "now_ms": True}), "'now_ms'"),
        (["envelope"], json.dumps({**ENVELOPE_INPUT, "cases": [], "swarm8": "00"}), "8"),
        (["envelope"], json.dumps({**ENVELOPE_INPUT, "cases": [], "types": ["bid"]}), "'types'"),
        (["envelope"], json.dumps({**ENVELOPE_INPUT, "cases": [], "members": [{}]}), "members[0]"),
        (["envelope"], json.dumps({**ENVELOPE_INPUT, "cases": [{"hex": "0"}]}), "cases[0]"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, (str, bytes)) else "-".join(value),
)
def test_input_that_cannot_be_read_gets_a_reason(
    arguments: list[str], given: str | bytes, reason: str
) -> None:
    done = command(*arguments, given=given)
    assert done.returncode == 2
    assert done.stdout == b""
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.requirement("CONF-1")
def test_a_vector_says_what_is_given_and_what_comes_out() -> None:
    for path in VECTORS.glob("*/*.json"):
        vector = json.loads(path.read_text())
        assert set(vector) == {"id", "kind", "clause", "comment", "given", "expect"}


def test_the_reason_is_an_error_with_a_code() -> None:
    with pytest.raises(ZwermError) as caught:
        conformance.run("key", "{}", io.StringIO())
    assert caught.value.code == "E_INPUT"
