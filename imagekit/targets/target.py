"""Target: one cell of the matrix, with everything that decides its bytes."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from imagekit.platform import Platform


class Cgo(StrEnum):
    """`off` is CGO_ENABLED=0, `static` compiles C with zig against musl, `allow` is CGO_ENABLED=1."""

    OFF = "off"
    STATIC = "static"
    ALLOW = "allow"


class XValue(msgspec.Struct, frozen=True, order=True):
    """One `-X name=value`: `name` is `importpath.variable`."""

    name: str
    value: str


class Ldflags(msgspec.Struct, frozen=True):
    """Linker settings; `strip` is `-s -w`."""

    strip: bool = False
    values: tuple[XValue, ...] = ()
    flags: tuple[str, ...] = ()


class Unsafe(msgspec.Struct, frozen=True):
    """What stands outside the allow-lists and was admitted by name; each is a finding."""

    flags: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One build for one platform, level and set of tags; templates are filled."""

    build: str
    platform: Platform
    level: str = ""
    """The CPU level in Go's spelling: `v1` (GOAMD64), `v8.0` (GOARM64), `sse2`, `7` for arm/v7; empty if none."""
    main: str = ""
    """`./cmd/app`, an import path of the module, or `example.org/mod/cmd/app@v1.2.3`; '' for a prebuilt file."""
    prebuilt: str = ""
    directory: str = "."
    """The module's folder, relative to the configuration file."""
    tags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    gcflags: tuple[str, ...] = ()
    ldflags: Ldflags = Ldflags()
    env: tuple[tuple[str, str], ...] = ()
    cgo: Cgo = Cgo.OFF
    unsafe: Unsafe = Unsafe()
    origins: tuple[tuple[str, str], ...] = ()
    """Where each setting was written: (`flags/-buildmode=pie`, `imagekit.yaml:9`), (`platforms`, `default`), …"""

    @property
    def id(self) -> str:
        """`app:linux/arm/v7`."""
        return f"{self.build}:{self.platform}"

    @property
    def slug(self) -> str:
        """The target in paths: `linux_arm_v7`."""
        return self.platform.slug

    @property
    def filename(self) -> str:
        """What the program is called: the build id, `.exe` on windows."""
        return self.build + (".exe" if self.platform.os == "windows" else "")

    def origin(self, setting: str) -> str:
        """Where the setting was written, `default` if nobody wrote it."""
        return dict(self.origins).get(setting, "default")
