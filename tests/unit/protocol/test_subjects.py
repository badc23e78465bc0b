from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocol import subjects
from protocol.artifact import CHUNK_BYTES, ArtifactRef
from protocol.errors import Rejected
from tests.support.wire_world import bus_text

ME = bus_text("me")
RUN = "a" * 26
NODE = "0123456789abcdef" * 2
SERIAL = "0102030405060708"

TABLE = [
    (subjects.announce("text.summarize"), "announce", "cap/text.summarize"),
    (subjects.to_node(ME), "to", f"node/{NODE}"),
    (subjects.bid(RUN, ME), "bid", f"run/{RUN}/bids"),
    (subjects.work(RUN, ME), "work", f"run/{RUN}/work"),
    (subjects.offer(ME), "offer", "swarm/presence"),
    (subjects.heartbeat(ME), "heartbeat", "swarm/presence"),
    (subjects.request("runs", ME), "request", "svc/runs"),
    (subjects.inbox(ME, "Token_1"), "inbox", f"node/{NODE}"),
    (subjects.events(RUN), "events", f"run/{RUN}/events"),
    (subjects.control(), "control", "swarm/control"),
    (subjects.journal(RUN), "journal", f"run/{RUN}/journal"),
]


@pytest.mark.requirement("SUB-1")
@pytest.mark.requirement("SUB-2")
@pytest.mark.parametrize(("subject", "kind", "audience"), TABLE, ids=[row[1] for row in TABLE])
def test_each_subject_is_taken_apart_into_what_it_was_made_of(subject: str, kind: str, audience: str) -> None:
    route = subjects.route(subject)
    assert route.kind == kind
    assert subjects.audience(route, NODE) == audience
    assert route.me == (ME if kind in ("bid", "work", "offer", "heartbeat", "request") else "")
    assert route.to == (ME if kind in ("to", "inbox") else "")
    assert route.run == (RUN if kind in ("bid", "work", "events", "journal") else "")
    assert route.capability == ("text.summarize" if kind == "announce" else "")
    assert route.service == ("runs" if kind == "request" else "")


@pytest.mark.requirement("SUB-2")
def test_the_specification_has_the_same_table() -> None:
    spec = (Path(subjects.__file__).parent / "SPEC.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z]+) \| `([^`]+)` \|$", spec, re.MULTILINE)

    def filled(text: str) -> str:
        text = re.sub(r"<ME[^>]*>", ME, text)
        for place, value in (
            ("<ID of the receiver>", NODE),
            ("<run>", RUN),
            ("<capability>", "text.summarize"),
            ("<service>", "runs"),
            ("<token>", "Token_1"),
        ):
            text = text.replace(place, value)
        return text

    assert [(filled(subject), kind, filled(audience)) for subject, kind, audience in rows] == TABLE


def test_what_goes_to_one_node_needs_to_know_which() -> None:
    for subject in (subjects.to_node(ME), subjects.inbox(ME, "t")):
        with pytest.raises(Rejected) as caught:
            subjects.audience(subjects.route(subject))
        assert caught.value.code == "E_AUD"


@pytest.mark.requirement("SUB-1")
@pytest.mark.parametrize(
    "subject",
    [
        "",
        "s",
        "s.",
        "s.ctl.x",
        "s.ann.",
        "s.ann.*",
        "s.ann.Text",
        "s.ann.a..b",
        "s.ann.a\n",
        f"s.to.{ME[:-1]}",
        f"s.to.{ME}x",
        f"s.to.{ME.lower()}",
        f"s.bid.{RUN}",
        f"s.bid.{RUN}.*",
        f"s.bid.{RUN[1:]}.{ME}",
        f"s.bid.{RUN.upper()}.{ME}",
        f"s.bid.{RUN}.{ME}.x",
        f"s.req.a.b.{ME}",
        f"s.req.{'a' * 33}.{ME}",
        f"_I.{ME}",
        "_I.x.y",
        "_E.token",
        "_INBOX.a.b",
        "$JS.API.INFO",
        f"s.cert.{SERIAL}",
        f"S.to.{ME}",
        f"x.to.{ME}",
        "s.ann." + "a" * 65,
        "s.ann." + "a." * 200,
    ],
    ids=ascii,
)
def test_any_other_subject_is_foreign(subject: str) -> None:
    with pytest.raises(Rejected) as caught:
        subjects.route(subject)
    assert caught.value.code == "E_AUD"


