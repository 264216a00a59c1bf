"""Text for people and for other formats: escaping what is not ours, and the templates that imagekit fills.

Touches disk in `template_source`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.errors import ConfigError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment


def plain(text: str) -> str:
    """`text` with nothing in it that a terminal or a CI log would obey.

    Control characters, ANSI escapes, bidirectional overrides and unpaired surrogates become `\\x1b`-like escapes; a
    `::command` at the start of a line, and a `##[command]` anywhere, lose their power by an escaped first character.
    """
    return "\n".join(_without_command(_printable(line)) for line in text.split("\n"))


def line(text: str) -> str:
    """The same for one line: newlines are escaped too."""
    return plain(text.replace("\n", "\\n"))


def json_of(value: Any, encode: Callable[[Any], bytes]) -> bytes:
    """The JSON that `encode` makes, also of paths that are not UTF-8: what it cannot hold stands as an escape."""
    try:
        return encode(value)
    except UnicodeEncodeError:
        import msgspec

        return encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: Any) -> Any:
    """The same strings, lists and maps, with escapes for unpaired surrogates, which JSON cannot hold."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(each) for each in value]
    return value


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}" if point < 65536 else f"\\U{point:08x}"


def _without_command(text: str) -> str:
    if text.lstrip().startswith("::"):
        text = text.replace(":", "\\x3a", 1)
    for prefix in ("##[", "##vso["):  # GitHub's runner and Azure's agent look for these in the middle of a line too
        text = text.replace(prefix, f"\\x23{prefix[1:]}")
    return text


def dockerfile_word(text: str) -> str:
    """A double-quoted Dockerfile value (LABEL, ENV, ADD): no expansion, one line; newlines are refused.

    Numbers, `65532:65532` too, stay bare: linters take a quoted user for a name (hadolint DL3066). A backslash before a
    quote stands outside of the quotes, where linters can read it too (hadolint takes `"\\\\"` for an open quote).
    """
    _one_line(text, "a Dockerfile")
    if re.fullmatch(r"[0-9]+(:[0-9]+)?", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + re.sub(r'((?:\\\\)+)(?=\\"|\Z)', r'"\1"', escaped) + '"'


def json_array(words: list[str] | tuple[str, ...]) -> str:
    """The exec form of ENTRYPOINT, CMD and HEALTHCHECK."""
    import json

    return json.dumps(list(words))


def hcl_string(text: str) -> str:
    """A quoted HCL string literal without interpolation."""
    import json

    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def shell_word(text: str) -> str:
    """One POSIX shell word."""
    return shlex.quote(text)


def _one_line(text: str, where: str) -> None:
    if any(not c.isprintable() for c in text):
        raise ConfigError(
            f"{text!r} has a character that cannot stand in {where}",
            hint="use printable characters in one line",
        )


def template_source(name: str) -> str:
    """The text of `templates/<name>`: in a checkout beside the package, in an installed wheel inside it."""
    here = Path(__file__).parent
    for folder in (here / "templates", here.parent / "templates"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise FileNotFoundError(name)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(docker=dockerfile_word, json_array=json_array, hcl=hcl_string, shell=shell_word)
    return environment


def prepare_templates() -> None:
    """Import jinja2 (20 ms) while there is time for it; whoever renders without this imports it then."""
    _environment()


def render(name: str, **values: Any) -> str:
    """Fill `templates/<name>`; every value from outside must pass `docker`, `json_array`, `hcl` or `shell` in it."""
    return _environment().from_string(template_source(name)).render(**values)


def render_html(name: str, **values: Any) -> str:
    """Fill `templates/<name>`: every word becomes a `line` and is escaped for HTML; `Markup` becomes `plain`."""
    environment = _environment().overlay(autoescape=True, finalize=_inert)
    return environment.from_string(template_source(name)).render(**values)


def _inert(value: Any) -> Any:
    """What a filter joined is `Markup` too, and holds words that no one has looked at yet."""
    return type(value)(plain(str(value))) if hasattr(value, "__html__") else line(str(value))
