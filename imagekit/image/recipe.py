"""Recipe: one entry of `images:`: what goes into an image besides the program, and what is written on it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from imagekit.audit.needs import Piece
from imagekit.errors import ConfigError, UsageError
from imagekit.oci.reference import LOCAL, Reference, is_tag

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_REPOSITORY = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_NUMERIC_USER = re.compile(r"[0-9]{1,10}(?::[0-9]{1,10})?")
_MODE = re.compile(r"0?[0-7]{3}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_LARGEST_ID = 2**32 - 2

Key = tuple[str | int, ...]


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong with a recipe: `key` leads from the entry to the value (`("rootfs", "files", 0, "mode")`)."""

    key: Key
    message: str
    hint: str = ""


class CertificateSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ca: {extra: [corporate.pem]}`: certifi's bundle and, after it, the certificates of these files."""

    extra: tuple[str, ...]


PieceSetting = bool | str
"""`auto`, `true`, `false`, or a path whose content replaces the constant one."""


class FileRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """Extra files: `from` is a path or glob in the project, `to` a path in the image (`/` at its end: a folder).

    `mode` is octal and for files; '' is 0555 for what its owner may run and 0444 for the rest.
    """

    source: str
    to: str
    mode: str = ""
    owner: str = "0:0"


class RootFilesystem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rootfs:`; nsswitch.conf has no key of its own: it goes with `users` unless that is `auto`."""

    ca: bool | str | CertificateSetting = "auto"
    tzdata: PieceSetting = "auto"
    users: PieceSetting = "auto"
    tmp: PieceSetting = "auto"
    files: tuple[FileRule, ...] = ()


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`debug: {add: "oci:debug-layer"}`: the same image, then the layers of one in a local OCI layout."""

    add: str


class CompressionSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How layers are packed; `level` is the algorithm's own number, or `default`."""

    algorithm: str = "gzip"
    level: int | str = "default"


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One image; as it is written its values may be templates (`{{ version }}`), assembled it has none."""

    id: str
    build: str
    repository: str = ""
    tags: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("linux/*",)
    base: str = "scratch"
    rootfs: RootFilesystem = RootFilesystem()
    user: str = "65532:65532"
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = "/"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    healthcheck: tuple[str, ...] = ()
    variants: dict[str, Variant] = {}
    compression: CompressionSetting = CompressionSetting()

    @property
    def kept_at(self) -> str:
        """`repository`, or a name under `LOCAL` for an image without one."""
        return self.repository or f"{LOCAL}/{self.id.lower()}"

    @property
    def command(self) -> tuple[str, ...]:
        """What runs: `entrypoint`, or the program itself."""
        return self.entrypoint or (f"/{self.build}",)


def setting_of(recipe: Recipe, piece: Piece) -> bool | str | CertificateSetting:
    """What the recipe says of a piece: `True`, `False`, `"auto"`, a path, or certificates to add."""
    key = "users" if piece is Piece.NSSWITCH else piece.value
    value = getattr(recipe.rootfs, key)
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if piece is Piece.NSSWITCH and isinstance(value, str) and value != "auto":
        return True
    return value  # type: ignore[no-any-return]  # one of the four fields above, each of this type


def mistakes(recipe: Recipe) -> Iterator[Mistake]:
    """Everything in one entry that cannot be, in the order of its keys; templates are read as text."""
    yield from _naming(recipe)
    yield from _base(recipe.base)
    yield from _rootfs(recipe.rootfs)
    yield from _running(recipe)
    yield from _written(recipe)
    yield from _packing(recipe)


def names_of(recipe: Recipe) -> tuple[str, ...]:
    """The image names (`app`, `app-debug`) that a recipe makes, the plain one first."""
    return (recipe.id, *(f"{recipe.id}-{name}" for name in recipe.variants))


def require_possible(recipe: Recipe) -> None:
    """Raise `ConfigError` with every mistake of a recipe at once."""
    found = tuple(mistakes(recipe))
    if found:
        lines = (f"images/{recipe.id}: {'.'.join(map(str, one.key))}: {one.message}" for one in found)
        raise ConfigError("\n".join(lines), hint=found[0].hint)


def _naming(recipe: Recipe) -> Iterator[Mistake]:
    if not _ID.fullmatch(recipe.id):
        yield Mistake(("id",), f"{recipe.id!r} cannot name a file", "use letters, digits, '.', '_' and '-'")
    if recipe.id.endswith(".source"):
        yield Mistake(
            ("id",), f"Dockerfile.{recipe.id} is what another image's Dockerfile is called", "end it otherwise"
        )
    repository = _without_templates(recipe.repository)
    if repository and not _REPOSITORY.fullmatch(repository):
        yield Mistake(
            ("repository",),
            f"{recipe.repository!r} is not a repository",
            "write host[:port]/path in lower case, without a tag",
        )
    for place, tag in enumerate(recipe.tags):
        if not is_tag(_without_templates(tag)):
            yield Mistake(("tags", place), f"{tag!r} is not a tag", "use up to 128 letters, digits, '.', '_', '-'")


def _base(base: str) -> Iterator[Mistake]:
    """`scratch`, `oci:FOLDER[:NAME]`, or a reference; a name without a host would be docker.io's, and is refused."""
    if base == "scratch" or (base.startswith("oci:") and len(base) > len("oci:")):
        return
    try:
        named = Reference.parse(base)
    except UsageError as error:
        yield Mistake(("base",), error.message, "write scratch, oci:FOLDER, or host/repository:tag")
        return
    if named.host == "docker.io" and not base.startswith("docker.io/"):
        yield Mistake(("base",), f"{base!r} names no registry", f"write {named}, or oci:{base}")


