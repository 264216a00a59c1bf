from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from html.parser import HTMLParser

import msgspec
import pytest

from imagekit.audit.finding import Severity
from imagekit.audit.reports import render
from imagekit.audit.reports.html import label, share, size
from imagekit.audit.reports.treemap import Box


class _Page(HTMLParser):
    """Every element with its attributes, the text of each, and the text of script and style."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.raw, self.text, self._open = [], {}, "", ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else ""

    def handle_endtag(self, _):
        self._open = ""

    def handle_data(self, data):
        if self._open:
            self.raw[self._open] = self.raw.get(self._open, "") + data
        else:
            self.text += f" {data}"

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def with_class(self, tag, word):
        return [attributes for attributes in self.named(tag) if word in (attributes.get("class") or "").split()]


def _page(report, **options):
    return _Page(render(report, "html", **options).decode())


def test_the_policy_admits_the_page_s_own_style_and_script_alone(full_report):
    page = _page(full_report)
    policy = next(meta["content"] for meta in page.named("meta") if "http-equiv" in meta)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[tag].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert {rules["default-src"], rules["base-uri"], rules["form-action"]} == {"'none'"}
    assert len(rules) == 5


def test_the_page_needs_nothing_from_elsewhere(full_report):
    page = _page(full_report)
    content = render(full_report, "html").decode()
    assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "embed", "form", "base", "audio"}
    assert not re.search(r"(src|srcset|action|data|poster)=", content.split("<script>")[0].replace("data-", ""))
    assert "url(" not in page.raw["style"]
    assert "@import" not in page.raw["style"]
    assert not re.search(r"fetch|XMLHttp|import\(|eval|innerHTML|http://(?!www\.w3\.org/2000/svg)", page.raw["script"])


def test_every_link_leads_to_a_place_of_the_page(full_report):
    page = _page(full_report)
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for attributes in page.named("a")]
    assert len(set(places)) == len(places)
    assert links
    assert {link.removeprefix("#") for link in links} <= set(places)


def test_targets_by_rules(full_report):
    page = _page(full_report)
    assert len(page.with_class("th", "rule")) == 4
    marks = [attributes["class"] for attributes in page.with_class("td", "mark")]
    assert len(marks) == 4 * len(full_report.subjects)
    assert sorted(set(marks)) == ["mark ", "mark error", "mark waived", "mark warning"]


def test_findings_facts_and_what_was_asked_for_are_told(full_report):
    text = " ".join(_page(full_report).text.split())
    for words in (
        "2 of 4 targets do not pass",
        "cgo-required example.org/c has no Go files without cgo",
        "program headers at 0x40: no PT_INTERP, no PT_DYNAMIC",
        "What a scratch image must hold /etc/passwd : os/user is linked",
        "no loader is there",
        "GNU C17 12.2.0",
        "libc.so.7",
        "h1:" + "A" * 43,
        "odd no permission",
        "for now",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("changes", "options", "heading"),
    [
        ({}, {}, "2 of 4 targets do not pass"),
        ({}, {"fail_on": Severity.WARNING}, "3 of 4 targets do not pass"),
        ({"subjects": ()}, {}, "1 file was not examined"),
        ({"subjects": ()}, {"allow_skipped": True}, "There was nothing to audit"),
    ],
    ids=["errors", "warnings", "skipped", "nothing"],
)
def test_the_heading_is_the_verdict(full_report, changes, options, heading):
    report = msgspec.structs.replace(full_report, **changes)
    assert heading in " ".join(_page(report, **options).text.split())


def test_a_clean_report_says_so(full_report):
    clean = msgspec.structs.replace(full_report.subjects[2], findings=())
    report = msgspec.structs.replace(full_report, subjects=(clean,), skips=(), waived=(), expired=())
    page = _page(report)
    assert "The target passes" in " ".join(page.text.split())
    assert page.with_class("header", "passed")
    assert "exceptions" not in {attributes.get("id") for _, attributes in page.elements}


def test_the_map_has_every_module_and_a_table_of_the_same(full_report):
    page = _page(full_report)
    blocks = [attributes["data-name"] for attributes in page.with_class("g", "block")]
    assert blocks[:3] == ["Go standard library", "example.org/many", "example.org/app"]
    assert len(page.with_class("table", "sizes")) == 1
    assert all(float(rect["width"]) >= 0 and float(rect["height"]) >= 0 for rect in page.named("rect"))


def test_hostile_names_add_no_element_and_no_attribute(full_report, hostile_report):
    plain, hostile = _page(full_report), _page(hostile_report)
    content = render(hostile_report, "html").decode()
    assert {tag for tag, _ in hostile.elements} == {tag for tag, _ in plain.elements}
    assert len(hostile.named("script")) == len(hostile.named("style")) == 1
    assert hostile.raw == plain.raw
    assert all(link["href"].startswith("#") for link in hostile.named("a"))
    names = {name for _, attributes in hostile.elements for name in attributes}
    assert names == {name for _, attributes in plain.elements for name in attributes}
    assert not any(name.startswith("on") or name == "style" for name in names)
    assert all(c == "\n" or c.isprintable() for c in content)
    assert "##[" not in content
    assert "{{ 7*7 }}" in hostile.text


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("net/http", 200, "net/http"),
        ("golang.org/x/net/http2", 80, "…/net/http2"),
        ("golang.org/x/net/http2", 70, "…/http2"),
        ("github.com/someone/averylongpackagename", 80, "averylongpa"[:10] + "…"),
        ("net", 20, ""),
    ],
)
def test_a_name_gives_up_its_first_elements_before_its_last(text, width, expected):
    assert label(text, Box(0, 0, width, 20)).text == expected


def test_a_detail_needs_a_second_line():
    assert label("net", Box(0, 0, 200, 20), "1 B").detail == ""
    assert label("net", Box(0, 0, 200, 40), "1 B").detail == "1 B"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 << 10, "1.5 MiB"), (5 << 40, "5120.0 GiB")],
)
def test_sizes_are_in_binary_units(count, expected):
    assert size(count) == expected


def test_a_share_of_nothing_is_nothing():
    assert (share(1, 8), share(0, 0)) == ("12.5 %", "")


class _Browser:
    """A headless Chromium, spoken to in the DevTools protocol over a pipe: messages in JSON, a NUL after each."""

    def __init__(self, program, home):
        (theirs, self._out), (self._in, back) = os.pipe(), os.pipe()
        words = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        script = f'exec "$0" "$@" 3<&{theirs} 4>&{back}'
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(
            ["bash", "-c", script, *words, f"--user-data-dir={home}"], pass_fds=(theirs, back), **quiet
        )
        os.close(theirs)
        os.close(back)
        self._count, self._left, self._home, self._events = 0, b"", home, []

    def close(self):
        self("Browser.close")
        self._process.wait(60)
        os.close(self._in)
        os.close(self._out)

    def __call__(self, method, session=None, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._message()).get("id") != self._count:
            self._events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _message(self):
        while b"\0" not in self._left:
            piece = os.read(self._in, 1 << 20)
            assert piece, "Chromium has ended"
            self._left += piece
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def open(self, content, *, script=True):
        """Load the page in a tab of its own."""
        page = self._home / f"{self._count}.html"
        page.write_bytes(content)
        tab = self("Target.createTarget", url="about:blank")["targetId"]
        session = self("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self("Page.enable", session)
        self("Emulation.setScriptExecutionDisabled", session, value=not script)
        self("Page.setLifecycleEventsEnabled", session, enabled=True)
        loader = self("Page.navigate", session, url=page.as_uri())["loaderId"]
        while not any(self._loaded(event, loader) for event in self._events):
            self._events.append(self._message())
        return _Tab(self, session)

    @staticmethod
    def _loaded(event, loader):
        seen = event.get("params", {})
        return event.get("method") == "Page.lifecycleEvent" and (seen["name"], seen["loaderId"]) == ("load", loader)


class _Tab:
    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def dom(self):
        """The page as Chromium holds it now."""
        root = self._browser("DOM.getDocument", self._session)["root"]["nodeId"]
        return _Page(self._browser("DOM.getOuterHTML", self._session, nodeId=root)["outerHTML"])

    def run(self, expression):
        """The value of a JavaScript expression."""
        done = self._browser(
            "Runtime.evaluate", self._session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, peer):
    started = _Browser(peer("chromium"), tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


@pytest.fixture
def long_report(full_report):
    """More targets than a table shows without a filter."""
    return msgspec.structs.replace(full_report, subjects=full_report.subjects * 4)


@pytest.mark.real
def test_without_javascript_the_page_says_everything(long_report, browser):
    content = render(long_report, "html")
    page, written = browser.open(content, script=False).dom(), _Page(content.decode())
    assert page.elements == written.elements
    assert page.text.split() == written.text.split()
    assert not page.with_class("input", "filter")


@pytest.mark.real
def test_javascript_adds_filters_and_the_map_s_zoom(long_report, browser):
    page = browser.open(render(long_report, "html")).dom()
    assert [box["placeholder"] for box in page.with_class("input", "filter")] == ["Filter targets"]
    assert all(block["role"] == "button" and block["tabindex"] == "0" for block in page.with_class("g", "block"))
    assert len(page.with_class("svg", "zoomable")) == len(page.with_class("p", "readout")) == 4


@pytest.mark.real
def test_a_filter_leaves_the_rows_that_say_all_its_words(long_report, browser):
    tab = browser.open(render(long_report, "html"))
    tab.run("i = document.querySelector('.filter'); i.value = 'ARM64 static'; i.dispatchEvent(new Event('input'))")
    shown = "[...document.querySelectorAll('.matrix tbody tr')].filter((r) => r.checkVisibility()).length"
    assert tab.run(shown) == 4


@pytest.mark.real
def test_a_module_is_enlarged_and_given_back(full_report, browser):
    tab = browser.open(render(full_report, "html"))
    numbers = "['x', 'y', 'width', 'height'].map((name) => rect.getAttribute(name)).join()"
    shapes = f"[...document.querySelectorAll('.map rect')].map((rect) => {numbers})"
    displayed = "[...document.querySelectorAll('.block')].map((block) => block.style.display)"
    before = tab.run(shapes)
    tab.run("document.querySelectorAll('.block')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert tab.run(displayed) == ["none", "", "none", "none", "none"]
    assert "0.0,0.0,1200.0,640.0" in tab.run(shapes)
    assert "example.org/many: 34.4 KiB" in tab.run("document.querySelector('.readout').textContent")
    tab.run("document.querySelector('.back').click()")
    assert tab.run(displayed) == [""] * 5
    assert tab.run(shapes) == before


@pytest.mark.real
def test_a_mark_opens_its_finding(full_report, browser):
    tab = browser.open(render(full_report, "html"))
    tab.run("location.hash = document.querySelector('td.mark.error a').hash")
    opened = "new Promise((done) => setTimeout(() => done(document.querySelector(location.hash).open), 100))"
    assert tab.run(opened) is True


@pytest.mark.real
def test_a_browser_obeys_no_hostile_name(full_report, hostile_report, browser):
    plain, tab = browser.open(render(full_report, "html")).dom(), browser.open(render(hostile_report, "html"))
    assert {tag for tag, _ in tab.dom().elements} == {tag for tag, _ in plain.elements}
    assert tab.run("document.title").startswith("imagekit audit: failed (")
    assert tab.run("document.scripts.length") == 1


@pytest.mark.real
def test_the_policy_stops_what_would_get_past_the_escaping(full_report, browser):
    smuggled = (
        "<script>document.title = 'owned'</script><b id=b onclick=\"document.title = 'owned'\" style='color: red'>"
    )
    content = render(full_report, "html").decode().replace("<main>", f"<main>{smuggled}</b>")
    tab = browser.open(content.encode())
    tab.run("document.getElementById('b').click()")
    assert tab.run("document.title").startswith("imagekit audit: failed (")
    assert tab.run("getComputedStyle(document.getElementById('b')).color") != "rgb(255, 0, 0)"
