"""Budgets in words: what is understood, and what is refused with a reason that helps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_node.budget import NO_BOUND
from coordinator_node.budget_text import BudgetInvalid, amount_text, budget_text, merge, parse
from coordinator_node.config import ConfigInvalid, load_config
from coordinator_node.errors import PlanInvalid
from coordinator_node.planner import Request
from coordinator_node.planner_file import FilePlanner
from protocol.messages import Budget

ROOT = Path(__file__).resolve().parents[3]

GOOD = {
    "money=5": {"money": 5_000_000},
    "money=0.25": {"money": 250_000},
    "money=0.000001": {"money": 1},
    "tokens=2M": {"tokens": 2_000_000},
    "tokens=1.5M,steps=1000": {"tokens": 1_500_000, "steps": 1_000},
    "steps=50k": {"steps": 50_000},
    "time=2h": {"wall_ms": 7_200_000},
    "time=1h30m": {"wall_ms": 5_400_000},
    "time=45s": {"wall_ms": 45_000},
    "time=3d": {"wall_ms": 3 * 86_400_000},
    "bytes=100MB": {"bytes_out": 100_000_000},
    "bytes=64MiB": {"bytes_out": 64 << 20},
    "bytes=1024": {"bytes_out": 1_024},
    "bytes=2KiB": {"bytes_out": 2_048},
    "children=10": {"children": 10},
    " money = 5 , time = 90m ": {"money": 5_000_000, "wall_ms": 5_400_000},
}
BAD = {
    "": "KIND=AMOUNT",
    "money": "KIND=AMOUNT",
    "money=": "KIND=AMOUNT",
    "=5": "KIND=AMOUNT",
    "5": "KIND=AMOUNT",
    "money=5,": "KIND=AMOUNT",
    "money=5,money=6": "twice",
    "gold=5": "known: money",
    "money=-5": "not above zero",
    "money=-0.0000001": "not above zero",
    "money=0": "not above zero",
    "money=0.0000001": "millionth",
    "money=nan": "not a finite number",
    "money=inf": "not a finite number",
    "money=-inf": "not a finite number",
    "money=five": "not an amount of credits",
    "money=1e999999": "more than the most",
    f"money={2**70}": "more than the most",
    f"tokens={2**70}": "more than the most",
    f"tokens={2**52}": "more than the most",
    "tokens=-1": "not above zero",
    "tokens=0": "not above zero",
    "tokens=NaN": "not a number",
    "tokens=many": "not a number",
    "tokens=1.5": "not a whole number",
    "tokens=2MB": "not a number",
    "steps=1e3": "not a number",
    "time=0s": "not above zero",
    "time=2": "not a time",
    "time=-2h": "not above zero",
    "time=11d": "more than the most, 10 d",
    "time=forever": "not a time",
    "time=999999999d": "more than the most",
    "bytes=0": "not above zero",
    "bytes=-1MB": "not above zero",
    "bytes=lots": "not a size",
    "bytes=999999TB": "more than the most",
    "children=0": "not above zero",
    "children=9" * 400: "",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_a_person_writes_is_understood(text: str) -> None:
    assert parse(text).model_dump(exclude_none=True) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_is_refused_in_words(text: str) -> None:
    with pytest.raises(BudgetInvalid) as caught:
        parse(text)
    assert caught.value.code == "E_BUDGET_VALUE"
    assert BAD[text] in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 400


@given(
    st.text(max_size=40)
    | st.from_regex(r"(money|tokens|time|bytes)=[-+0-9.eEkMGhmsdinfa]{0,12}", fullmatch=True)
)
def test_no_text_is_misread(text: str) -> None:
    try:
        budget = parse(text)
    except BudgetInvalid:
        return
    for amount in budget.model_dump(exclude_none=True).values():
        assert 0 < amount < NO_BOUND


def test_amounts_read_like_amounts() -> None:
    assert amount_text("money", 4_970_000) == "4.97 credits"
    assert amount_text("money", 5_000_000_000) == "5,000 credits"
    assert amount_text("tokens", 1) == "1 token"
    assert budget_text(parse("money=5,tokens=2M,time=1h30m")) == "5 credits, 2,000,000 tokens, 1 h 30 m"


def test_what_is_asked_for_counts_before_the_plan_and_never_above_the_owners_bound() -> None:
    asked, planned, most = parse("money=2"), parse("money=9,tokens=5"), parse("money=3,steps=7")
    merged = merge(asked, planned, most)
    assert merged is not None
    assert merged.model_dump(exclude_none=True) == {"money": 2_000_000, "tokens": 5, "steps": 7}
    with pytest.raises(BudgetInvalid, match="9 credits is more than one run may have here, 3 credits"):
        merge(None, planned, most)
    with pytest.raises(BudgetInvalid, match="0 is not above zero"):
        merge(Budget(tokens=0), None, None)
    assert merge(None, None, None) is None


def plan_of(**step: Any) -> Any:
    return FilePlanner().plan(
        Request("x", plan={"budget": "money=5", "steps": [{"id": "a", "capability": "x.y", **step}]})
    )


def test_a_plan_file_bounds_the_run_and_its_steps() -> None:
    plan = plan_of(budget={"tokens": "50k", "money": 0.5})
    assert plan.budget == Budget(money=5_000_000)
    assert plan.subtasks[0].budget == Budget(tokens=50_000, money=500_000)
    assert plan.subtasks[0].skeleton().budget == plan.subtasks[0].budget


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"tokens": -5}, "step 1 (a), budget, tokens: -5 is not above zero"),
        ({"tokens": True}, "no amount"),
        ({"tokens": [1]}, "no amount"),
        ({"gold": 1}, "no such kind"),
        ("tokens", "KIND=AMOUNT"),
        ("time=2h", "a step bounds money"),
        ({}, "bounds nothing"),
    ],
)
def test_a_plan_file_with_an_absurd_budget_says_where(budget: Any, said: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan_of(budget=budget)
    assert said in caught.value.message


def test_the_owner_of_a_coordinator_bounds_every_run() -> None:
    config = load_config({"budget_run": "money=20", "budget_day": "money=100"}, "config.toml")
    assert config.run_budget == Budget(money=20_000_000, children=32)
    assert config.settings().bounds.day == Budget(money=100_000_000)
    assert load_config({}, "config.toml").run_budget == Budget(children=32)
    for section in ({"budget_run": "money=-1"}, {"budget_day": "time=2h"}, {"budget_node": "children=2"}):
        with pytest.raises(ConfigInvalid) as caught:
            load_config(section, "config.toml")
        assert next(iter(section)) in caught.value.message


@pytest.mark.parametrize("text", ["money=-5", f"tokens={2**70}", "money=NaN", "time=soon", "money=0"])
def test_the_command_refuses_an_absurd_budget_before_it_looks_at_anything(text: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mesh",
        "--home",
        str(tmp_path),
        "run",
        "x",
        "-i",
        "nothing",
        "--budget",
        text,
    ]
    done = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "E_BUDGET_VALUE"
    assert text.split("=", maxsplit=1)[0] in error["message"]
    assert "Traceback" not in done.stderr
