"""The lexer: every text is covered, and what was put together comes apart again."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.local.clickhouse.tokens import TokenKind, literal, quoted_name, tokens

WORDS = st.from_regex(rb"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).map(lambda w: (TokenKind.WORD, w))
NUMBERS = st.sampled_from([b"0", b"12", b"0x1F", b"1_000", b"1.5"]).map(lambda n: (TokenKind.NUMBER, n))
TEXTS = st.text(max_size=12)
STRINGS = TEXTS.map(lambda t: (TokenKind.STRING, literal(t).encode("utf-8", "replace")))
DOUBLED = TEXTS.map(
    lambda t: (TokenKind.STRING, b"'" + t.replace("\\", "").replace("'", "''").encode("utf-8", "replace") + b"'")
)
NAMES = TEXTS.map(lambda t: (TokenKind.QUOTED_NAME, quoted_name(t).encode("utf-8", "replace")))
HEREDOCS = st.tuples(
    st.sampled_from([b"", b"a", b"x_1"]), TEXTS.map(lambda t: t.replace("$", "").encode("utf-8", "replace"))
).map(lambda p: (TokenKind.STRING, b"$" + p[0] + b"$" + p[1] + b"$" + p[0] + b"$"))
SYMBOLS = st.sampled_from([b";", b",", b".", b"=", b"*", b"(", b")", b"[", b"]"]).map(lambda s: (TokenKind.SYMBOL, s))
TRIVIA = st.lists(
    st.sampled_from(
        [
            b" ",
            b"\n",
            b"\t\r\n",
            b"-- it's; (\n",
            b"// FORMAT x\n",
            b"# a\n",
            b"#! a\n",
            b"/* a; ' */",
            b"/* /* x */ ) */",
            b"\xc2\xa0",
        ]
    ),
    min_size=1,
    max_size=3,
).map(b"".join)


@given(
    st.lists(st.tuples(WORDS | NUMBERS | STRINGS | DOUBLED | NAMES | HEREDOCS | SYMBOLS, TRIVIA), max_size=12), TRIVIA
)
def test_what_was_put_together_comes_apart(parts: list[tuple[tuple[TokenKind, bytes], bytes]], before: bytes) -> None:
    text = before + b"".join(value + trivia for (_, value), trivia in parts)
    assert [(token.kind, token.text) for token in tokens(text)] == [part for part, _ in parts]


@given(st.binary(max_size=200))
def test_tokens_are_in_order_and_lie_in_the_text(text: bytes) -> None:
    position = 0
    for token in tokens(text):
        assert position <= token.start < token.end <= len(text)
        assert text[token.start : token.end] == token.text
        assert token.depth >= 0
        position = token.end


@given(
    st.lists(
        st.sampled_from([b"'", b'"', b"`", b"/*", b"*/", b"--", b"\n", b"\\", b"$$", b"a", b" ", b"(", b")"]),
        max_size=30,
    )
)
def test_broken_quotes_and_comments_end_the_text_and_nothing_hangs(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    found = list(tokens(text))
    for token in found[:-1]:
        assert token.kind is not TokenKind.BROKEN
    if found and found[-1].kind is TokenKind.BROKEN:
        assert found[-1].end == len(text)


def test_depth_counts_open_brackets() -> None:
    assert [(t.text, t.depth) for t in tokens(b"a(b[c]{d})e")] == [
        (b"a", 0), (b"(", 0), (b"b", 1), (b"[", 1), (b"c", 2), (b"]", 1), (b"{", 1), (b"d", 2), (b"}", 1), (b")", 0), (b"e", 0),
    ]  # fmt: skip


def test_reading_is_lazy_before_binary_data() -> None:
    text = b"INSERT INTO t FORMAT Native\n" + b"\x00'\xff" * 1_000_000
    stream = tokens(text)
    assert [next(stream).text for _ in range(5)] == [b"INSERT", b"INTO", b"t", b"FORMAT", b"Native"]


def test_typographic_quotes_are_quotes() -> None:
    found = [(t.kind, t.text.decode()) for t in tokens("\u2018a;b\u2019 \u201cc d\u201d".encode())]
    assert found == [(TokenKind.STRING, "\u2018a;b\u2019"), (TokenKind.QUOTED_NAME, "\u201cc d\u201d")]