@pytest.mark.requirement("SUB-3")
@pytest.mark.parametrize("odd", ["", "*", ">", "a.*", "a b", "a\n", "A", "é", "a" * 300], ids=ascii)
def test_no_builder_lets_a_name_become_another_subject(odd: str) -> None:
    for build in (
        subjects.announce,
        subjects.to_node,
        lambda text: subjects.bid(text, ME),
        lambda text: subjects.bid(RUN, text),
        lambda text: subjects.work(RUN, text),
        subjects.offer,
        subjects.heartbeat,
        lambda text: subjects.request(text, ME),
        lambda text: subjects.request("runs", text),
        subjects.requests_of,
        lambda text: subjects.inbox(text, "t"),
        subjects.inbox_all,
        subjects.events,
        subjects.journal,
        lambda text: subjects.artifact(text, ME, 0),
        lambda text: subjects.artifact("0" * 64, text, 0),
        subjects.cert,
        subjects.invite,
        lambda text: subjects.burn(text, 0),
        subjects.enrol_request,
        subjects.audience_node,
    ):
        with pytest.raises(Rejected) as caught:
            build(odd)
        assert caught.value.code == "E_AUD"
    for build in (subjects.enrol_reply, lambda text: subjects.inbox(ME, text)):
        if odd != "A":
            with pytest.raises(Rejected):
                build(odd)


@pytest.mark.requirement("SUB-5")
def test_stored_things_have_their_subjects() -> None:
    assert subjects.cert(SERIAL) == f"s.cert.{SERIAL}"
    assert subjects.invite(SERIAL) == f"s.inv.{SERIAL}"
    assert subjects.burn(SERIAL, 3) == f"s.burn.{SERIAL}.3"
    assert subjects.artifact("0" * 64, ME, 12) == f"s.art.{'0' * 64}.{ME}.12"
    for build in (lambda: subjects.burn(SERIAL, -1), lambda: subjects.artifact("0" * 64, ME, -1)):
        with pytest.raises(Rejected):
            build()


@pytest.mark.requirement("SUB-6")
def test_enrolment_has_subjects_of_its_own() -> None:
    assert subjects.CHARTER == "enroll.charter"
    assert subjects.enrol_request(SERIAL) == f"enroll.req.{SERIAL}"
    assert subjects.enrol_reply("Abc-1_") == "_E.Abc-1_"


def matches(pattern: str, subject: str) -> bool:
    wanted, parts = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(parts) > place
        if place >= len(parts) or token not in ("*", parts[place]):
            return False
    return len(wanted) == len(parts)


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (subjects.announces(), subjects.announce("a.b")),
        (subjects.bids(), subjects.bid(RUN, ME)),
        (subjects.bids(RUN), subjects.bid(RUN, ME)),
        (subjects.works(), subjects.work(RUN, ME)),
        (subjects.works(RUN), subjects.work(RUN, ME)),
        (subjects.offers(), subjects.offer(ME)),
        (subjects.heartbeats(), subjects.heartbeat(ME)),
        (subjects.requests_of("runs"), subjects.request("runs", ME)),
        (subjects.inbox_all(ME), subjects.inbox(ME, "t")),
        (subjects.events_all(), subjects.events(RUN)),
        (subjects.journals(), subjects.journal(RUN)),
        (subjects.artifacts(), subjects.artifact("0" * 64, ME, 0)),
        (subjects.certs(), subjects.cert(SERIAL)),
        (subjects.invites(), subjects.invite(SERIAL)),
        (subjects.burns(), subjects.burn(SERIAL, 0)),
        (subjects.burns(SERIAL), subjects.burn(SERIAL, 0)),
        (subjects.enrol_requests(), subjects.enrol_request(SERIAL)),
    ],
)
def test_a_subscription_gets_what_it_is_for_and_nothing_else(pattern: str, subject: str) -> None:
    assert matches(pattern, subject)
    others = [other for other, _, _ in TABLE if other.split(".")[:2] != subject.split(".")[:2]]
    assert len(others) >= 10
    assert not [other for other in others if matches(pattern, other)]


@pytest.mark.requirement("ART-1")
@pytest.mark.requirement("ART-2")
def test_an_artifact_reference_says_what_a_reader_needs_and_is_closed() -> None:
    assert CHUNK_BYTES == 262_144
    reference = ArtifactRef(sha256=bytes(32), size=CHUNK_BYTES + 1, chunks=2, writer=ME)
    assert subjects.artifact(reference.digest, reference.writer, 1) == f"s.art.{'00' * 32}.{ME}.1"
    for wrong in ({"sha256": bytes(31)}, {"size": -1}, {"writer": "*"}, {"more": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ArtifactRef.model_validate({**reference.model_dump(), **wrong})
