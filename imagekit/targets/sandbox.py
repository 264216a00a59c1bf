"""What a template may say: the allowed nodes, filters and values of jinja2. Imported late: it imports jinja2.

Only expressions that are listed here are let through, before anything is compiled: no calls, no arithmetic, no loops,
so a template cannot run for long or grow without end, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Template, TemplateError, Undefined, nodes
from jinja2.filters import do_default
from jinja2.sandbox import ImmutableSandboxedEnvironment

from imagekit.errors import ConfigError

DEEPEST = 24
LONGEST_RESULT = 64 << 10
NAMES = (
    *("version", "commit", "short_commit", "tag", "branch", "dirty", "commit_time"),
    *("id", "os", "arch", "variant", "tags", "env"),
)
_NAMES_HINT = (
    f"names: {' '.join(NAMES[:-1])} env.NAME; without a value only with a default: {{{{ tag | default('none') }}}}"
)


class Variables:
    """What `env.` finds: the values by name, and no attribute or method of a dict."""

    __slots__ = ("_values",)
    __iter__ = __contains__ = None

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """The filled template; raise `ConfigError` for what it may not say, for a missing value, and over 64 KiB."""
    try:
        result = _compiled(text).render(values)
    except TemplateError as error:
        raise ConfigError(f"the template cannot be filled: {error.message}", hint=_NAMES_HINT) from error
    except RecursionError as error:
        raise ConfigError("the template is nested too deep", hint="write it flatter") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the template cannot be filled: {error}", hint="compare and join text only") from error
    return _short(result, len(result))


@cache
def _compiled(text: str) -> Template:
    """The template, once everything in it is on the list."""
    environment = _environment()
    tree = environment.parse(text)
    for node, depth in _walk(tree):
        if depth > DEEPEST:
            raise ConfigError(f"the template is nested deeper than {DEEPEST} levels", hint="write it flatter")
        _require_allowed(node)
    return environment.from_string(tree)


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Every node with its depth, without recursion."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _require_allowed(node: nodes.Node) -> None:
    match node:
        case nodes.Template() | nodes.Output() | nodes.TemplateData() | nodes.Concat() | nodes.CondExpr():
            return
        case nodes.Compare() | nodes.Operand() | nodes.And() | nodes.Or() | nodes.Not() | nodes.Slice():
            return
        case nodes.Const(value=str() | int()) | nodes.Neg(node=nodes.Const(value=int())):
            return
        case nodes.Name() if node.name not in NAMES:
            raise ConfigError(f"{node.name!r} is not a name here", hint=_NAMES_HINT)
        case nodes.Name() | nodes.Getattr(node=nodes.Name(name="env")):
            return
        case nodes.Getitem(arg=nodes.Slice() | nodes.Const(value=int()) | nodes.Neg()):
            return
        case nodes.Filter() if node.name not in FILTERS:
            raise ConfigError(f"the filter {node.name!r} is not known here", hint=f"filters: {', '.join(FILTERS)}")
        case nodes.Filter() | nodes.Test(name="defined" | "undefined"):
            return
    raise ConfigError(
        f"{type(node).__name__} is not allowed in a template", hint="use names, env.NAME, filters, ~ and if/else"
    )


class _WithoutValue(Undefined):
    """False in a condition; an error as soon as it should become text or be compared."""

    __slots__ = ()
    __str__ = __iter__ = __len__ = __eq__ = __ne__ = __hash__ = Undefined._fail_with_undefined_error

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Variables):
            return f"env.{self._undefined_name} is not set, or not named in template_env"
        return f"{self._undefined_name!r} has no value here"


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=_WithoutValue, autoescape=False, finalize=_spelled, keep_trailing_newline=True, optimized=False
    )
    environment.filters = dict(FILTERS)
    environment.tests = {name: environment.tests[name] for name in ("defined", "undefined")}
    environment.globals = {}
    return environment


def _spelled(value: Any) -> Any:
    """How a value that is not text stands in text; one that is missing passes through and raises in jinja2."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
        case Variables():
            raise ConfigError("env is not a value", hint="name one variable: {{ env.NAME }}")
    return value


def _text(value: Any) -> str:
    return str(_spelled(value))


def _replaced(value: Any, old: str, new: str) -> str:
    text = _text(value)
    return _short(text, len(text) + text.count(old) * len(new)).replace(old, new)


def _joined(words: Any, separator: str = "") -> str:
    texts = [_text(word) for word in words]
    return _short(separator, sum(map(len, texts)) + len(texts) * len(separator)).join(texts)


def _short(text: str, size: int) -> str:
    """`text`, if what it becomes has at most 64 KiB characters."""
    if size > LONGEST_RESULT:
        raise ConfigError(f"the filled template is longer than {LONGEST_RESULT >> 10} KiB", hint="shorten it")
    return text


FILTERS: Mapping[str, Callable[..., Any]] = {
    "default": do_default,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "trim": lambda value: _text(value).strip(),
    "replace": _replaced,
    "join": _joined,
}
