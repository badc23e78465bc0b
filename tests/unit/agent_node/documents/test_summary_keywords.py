"""The capabilities text.summarize and text.keywords."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.errors import DocumentError
from agent_node.documents.keywords import keywords, text_keywords
from agent_node.documents.language import guess
from agent_node.documents.read import read_document
from agent_node.documents.sentences import sentences
from agent_node.documents.summarize import summarize, text_summarize
from agent_node.documents.text import TextDocument

from .conftest import Call, Put

TOPICS = {
    "harbour": "The harbour of the town was dug for fishing boats and grew with every ship that came",
    "bakery": "The bakery on the corner sells bread of rye and wheat, and its oven is never cold",
    "library": "The library lends books to everybody, and its reading room is open on Sunday too",
    "railway": "The railway crosses the river on an iron bridge that trembles under every train",
    "theatre": "The theatre plays comedies in winter, and its actors paint the scenery themselves",
}


def chapters(repeat: int = 12) -> TextDocument:
    """Five chapters, each on another topic."""
    parts = []
    for topic, base in TOPICS.items():
        lines = [
            f"{base}.",
            *(
                f"Visitor number {n} of the {topic} liked what the {topic} had to show that day."
                for n in range(repeat)
            ),
        ]
        parts.append(f"# About the {topic}\n\n" + "\n".join(lines))
    return read_document("a.md", "\n\n".join(parts).encode())


def test_a_summary_takes_from_the_whole_text_and_not_from_its_start() -> None:
    items = sentences(chapters())
    chosen = summarize(items, "en", 5)
    assert {int(item.position * 5) for item, _ in chosen} == {0, 1, 2, 3, 4}
    assert {topic for topic in TOPICS if any(topic in item.text for item, _ in chosen)} == set(TOPICS)


def test_a_long_document_is_summarised_from_all_of_it_too() -> None:
    items = sentences(chapters(repeat=400))
    assert len(items) > 2_000
    assert {int(item.position * 5) for item, _ in summarize(items, "en", 5)} == {0, 1, 2, 3, 4}


def test_the_sentences_of_a_summary_are_cited_and_stand_in_the_document(put: Put, call: Call) -> None:
    source = "\n".join(unit.text for unit in chapters().units)
    text = put("text.json", call("doc.read", [put("a.txt", source.encode())])["text.json"])
    value = json.loads(call("text.summarize", [text], sentences=4)["summary.json"])
    lines = source.split("\n")
    assert len(value["sentences"]) == 4
    for sentence in value["sentences"]:
        assert sentence["text"].split()[0] in lines[sentence["at"]["line"] - 1]
    places = [sentence["at"]["line"] for sentence in value["sentences"]]
    assert places == sorted(places)


def test_sentences_that_say_the_same_are_not_both_chosen() -> None:
    text = (
        "The harbour was closed for repairs in spring. " * 8
        + "The bakery sold three hundred loaves on Sunday morning."
    )
    chosen = summarize(sentences(read_document("a.txt", text.encode())), "en", 2)
    assert len({item.text for item, _ in chosen}) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dr. Smith met Mr. Jones on 3. March in the old town. They talked.",
            ["Dr. Smith met Mr. Jones on 3. March in the old town."],
        ),
        (
            "It costs e.g. five euros per day there. Nobody pays that much money.",
            ["It costs e.g. five euros per day there.", "Nobody pays that much money."],
        ),
        (
            "A sentence over\ntwo lines is one sentence. Here is another one, too.",
            ["A sentence over two lines is one sentence.", "Here is another one, too."],
        ),
        (
            "- An item with **bold** and [a link](http://x.example) in it",
            ["An item with bold and a link in it"],
        ),
        ("x = {a: 1}; y = [2]; foo(bar); return baz;", []),
        ("TOO SHORT", []),
    ],
)
def test_sentences_are_told_apart(text: str, expected: list[str]) -> None:
    assert [item.text for item in sentences(read_document("a.txt", text.encode()))] == expected


def test_headings_and_tables_are_no_sentences() -> None:
    source = b"# This is a heading with many words\n\n| a long | table row | with many | words in it |\n|--|--|--|--|\n| one two | three | four | five six |\n"
    assert sentences(read_document("a.md", source)) == []


def test_a_document_without_sentences_has_an_empty_summary(put: Put, call: Call) -> None:
    text = put("text.json", call("doc.read", [put("a.csv", b"a,b\n1,2\n")])["text.json"])
    assert json.loads(call("text.summarize", [text])["summary.json"])["sentences"] == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Die Katze ist auf dem Dach und sie will nicht zu uns kommen", "de"),
        ("De kat zit op het dak en ze wil niet naar ons toe komen", "nl"),
        ("Le chat est sur le toit et il ne veut pas venir avec nous", "fr"),
        ("El gato está en el tejado y no quiere venir con nosotros", "es"),
        ("The cat is on the roof and it does not want to come to us", "en"),
        ("4711", "en"),
    ],
)
def test_the_language_is_guessed(text: str, language: str) -> None:
    assert guess(text) == language


def test_keywords_are_phrases_of_the_document_with_places() -> None:
    text = (
        b"The solar panel converts light.\nEvery solar panel needs a clean surface.\nA solar panel ages.\n"
        b"The inverter feeds the grid, and the inverter hums.\nThe inverter fails first."
    )
    found = keywords(read_document("a.txt", text), 3)
    assert [keyword["phrase"] for keyword in found[:2]] == ["solar panel", "inverter"]
    assert found[0]["at"] == [{"line": 1}, {"line": 2}, {"line": 3}]
    assert found[0]["count"] == 3
    assert found[0]["score"] == 1.0


def test_stop_words_links_months_and_numbers_are_no_keywords() -> None:
    text = b"and the of https://a.example/solar x@y.example 2024 March March March EUR EUR EUR and the of roof roof"
    assert [keyword["phrase"] for keyword in keywords(read_document("a.txt", text), 10)] == ["roof"]


def test_a_word_that_a_keyword_contains_is_not_repeated() -> None:
    text = b"annual report, annual report, annual report. The annual reports."
    assert [keyword["phrase"] for keyword in keywords(read_document("a.txt", text), 5)] == ["annual report"]


@pytest.mark.parametrize(
    "params", [{"sentences": 0}, {"sentences": 51}, {"sentences": True}, {"sentences": "5"}, {"x": 1}]
)
def test_wrong_parameters_of_a_summary_are_refused(put: Put, params: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        text_summarize(params, [put("text.json", b"{}")], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


@pytest.mark.parametrize("params", [{"top": 0}, {"top": 101}, {"top": 1.5}, {"x": 1}])
def test_wrong_parameters_of_keywords_are_refused(put: Put, params: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        text_keywords(params, [put("text.json", b"{}")], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


@given(st.text(alphabet="aA bB.c!\n?'’-1é", max_size=300), st.integers(1, 6))
def test_any_text_can_be_summarised(text: str, wanted: int) -> None:
    try:
        document = read_document("a.txt", text.encode())
    except DocumentError:
        return
    items = sentences(document)
    chosen = summarize(items, guess(text), wanted)
    assert len(chosen) == min(wanted, len(items))
    assert [item for item, _ in chosen] == sorted(
        (item for item, _ in chosen), key=lambda item: item.position
    )
    assert all(0 <= score <= 1 for _, score in chosen)
    keywords(document, 5)
