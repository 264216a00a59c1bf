"""How Go writes import paths in symbol names (cmd/internal/objabi/path.go), and how to read them back."""

from __future__ import annotations


def escaped(path: str) -> str:
    """The prefix that symbols of the package have: PathToPrefix.

    Control characters, space, `%`, `"`, all that is not 7-bit, and dots of the last path element become `%xx`.
    """
    raw = path.encode("utf-8", "surrogateescape")
    slash = raw.rfind(b"/")
    pieces: list[str] = []
    for index, byte in enumerate(raw):
        special = byte <= 0x20 or byte in b'%"' or byte >= 0x7F or (byte == 0x2E and index > slash)
        pieces.append(f"%{byte:02x}" if special else chr(byte))
    return "".join(pieces)


def unescaped(prefix: str) -> str:
    """The import path that a prefix stands for; one with a broken escape is returned as it is."""
    if "%" not in prefix:
        return prefix
    head, *rest = prefix.encode("utf-8", "surrogateescape").split(b"%")
    try:
        raw = head + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest if _two_digits(part))
    except ValueError:
        return prefix
    return raw.decode("utf-8", "backslashreplace")


def _two_digits(part: bytes) -> bool:
    if len(part) < 2 or not part[:2].isalnum():
        raise ValueError(part)
    return True


def symbol(name: str) -> str:
    """The linker symbol of `importpath.variable`, split at the last dot as `-X` splits it; '' without a dot."""
    package, dot, variable = name.rpartition(".")
    return f"{escaped(package)}.{variable}" if dot and package and variable else ""


def package_of(function: str) -> str:
    """The import path of a function's package; '' for what belongs to none (assembly stubs, generated equality).

    Receivers, closures and type arguments follow the first dot after the last slash before any bracket.
    """
    name = function.partition("[")[0]
    if name.startswith(("go:", "type:", "type..", "struct ", "interface ")):
        return ""
    name = name.partition("(")[0]
    package = name[: max(name.find(".", name.rfind("/") + 1), 0)]
    if " " in name or "{" in name or package == "go":  # until Go 1.19 the compiler's own names began with `go.`
        return ""
    return unescaped(package)
