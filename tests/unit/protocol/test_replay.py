from __future__ import annotations

import pytest

from protocol.errors import Rejected
from protocol.replay import ReplayWindows, SessionGate
from protocol.verify import Verifier
from tests.support.wire_world import BID, NOW_MS, RULES, SWARM8, Door

SESSION = b"session1"


def commit(
    windows: ReplayWindows,
    seq: int,
    time_ms: int = 0,
    ttl_s: int = 30,
    now_ms: int = 0,
    session: bytes = SESSION,
) -> None:
    windows.commit(session, seq, time_ms, ttl_s, now_ms)


@pytest.mark.requirement("ENV-13")
def test_numbers_may_come_in_any_order_within_the_window() -> None:
    windows = ReplayWindows()
    for seq in (5, 3, 4, 1028, 6):
        assert windows.fresh(SESSION, seq)
        commit(windows, seq)
        assert not windows.fresh(SESSION, seq)
    assert not windows.fresh(SESSION, 4)  # 1,024 behind 1,028: nobody knows any more
    assert not windows.fresh(SESSION, 5)  # the last place of the window, taken
    assert windows.fresh(SESSION, 7)
    assert windows.fresh(SESSION, 1029)


@pytest.mark.requirement("ENV-13")
def test_a_jump_beyond_the_window_forgets_nothing_that_could_come_again() -> None:
    windows = ReplayWindows()
    commit(windows, 1)
    commit(windows, 2**64 - 1)
    assert not windows.fresh(SESSION, 1)
    assert not windows.fresh(SESSION, 2**64 - 1)
    assert windows.fresh(SESSION, 2**64 - 2)
    assert windows.fresh(SESSION, 2**64 - 1024)
    assert not windows.fresh(SESSION, 2**64 - 1025)


def test_asking_changes_nothing() -> None:
    windows = ReplayWindows()
    assert windows.fresh(SESSION, 1)
    assert windows.fresh(SESSION, 1)
    assert windows.has_room(SESSION, 0)
    assert not windows.knows(SESSION)
    assert len(windows) == 0


def test_zero_is_no_sequence_number() -> None:
    windows = ReplayWindows()
    assert not windows.fresh(SESSION, 0)
    commit(windows, 1)
    assert not windows.fresh(SESSION, 0)


@pytest.mark.requirement("ENV-14")
def test_a_session_is_forgotten_when_its_longest_lasting_message_fails_on_time() -> None:
    windows = ReplayWindows()
    commit(windows, 1, time_ms=30_000, ttl_s=600)  # by a clock that is 30 s ahead
    commit(windows, 2, time_ms=0, ttl_s=0)
    last = 30_000 + 600_000 + 30_000
    assert windows.forget(last) == 0
    assert windows.forget(last + 1) == 1
    assert not windows.knows(SESSION)


@pytest.mark.requirement("ENV-14")
def test_only_sessions_that_are_over_make_room() -> None:
    windows = ReplayWindows()
    for number in range(256):
        commit(windows, 1, ttl_s=number, session=number.to_bytes(8, "big"))
    assert not windows.has_room(SESSION, 30_000)
    assert windows.has_room(SESSION, 30_001)
    assert len(windows) == 255
    assert not windows.knows(bytes(8))


@pytest.mark.requirement("ENV-17")
def test_a_young_receiver_asks_a_new_session_for_a_number_first() -> None:
    door = Door()
    numbers = iter((b"n" * 16, b"m" * 16))
    gate = SessionGate(NOW_MS, frozenset({0x0201}), lambda: next(numbers))
    door.verifier = Verifier(SWARM8, door.directory, RULES, gate=gate)
    sealer = door.sealer()

    def code() -> str:
        try:
            door.verify(door.seal(sealer))
        except Rejected as error:
            return error.code
        return "OK"

    node = door.member.node_id
    assert code() == code() == "E_SESSION"
    assert gate.challenges() == [(node, SESSION, b"n" * 16)]
    assert gate.challenges() == []
    assert not gate.confirm(node, SESSION, b"wrong")
    assert not gate.confirm(node, b"session2", b"n" * 16)
    assert gate.confirm(node, SESSION, b"n" * 16)
    assert not gate.confirm(node, SESSION, b"n" * 16)
    assert code() == "OK"


@pytest.mark.requirement("ENV-17")
def test_the_answer_itself_and_everything_after_660_seconds_pass_the_gate() -> None:
    gate = SessionGate(NOW_MS, frozenset({0x0201}), lambda: b"n" * 16)
    assert gate.admits(b"node", SESSION, 0x0201, NOW_MS)
    assert not gate.admits(b"node", SESSION, BID, NOW_MS + 659_999)
    assert gate.admits(b"node", b"session2", BID, NOW_MS + 660_000)


def test_a_forged_message_causes_no_challenge() -> None:
    door = Door()
    gate = SessionGate(NOW_MS, frozenset(), lambda: b"n" * 16)
    door.verifier = Verifier(SWARM8, door.directory, RULES, gate=gate)
    with pytest.raises(Rejected) as caught:
        door.verify(door.seal()[:-1] + b"\xff")
    assert caught.value.code == "E_SIG"
    assert gate.challenges() == []


def test_the_number_of_open_challenges_is_bounded() -> None:
    gate = SessionGate(NOW_MS, frozenset(), lambda: b"n" * 16)
    for number in range(5000):
        gate.admits(b"node", number.to_bytes(8, "big"), BID, NOW_MS)
    assert len(gate._pending) == 4096
    assert len(gate.challenges()) == 4096
    assert not gate.confirm(b"node", bytes(8), b"n" * 16)