def _rootfs(rootfs: RootFilesystem) -> Iterator[Mistake]:
    if rootfs.tmp not in (True, False, "auto", "true", "false"):
        yield Mistake(
            ("rootfs", "tmp"),
            f"{rootfs.tmp!r}: /tmp is an empty folder and has no content to replace",
            "write auto, true or false; use rootfs.files to put something into /tmp",
        )
    for name in ("ca", "tzdata", "users"):
        if getattr(rootfs, name) == "":
            yield Mistake(("rootfs", name), "is empty", "write auto, true, false or a path")
    for place, rule in enumerate(rootfs.files):
        for field, message, hint in _file_rule(rule):
            yield Mistake(("rootfs", "files", place, field), message, hint)


def _file_rule(rule: FileRule) -> Iterator[tuple[str, str, str]]:
    if not rule.source or rule.source.startswith("/") or ".." in rule.source.split("/"):
        yield "from", f"{rule.source!r} is not inside the project", "write a relative path without '..'"
    if not is_image_path(rule.to):
        yield "to", f"{rule.to!r} is not a path in an image", "write an absolute path without '..', e.g. /srv/"
    if rule.mode and not _MODE.fullmatch(rule.mode):
        yield (
            "mode",
            f"{rule.mode!r} is not a file mode",
            'write three octal digits, e.g. "0444"; set-id bits are refused',
        )
    if not _is_owner(rule.owner) or ":" not in rule.owner:
        yield "owner", f"{rule.owner!r} is not an owner", 'write numbers, e.g. "65532:65532"'


def is_image_path(path: str) -> bool:
    """Whether `path` is absolute, of plain segments, and no name that a layer gives a meaning (`.wh.`)."""
    segments = path.strip("/").split("/")
    plain = path.startswith("/") and path.isprintable() and len(path) < 1024
    return plain and all(s not in ("", ".", "..") and not s.startswith(".wh.") for s in segments if path != "/")


def _is_owner(text: str) -> bool:
    return bool(_NUMERIC_USER.fullmatch(text)) and all(int(part) <= _LARGEST_ID for part in text.split(":"))


def _running(recipe: Recipe) -> Iterator[Mistake]:
    if not _is_owner(recipe.user):
        yield Mistake(
            ("user",),
            f"{recipe.user!r} is not numeric; Kubernetes cannot tell that a name is not root",
            'write uid or uid:gid, e.g. "65532:65532"',
        )
    for name in recipe.env:
        if not _ENV_NAME.fullmatch(name):
            yield Mistake(("env", name), f"{name!r} is not the name of a variable", "use letters, digits and '_'")
    if not is_image_path(recipe.workdir):
        yield Mistake(("workdir",), f"{recipe.workdir!r} is not an absolute path", "write e.g. /")
    for key in ("entrypoint", "healthcheck"):
        words = getattr(recipe, key)
        if words and not words[0].startswith(("/", "{{")):
            yield Mistake(
                (key, 0),
                f"{words[0]!r} is not an absolute path; there is no shell and no PATH on scratch",
                f'write the program\'s path, e.g. ["/{recipe.build}"]',
            )


def _written(recipe: Recipe) -> Iterator[Mistake]:
    """Text that has to stand in one line of a Dockerfile, and in JSON."""
    for field in ("env", "labels", "annotations"):
        for key, value in getattr(recipe, field).items():
            if not key or not f"{key}{value}".isprintable():
                yield Mistake((field, key), "has a control character or an empty name", "write one printable line")


def _packing(recipe: Recipe) -> Iterator[Mistake]:
    for name, variant in recipe.variants.items():
        if not _ID.fullmatch(name):
            yield Mistake(("variants", name), f"{name!r} cannot name a file", "use letters, digits, '.', '_' and '-'")
        if not variant.add.startswith("oci:"):
            yield Mistake(
                ("variants", name, "add"),
                f"{variant.add!r}: only layers of a local OCI layout can be added",
                'write "oci:FOLDER" or "oci:FOLDER:NAME"',
            )
    if recipe.compression.algorithm not in ("gzip", "zstd", "none"):
        yield Mistake(
            ("compression", "algorithm"), f"{recipe.compression.algorithm!r} is unknown", "write gzip, zstd or none"
        )
    if isinstance(recipe.compression.level, str) and recipe.compression.level != "default":
        yield Mistake(
            ("compression", "level"), f"{recipe.compression.level!r} is no level", "write `default` or a number"
        )


def _without_templates(text: str) -> str:
    """`text` with a plain letter for every `{{ … }}`: enough to judge the shape of what is around it."""
    return re.sub(r"\{\{.*?\}\}", "x", text)
