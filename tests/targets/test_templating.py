"""Templates: what they say, what they may not say, and that none of them costs much."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import msgspec
import pytest

from imagekit.errors import ConfigError
from imagekit.source.git import GitState
from imagekit.targets.templating import Cell, TemplateContext, context_of, fill, version_of

LONG = "x" * 8000
CONTEXT = TemplateContext(
    version="1.2.3",
    commit="0123456789abcdef0123456789abcdef01234567",
    short_commit="0123456",
    branch="main",
    commit_time="2026-11-24T07:00:00Z",
    env={"CI": "yes", "copy": "a value", "LONG": LONG},
)
CELL = Cell("app", "linux", "arm", "v7", ("netgo", "osusergo"))


PLAIN = GitState(
    root=Path("/src"),
    commit=CONTEXT.commit,
    short="0123456",
    branch="main",
    tag="",
    dirty=False,
    dirty_paths=(),
    commit_time=1795500000,
    remote="",
)


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("plain", "plain"),
        ("{ x }", "{ x }"),
        ("{{ version }}", "1.2.3"),
        ("v{{version}}-{{ short_commit }}", "v1.2.3-0123456"),
        ("{{ id }}_{{ os }}_{{ arch }}_{{ variant }}", "app_linux_arm_v7"),
        ("{{ tags }}", "netgo,osusergo"),
        ("{{ tags | join('+') }}", "netgo+osusergo"),
        ("{{ 'netgo' in tags }}", "true"),
        ("{{ dirty }}", "false"),
        ("{{ commit[:12] }}", "0123456789ab"),
        ("{{ commit[-4:] }}", "4567"),
        ("{{ env.CI }}", "yes"),
        ("{{ env.copy }}", "a value"),
        ("{{ env.NONE | default('x') }}", "x"),
        ("{{ tag | default(version) }}", "1.2.3"),
        ("{{ tag or version }}", "1.2.3"),
        ("{{ 'a' if tag else 'b' }}", "b"),
        ("{{ tag is defined }}", "false"),
        ("{{ version | replace('.', '-') | upper }}", "1-2-3"),
        ("{{ '_' ~ variant if variant else '' }}", "_v7"),
        ("{{ os == 'linux' and not dirty }}", "true"),
        ("{{ '{{' }}", "{{"),
        ("line\n{{ version }}\n", "line\n1.2.3\n"),
    ],
)
def test_a_template_is_filled(template: str, result: str) -> None:
    assert fill(template, CONTEXT, CELL) == result


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for x in range(10**9) %}{% endfor %}", "statements and comments"),
        ("{% set x = 1 %}", "statements and comments"),
        ("text {% raw %}", "statements and comments"),
        ("{# note #}{{ version }}", "statements and comments"),
        ("{{ range(1000000000) }}", "Call is not allowed"),
        ("{{ 'a' * 1000000000 }}", "Mul is not allowed"),
        ("{{ 10 ** 10 ** 10 }}", "Pow is not allowed"),
        ("{{ '%999999999d' % 1 }}", "Mod is not allowed"),
        ("{{ '{:>999999999}'.format(1) }}", "Call is not allowed"),
        ("{{ [0] }}", "List is not allowed"),
        ("{{ {} }}", "Dict is not allowed"),
        ("{{ (1, 2) }}", "Tuple is not allowed"),
        ("{{ 1 + 1 }}", "Add is not allowed"),
        ("{{ version.__class__ }}", "Getattr is not allowed"),
        ("{{ version['__class__'] }}", "Getitem is not allowed"),
        ("{{ env['CI'] }}", "Getitem is not allowed"),
        ("{{ env._values }}", "env._values is not set"),
        ("{{ env.__class__ }}", "env.__class__ is not set"),
        ("{{ env }}", "env is not a value"),
        ("{{ 'a' in env }}", "cannot be filled"),
        ("{{ env | join }}", "cannot be filled"),
        ("{{ env.PATH }}", "env.PATH is not set, or not named in template_env"),
        ("{{ version | attr('x') }}", "the filter 'attr' is not known here"),
        ("{{ version | center(999999999) }}", "the filter 'center' is not known here"),
        ("{{ version is callable }}", "Test is not allowed"),
        ("{{ lipsum }}", "'lipsum' is not a name here"),
        ("{{ self }}", "'self' is not a name here"),
        ("{{ tag }}", "'tag' has no value here"),
        ("{{ 'x' ~ tag }}", "'tag' has no value here"),
        ("{{ tag == '' }}", "'tag' has no value here"),
        ("{{ tag | lower }}", "'tag' has no value here"),
        ("{{ verison }}", "'verison' is not a name here"),
        ("{{ version", "cannot be filled"),
        ("{{ }}", "cannot be filled"),
        ("{{ version < tags }}", "cannot be filled"),
        ("{{ version[1:'a'] }}", "cannot be filled"),
        ("{{ " + "9" * 5000 + " }}", "cannot be filled"),
        ("{{ " + "(" * 4000 + "version" + ")" * 4000 + " }}", "too deep"),
        ("{{ " + "not " * 1500 + "version }}", "deep"),
        (
            "{{ " + " ~ ".join(["version"] * 40) + " }}{{ " + "version if version else " * 40 + "version }}",
            "nested deeper",
        ),
        ("{{ version }}" + "x" * 8192, "longer than 8 KiB"),
        ("{{ " + "~".join(["env.LONG"] * 20) + " }}", "longer than 64 KiB"),
        ("{{ version | replace('', env.LONG) | replace('x', env.LONG) }}", "longer than 64 KiB"),
        ("{{ env.LONG | replace('x', env.LONG) }}", "longer than 64 KiB"),
        ("{{ env.LONG | join(env.LONG) }}", "longer than 64 KiB"),
    ],
)
def test_what_a_template_may_not_say_is_refused_at_once(template: str, told: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        fill(template, CONTEXT, CELL)
    assert told in caught.value.message
    assert time.process_time() - began < 2


def test_what_is_for_several_platforms_has_no_platform() -> None:
    with pytest.raises(ConfigError, match="'os' has no value here"):
        fill("{{ os }}", CONTEXT, Cell("app"))
    assert fill("{{ id }}", CONTEXT, Cell("app")) == "app"


CREDENTIALS = {
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
    "an AWS access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a GitHub token": "ghp_" + "a" * 36,
    "a GitLab token": "glpat-" + "a" * 20,
    "a Slack token": "xoxb-" + "1234567890-abc",
    "a JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxIn0.c2ln",
    "a URL with a password": "https://user:" + "secret@example.org/x",
}


@pytest.mark.parametrize(("kind", "text"), CREDENTIALS.items())
def test_what_looks_like_a_credential_is_refused_and_not_repeated(kind: str, text: str) -> None:
    context = TemplateContext(env={"TOKEN": text})
    for template in (text, f"x {text} y", "{{ env.TOKEN }}"):
        with pytest.raises(ConfigError) as caught:
            fill(template, context, CELL)
        assert kind in caught.value.message
        assert text not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.org/a:b@c", "git+https://git.example/team/app", "user:pass", "a@b:c", "ghp_short", "AKIA"),
        *("sha256:" + "a" * 64, "eyJ", "-----BEGIN CERTIFICATE-----", "http://localhost:8080/x@y", "key=value"),
    ],
)
def test_ordinary_text_is_no_credential(text: str) -> None:
    assert fill(text, CONTEXT) == text


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"tag": "v1.4.0"}, "1.4.0"),
        ({"tag": "1.4.0-rc.1"}, "1.4.0-rc.1"),
        ({"tag": "cmd/app/v1.4.0"}, "1.4.0"),
        ({"tag": "v1.4.0", "dirty": True}, "1.4.0+dirty"),
        ({"tag": "v1.4.0+meta", "dirty": True}, "1.4.0+meta.dirty"),
        ({"tag": "release"}, "release"),
        ({"tag": "team/nightly"}, "nightly"),
        ({}, "0.0.0-20261124060000-0123456"),
        ({"dirty": True}, "0.0.0-20261124060000-0123456+dirty"),
        ({"commit_time": 0}, "0.0.0-19700101000000-0123456"),
    ],
)
def test_the_version_is_that_of_the_tag_or_of_the_commit(changes: dict[str, object], version: str) -> None:
    assert version_of(msgspec.structs.replace(PLAIN, **changes)) == version


def test_a_variable_with_a_credential_is_refused_before_it_reaches_the_provenance() -> None:
    token = "ghp_" + "a1" * 18
    with pytest.raises(ConfigError, match="CI_TOKEN of template_env looks like a GitHub token") as caught:
        context_of(PLAIN, ["CI_TOKEN"], {"CI_TOKEN": token})
    assert token not in str(caught.value)
    assert context_of(PLAIN, [], {"CI_TOKEN": token}).env == {}


def test_only_named_variables_that_are_set_are_seen() -> None:
    context = context_of(PLAIN, ["CI", "NONE"], {"CI": "yes", "SECRET": "x"})
    assert context.env == {"CI": "yes"}
    assert context.commit_time == "2026-11-24T06:00:00Z"
    unborn = msgspec.structs.replace(PLAIN, commit="", short="", commit_time=0)
    for git in (None, unborn):
        assert context_of(git, [], {}) == TemplateContext(version="0.0.0-unversioned")


WORDS = (
    *(
        "version",
        "tag",
        "env",
        "env.CI",
        "tags",
        "(",
        ")",
        "[",
        "]",
        "'a'",
        "1",
        "~",
        "|",
        "default",
        "replace",
        "join",
    ),
    *(
        "if",
        "else",
        "not",
        "and",
        ",",
        ":",
        "-",
        "+",
        "*",
        "is",
        "defined",
        "in",
        "==",
        ".",
        "{{",
        "}}",
        "true",
        "{",
        "}",
    ),
)


def test_nonsense_is_refused_and_never_breaks() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        template = "{{ " + " ".join(chance.choices(WORDS, k=chance.randint(1, 9))) + " }}"
        with contextlib.suppress(ConfigError):
            fill(template, CONTEXT, CELL)
