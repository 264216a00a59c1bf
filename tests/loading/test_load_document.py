"""The loader: scalars as the key wants them, hostile YAML, and what people read when something is wrong."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from imagekit.errors import ConfigError
from imagekit.loading import Loaded, load_document


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    append: tuple[str, ...] = ()
    prepend: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    source: str
    mode: Annotated[str, msgspec.Meta(pattern="^[0-7]{4}$", description="is not a mode", examples=["0444"])] = "0444"


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    text: str = ""
    texts: dict[str, str] = {}
    tags: tuple[str, ...] | Edit | None = None
    switch: bool = False
    either: bool | str = "auto"
    level: int | str = "default"
    number: int = 0
    ratio: float = 0.0
    until: datetime.date | None = None
    entries: tuple[Entry, ...] = ()
    pair: tuple[str, int] = ("", 0)


def load(text: str | bytes) -> Loaded[Document]:
    content = text.encode() if isinstance(text, str) else text
    return load_document(content, Document, name="x.yaml")


def refused(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.exit_code == 2
    return caught.value.message


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("text: no", "text", "no"),
        ("text: on", "text", "on"),
        ("text: 1.20", "text", "1.20"),
        ("text: 0o17", "text", "0o17"),
        ("text: 12:30:45", "text", "12:30:45"),
        ("text: 2027-03-31", "text", "2027-03-31"),
        ("text: null", "text", "null"),
        ("text: ~", "text", "~"),
        ("text:", "text", ""),
        ("text: =", "text", "="),
        ("texts: {386: 1e3, no: true}", "texts", {"386": "1e3", "no": "true"}),
        ("tags: [1.20, yes, 0x1f]", "tags", ("1.20", "yes", "0x1f")),
        ("tags: {append: [no]}", "tags", Edit(append=("no",))),
        ("tags: null", "tags", None),
        ("switch: true", "switch", True),
        ("either: true", "either", True),
        ('either: "true"', "either", "true"),
        ("either: path/to", "either", "path/to"),
        ("level: 9", "level", 9),
        ('level: "9"', "level", "9"),
        ("level: best", "level", "best"),
        ('number: "7"', "number", 7),
        ("number: -7", "number", -7),
        ("ratio: 1.5", "ratio", 1.5),
        ("ratio: 2", "ratio", 2.0),
        ("until: 2027-03-31", "until", datetime.date(2027, 3, 31)),
        ("pair: [7, 7]", "pair", ("7", 7)),
        ("entries: [{from: 1, mode: 0444}]", "entries", (Entry("1", "0444"),)),
    ],
)
def test_a_scalar_is_read_as_the_type_that_its_key_wants(line: str, field: str, value: object) -> None:
    assert getattr(load(f"version: 1\n{line}\n").value, field) == value


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("switch: yes", "x.yaml:2:9: 'yes' is not true or false"),
        ("switch: True", "'True' is not true or false"),
        ("number: 010", "'010' is not a whole number"),
        ("number: 0x10", "'0x10' is not a whole number"),
        ("number: 1_000", "'1_000' is not a whole number"),
        ("number: 1.0", "'1.0' is not a whole number"),
        ("number: 99999999999999999999", "is not a whole number"),
        ("ratio: .nan", "'.nan' is not a number"),
        ("number:", "x.yaml:2:8: an empty value is not a whole number"),
        ("until: 2027-02-30", "'2027-02-30' is not a date"),
        ("tags: netgo", "'netgo' is not a list or a mapping with append, prepend"),
        ("tags: {apend: [x]}", "x.yaml:2:8: unknown key 'apend'"),
        ("tags: {append: x}", "x.yaml:2:16: 'x' is not a list"),
        ("entries: [{from: a}, {mode: 0444}]", "x.yaml:2:22: the key 'from' is missing"),
        ("entries: [{from: a, mode: 999}]", "x.yaml:2:27: '999' is not a mode"),
        ("texts: {a: [b]}", "x.yaml:2:12: a list is not text"),
        ("pair: [a]", "x.yaml:2:7: a list is too short"),
    ],
)
def test_what_does_not_fit_is_named_at_its_place(line: str, told: str) -> None:
    assert told in refused(f"version: 1\n{line}\n")


def test_all_mistakes_come_at_once_with_line_caret_and_way_out() -> None:
    text = "version: 1\nverison: 2\nnumber: many\ntags:\n  - [nested]\nversion: 3\nentries:\n  - from: a\n    form: b\n"
    assert refused(text) == (
        "x.yaml: 5 mistakes, the first in line 2\n"
        "x.yaml:2:1: unknown key 'verison'\n"
        "  2 | verison: 2\n"
        "    | ^\n"
        "    = did you mean 'version'?\n"
        "x.yaml:3:9: 'many' is not a whole number\n"
        "  3 | number: many\n"
        "    |         ^\n"
        "    = write a whole number\n"
        "x.yaml:5:5: a list is not text\n"
        "  5 |   - [nested]\n"
        "    |     ^\n"
        "    = write text\n"
        "x.yaml:6:1: 'version' is already set in line 1\n"
        "  6 | version: 3\n"
        "    | ^\n"
        "    = keep one of the two\n"
        "x.yaml:9:5: unknown key 'form'\n"
        "  9 |     form: b\n"
        "    |     ^\n"
        "    = did you mean 'from'?"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.yaml:1:1: the document is empty"),
        ("# nothing\n", "the document is empty"),
        ("- a", "a list is not a mapping with version"),
        ("{}", "the key 'version' is missing"),
        ("version: 2", "x.yaml:1:10: 2 is not known here"),
        ("version: 1\n---\nversion: 1", "x.yaml:2:1: a second document begins here"),
        ("version: 1\nversion: 1", "x.yaml:2:1: 'version' is already set in line 1"),
        ('version: 1\ntexts: {1: a, "1": b}', "x.yaml:2:15: '1' is already set in line 2"),
        ("version: 1\ntext: !!python/object/apply:os.system [x]", "the YAML tag 'tag:yaml.org,2002:python/object"),
        ("version: 1\ntags: [ !windows ]", "x.yaml:2:9: the YAML tag '!windows' is not read here"),
        ("version: 1\ntext: {{ version }}", "a key must be text"),
        ("version: 1\n? [a]\n: b", "x.yaml:2:3: a key must be text"),
        ("version: 1\ntexts: &t {a: b}\n<<: *t", "'<<' (a YAML 1.1 merge) is not read here"),
        ("version: 1\ntext: *.go", "put text that begins with * & ! @ or ` in quotes"),
        ("version: 1\ntags: &t [*t]", "no anchor '&t' ends before this alias"),
        ("version: 1\ntags: [a", "while parsing a flow sequence that begins in line 2"),
        ("version: 1\ntexts:\n\ta: b", "indent with spaces, not with tabs"),
        ("version: 1\ntext: a\x07b", "x.yaml:2:8: not YAML: control characters are not allowed"),
        (b"version: 1\ntext: \xff", "x.yaml:2: byte 17 is not UTF-8"),
        (b"\xff\xfev\x00", "is not UTF-8"),
        ("version: 1\ntext: \x1b[31mred", "control characters are not allowed"),
    ],
)
def test_wrong_yaml_is_refused(text: str | bytes, told: str) -> None:
    assert told in refused(text)


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert load(b"\xef\xbb\xbfversion: 1\r\ntext: a\r\n").value.text == "a"


def test_anchors_may_be_used_up_to_a_hundred() -> None:
    def document(count: int) -> str:
        return "version: 1\ntags:\n" + "".join(f"  - &a{n} x\n" for n in range(count))

    assert len(load(document(100) + "text: *a99\n").value.tags or ()) == 100
    assert "x.yaml:103:5: more than 100 anchors" in refused(document(101))


def laughing(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "version: 1\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("billion laughs", laughing(9), "too much, once aliases are followed"),
        ("long text, often", f"a: &a {'x' * 500_000}\nb: [{'*a, ' * 100_000}]", "too much, once aliases"),
        ("deep flow", "version: 1\ntags: " + "[" * 500_000, "nested deeper than 64 levels"),
        ("deep block", "version: 1\ntags:\n" + "- " * 500_000, "nested deeper than 64 levels"),
        ("deep keys", "? " * 500_000, "nested deeper than 64 levels"),
        ("large", "version: 1\ntext: " + "x" * (1 << 20), "larger than 1 MiB"),
        ("many mistakes", "version: 1\n" + "".join(f"k{n}: 1\n" for n in range(2000)), "… and 1950 more"),
        ("one long line", "version: 1\ntexts: {" + ", ".join(f"k{n}: [{n}]" for n in range(500)) + "}", "… and 450"),
    ],
)
def test_hostile_text_costs_little(name: str, text: str, told: str) -> None:
    began = time.process_time()
    message = refused(text)
    assert told in message
    assert len(message) < 30_000, name
    assert time.process_time() - began < 5, name


def test_nothing_in_a_message_can_be_obeyed_by_a_terminal() -> None:
    message = refused("version: 1\n\u202eevil\u2066: ::error::x\n")
    assert "\\u202eevil" in message
    assert message.isprintable() or {c for c in message if not c.isprintable()} == {"\n"}


def test_marks_know_the_place_of_each_value() -> None:
    marks = load("version: 1\nentries:\n  - from: a\n  - from: b\n    mode: '0400'\n").marks
    assert marks.where("entries", 1, "mode") == "x.yaml:5:11"
    assert marks.line("entries", 0) == "x.yaml:3"
    assert marks.where("entries", 1, "nowhere") == "x.yaml:4:5"
    assert marks.where("entries", 9) == "x.yaml:3:3"


def test_a_credential_is_never_shown() -> None:
    message = refused(f"version: 1\ntexts: {{b: [c], a: ghp_{'x' * 36}}}\nghp_{'y' * 36}: d\n")
    assert "xxx" not in message
    assert "yyy" not in message
    assert f"  2 | texts: {{b: [c], a: {'*' * 40}}}\n    | {' ' * 11}^" in message


def test_a_file_is_called_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("version: 1\n")
    assert load_document(path, Document).marks.name == str(path)
    assert load_document(path, Document, name="some.yaml").marks.where("version") == "some.yaml:1:10"


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path, what: str) -> None:
    path = tmp_path if what == "folder" else tmp_path / "missing.yaml"
    with pytest.raises(ConfigError, match="directory"):
        load_document(path, Document)


class Even(msgspec.Struct, forbid_unknown_fields=True):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("is odd")


class Holder(msgspec.Struct, forbid_unknown_fields=True):
    values: tuple[Even, ...]


def test_a_check_beyond_the_schema_has_its_place_too() -> None:
    with pytest.raises(ConfigError) as caught:
        load_document(b"values:\n  - number: 2\n  - number: 3\n", Holder, name="x.yaml")
    assert caught.value.message.startswith("x.yaml:3:5: is odd")


HINTS = {
    "tags: {append: x}": "write [x]",
    "tags: {append: 'a, b'}": "write [a, b]",
    "tags: {append: curl localhost}": 'write ["curl", "localhost"]',
    "tags: {append: /app --name 'two words'}": 'write ["/app", "--name", "two words"]',
    "tags: {append: it's odd}": 'write ["it\'s", "odd"]',
}


@pytest.mark.parametrize("text", HINTS)
def test_text_in_the_place_of_a_list_is_shown_as_one(text: str) -> None:
    assert HINTS[text] in refused(f"version: 1\n{text}\n")
