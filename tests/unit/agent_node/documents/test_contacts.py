"""Finding e-mail addresses and links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.contacts import address_of, find_emails, find_links


def emails(text: str) -> list[str]:
    return [item.value for item in find_emails(text)]


def links(text: str) -> list[str]:
    return [item.value for item in find_links(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Foo.Bar@Example.COM", "Foo.Bar@example.com"),
        ("<a+tag@b.example>", "a+tag@b.example"),
        ("mail me (x_y@a-b.co.uk).", "x_y@a-b.co.uk"),
        ("mailto:x@y.example", "x@y.example"),
        ("to=x@y.example", "x@y.example"),
        ("'x@y.example'", "x@y.example"),
        ("x (at) y.org", "x@y.org"),
        ("x[at]y[dot]org", "x@y.org"),
        ("x <at> y.org", "x@y.org"),
        ("x at y dot org", "x@y.org"),
        ("jürgen@müller.example", "jürgen@müller.example"),
    ],
)
def test_an_address_is_found(text: str, expected: str) -> None:
    assert emails(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png",
        "left-pad@1.0.0",
        "@handle",
        "git@github.com:a/b",
        "a@b",
        "https://user@host.example/",
        "Message-ID: <1@b.example>",
        "a@@b.c",
        "meet at noon",
        "x@.example",
    ],
)
def test_what_only_looks_like_an_address_is_left_alone(text: str) -> None:
    assert emails(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see http://Example.com/A.", "http://example.com/A"),
        ("(see https://a.example/x_(y)).", "https://a.example/x_(y)"),
        ("<https://a.example>", "https://a.example"),
        ("[t](https://a.example/x) more", "https://a.example/x"),
        ("[a](https://a.example/x)[b](y)", "https://a.example/x"),
        ("www.foo.example/x,", "http://www.foo.example/x"),
        ("ftp://f.example/a;", "ftp://f.example/a"),
        ("http://localhost:8080/a?b=c&d#e", "http://localhost:8080/a?b=c&d#e"),
        ('href="https://a.example/x"', "https://a.example/x"),
        ("https://a.example/online-\napplication.html\nnext", "https://a.example/online-application.html"),
        ("https://a.example/legal/\nCOAST GUARD", "https://a.example/legal/"),
    ],
)
def test_a_link_is_found(text: str, expected: str) -> None:
    assert links(text) == [expected]


@pytest.mark.parametrize(
    "text", ["http://", "https://...", "example.com", "www.", "ahttp://x.example", "://x", "www.a"]
)
def test_what_only_looks_like_a_link_is_left_alone(text: str) -> None:
    assert links(text) == []


def test_links_next_to_each_other_are_all_found() -> None:
    assert links("[a](https://a.example/1) ([b](https://b.example/2))") == [
        "https://a.example/1",
        "https://b.example/2",
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [("mailto:a%2Bb@c.example?subject=x", "a+b@c.example"), ("mailto:", ""), ("mailto:a@b", "")],
)
def test_the_address_of_a_mail_link_is_read(target: str, expected: str) -> None:
    assert address_of(target) == expected


@given(st.text(alphabet="ab.@:/w() <>-\n[]%hpt", max_size=120))
def test_any_text_gives_finds_within_it(text: str) -> None:
    for find in (find_emails, find_links):
        end = 0
        for item in find(text):
            assert end <= item.start < item.end <= len(text)
            end = item.end
