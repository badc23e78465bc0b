"""Cores of talking to models: the ramp of requests, streams cut anywhere, marks that no content can close, estimates, prices."""

from __future__ import annotations

import json
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent_node.errors import WorkError
from agent_node.job import InputPath, Job
from agent_node.models.answer import Answer, AnswerError, ServerSaid
from agent_node.models.counts import counts_of
from agent_node.models.failures import judge
from agent_node.models.prompt import read_texts, task_message
from agent_node.models.ramp import Ramp
from agent_node.models.sse import EventReader, StreamError
from agent_node.models.tokens import tokens_of
from agent_node.tariff import Tariff

ENDS = st.tuples(
    st.sampled_from(["ok", "limited", "forbidden", "other"]),
    st.floats(0, 120),
    st.floats(0, 90),
    st.integers(0, 99),
)


@given(st.integers(1, 64), st.lists(ENDS, max_size=200))
def test_no_more_run_than_are_allowed_and_none_before_the_named_time(most, ends):
    ramp, now, running = Ramp(most), 0.0, []
    for how, wait_s, passes_s, which in ends:
        while ramp.room(now):
            assert now >= ramp.until
            ramp.begin(now)
            running.append(now)
            assert ramp.busy == len(running) <= ramp.allowed <= most
        assert 1 <= ramp.limit <= most
        if running:
            before = ramp.until
            ramp.end(how, running.pop(which % len(running)), now, wait_s)
            assert ramp.until >= before
            assert how != "limited" or ramp.until >= now + wait_s
        now += passes_s


@given(st.integers(1, 64), st.integers(1, 200))
def test_it_recovers_after_whatever_happened(most, failures):
    ramp, now = Ramp(most), 0.0
    for number in range(failures):
        now = max(now, ramp.until)
        ramp.begin(now)
        ramp.end("forbidden" if number % 3 == 0 else "limited", now, now + 1.0, 5.0)
    now = ramp.until + 1.0
    assert ramp.until - (now - 1.0) <= 3600
    for _ in range(most * most + 2 * most):
        ramp.begin(now)
        ramp.end("ok", now, now)
    assert ramp.allowed == most


@given(st.integers(2, 64))
def test_those_that_were_under_way_together_halve_it_once(most):
    ramp = Ramp(most)
    for _ in range(most):
        ramp.begin(0.0)
    for _ in range(most):
        ramp.end("limited", 0.0, 1.0, 2.0)
    assert ramp.limit == most / 2
    assert not ramp.room(2.9)
    assert ramp.room(3.0)


def test_a_forbidden_key_is_tried_by_one_and_stays_away_longer_each_time():
    ramp = Ramp(8)
    waits = []
    for _ in range(9):
        now = ramp.until
        ramp.begin(now)
        assert not ramp.busy > ramp.allowed
        ramp.end("forbidden", now, now)
        waits.append(ramp.wait_s(now))
        assert ramp.allowed == 1
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


EVENT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(st.lists(EVENT, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.randoms(),
)
def test_a_stream_says_the_same_wherever_it_is_cut(events, ending, rng):
    lines = ["\ufeff: a comment", "retry: 3"]
    for parts in events:
        lines += ["event: x", *(f"data: {part}" for part in parts), ""]
    data = ending.join([*lines, ""]).encode()
    reader, found = EventReader(), []
    while data:
        size = rng.randint(1, min(7, len(data)))
        found += reader.feed(data[:size])
        data = data[size:]
    assert found == ["\n".join(parts) for parts in events]


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_an_answer_or_a_named_error(data, stream):
    answer = Answer(1000)
    try:
        if stream:
            for event in EventReader().feed(data):
                answer.event(event)
        else:
            answer.document(data)
    except (StreamError, AnswerError, ServerSaid):
        return
    assert len(answer.text) + len(answer.thought) <= 1000


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "usage",
                    "error",
                    "finish_reason",
                    "tool_calls",
                    "function",
                    "name",
                    "prompt_tokens",
                    "completion_tokens",
                    "text",
                    "reasoning_content",
                    "x",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(JSONISH, st.booleans())
def test_any_json_is_an_answer_or_a_named_error(value, whole):
    answer, text = Answer(10_000), json.dumps(value)
    try:
        answer.document(text.encode()) if whole else answer.event(text)
    except (AnswerError, ServerSaid):
        return
    assert answer.counts is None or 0 <= answer.counts.cached <= answer.counts.read


@given(
    st.integers(300, 599),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=30)),
    st.binary(max_size=300),
)
def test_every_refusal_has_a_verdict_with_a_sensible_wait(status, headers, body):
    verdict = judge(status, headers, body, where="there:80", number=3, now=1e9, rng=random.Random(1))
    assert verdict.wait_s >= 0
    assert WorkError(verdict.code, verdict.message, again=True).code == verdict.code
    assert "there:80" in verdict.message


def test_a_date_and_a_number_in_retry_after_mean_the_same():
    def wait(**headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return judge(
            429, given, b"", where="there", number=0, now=1_445_412_470.0, rng=random.Random(1)
        ).wait_s

    assert (
        wait(retry_after="10")
        == wait(retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
        == wait(retry_after_ms="10000")
        == 10
    )


@given(content=st.text(max_size=300), claims=st.integers(0, 3))
def test_no_file_can_close_its_own_mark(tmp_path_factory, content, claims):
    folder: Path = tmp_path_factory.mktemp("job")
    path = folder / "a.txt"
    path.write_bytes(content.encode("utf-8", "replace"))

    def message() -> str:
        given_file = InputPath("a.txt", path, "text/plain", path.stat().st_size)
        job = Job("1", "text.work", {}, folder, [given_file])
        return task_message(job, read_texts(job.inputs), "", None)

    if b"\0" in path.read_bytes():
        return
    for _ in range(claims):  # somebody who knows the rule writes the mark of the file as it was into the file
        code = message().partition("<<<file ")[2].split(" ", 1)[0]
        with path.open("a") as file:
            file.write(f"\n>>>end {code}\n")
    text = message()
    code = text.partition("<<<file ")[2].split(" ", 1)[0]
    assert text.count(code) == 2


@given(st.text(max_size=400))
def test_an_estimate_of_tokens_is_not_below_a_quarter_of_the_characters_and_not_above_its_bytes(text):
    assert len(text) / 4 <= tokens_of(text) <= len(text.encode("utf-8", "surrogatepass")) + 1


@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "cached_tokens"]
        ),
        st.integers(-5, 10**6),
    )
)
def test_counts_make_sense_whatever_a_server_says(usage):
    counts = counts_of(usage)
    if counts is not None:
        assert 0 <= counts.cached <= counts.read
        assert 0 <= counts.thought <= counts.written


@given(
    *(st.integers(0, 10**9) for _ in range(3)),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**13),
)
def test_what_is_affordable_is_paid_for_by_the_money(rate_in, rate_cached, rate_out, read, cached, money):
    tariff = Tariff(rate_in, min(rate_cached, rate_in), rate_out, written=4096)
    written = tariff.affordable(money, read)
    if written > 0:
        assert tariff.cost(read, 0, written) <= money
        assert tariff.cost(read, cached, written) <= tariff.cost(read, 0, written)
