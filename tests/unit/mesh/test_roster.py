"""The roster: who is here, folded from hellos, heartbeats and goodbyes."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.roster import GONE_S, SUSPECT_S, NodeGone, NodeSeen, Roster
from protocol.messages import AgentCard, Goodbye, Heartbeat, Hello

NODE, KEY = "ab" * 16, "U" + "A" * 55


def hello(*capabilities: str) -> Hello:
    return Hello(
        name="nas",
        version="0.1.0",
        roles=["agent"],
        agents=[AgentCard(name="docs", capabilities=list(capabilities))] if capabilities else [],
        slots=2,
        certificate=b"c",
    )


def beat(load: float = 0.5) -> Heartbeat:
    return Heartbeat(load=load, slots_used=1, slots=2)


def test_a_node_that_says_hello_may_be_asked():
    roster = Roster()
    [change] = roster.hello(NODE, KEY, b"s" * 8, hello("text.extract"), now=100.0)
    assert isinstance(change, NodeSeen)
    assert not change.restarted
    [presence] = roster.alive(100.0)
    assert presence.capabilities == {"text.extract"}


def test_a_heartbeat_alone_lists_nobody_because_nothing_is_known_of_the_node():
    roster = Roster()
    assert roster.heartbeat(NODE, beat(), now=1.0) == []
    assert roster.all() == []
    assert not roster.knows(NODE)


def test_silence_makes_a_node_suspected_then_gone_and_a_heartbeat_brings_it_back():
    roster = Roster()
    roster.hello(NODE, KEY, b"s" * 8, hello(), now=0.0)
    assert roster.tick(SUSPECT_S) == []
    assert roster.all()[0].state == "suspected"
    assert roster.alive(SUSPECT_S) == []
    [gone] = roster.tick(GONE_S)
    assert isinstance(gone, NodeGone)
    assert roster.tick(GONE_S + 1) == []
    [back] = roster.heartbeat(NODE, beat(), now=GONE_S + 2)
    assert isinstance(back, NodeSeen)
    assert roster.alive(GONE_S + 2)[0].load == 0.5


def test_a_new_session_of_a_known_node_is_a_restart():
    roster = Roster()
    roster.hello(NODE, KEY, b"1" * 8, hello(), now=0.0)
    [again] = roster.hello(NODE, KEY, b"1" * 8, hello(), now=1.0)
    [restarted] = roster.hello(NODE, KEY, b"2" * 8, hello(), now=2.0)
    assert isinstance(again, NodeSeen)
    assert not again.restarted
    assert isinstance(restarted, NodeSeen)
    assert restarted.restarted


def test_a_goodbye_is_told_once():
    roster = Roster()
    told = []
    roster.subscribe(told.append)
    roster.hello(NODE, KEY, b"1" * 8, hello(), now=0.0)
    assert len(roster.goodbye(NODE, Goodbye(reason="update"))) == 1
    assert roster.goodbye(NODE, Goodbye()) == []
    assert [type(change) for change in told] == [NodeSeen, NodeGone]


@given(st.lists(st.tuples(st.sampled_from(["hello", "beat", "bye", "tick"]), st.floats(0, 40)), max_size=40))
def test_whatever_happens_nobody_is_alive_who_was_silent_too_long_and_the_deadline_is_never_missed(steps):
    roster, now, heard = Roster(), 0.0, None
    for what, passed in steps:
        now += passed
        if what == "hello":
            roster.hello(NODE, KEY, b"1" * 8, hello(), now)
            heard = now
        elif what == "beat" and heard is not None:
            roster.heartbeat(NODE, beat(), now)
            heard = now
        elif what == "bye":
            roster.goodbye(NODE, Goodbye())
        else:
            roster.tick(now)
        for presence in roster.alive(now):
            assert heard is not None
            assert now - heard < SUSPECT_S
            assert presence.state != "gone"
        deadline = roster.deadline()
        assert deadline is None or any(p.state != "gone" for p in roster.all())
