"""Import chains of programs that others built, from their module's source (`--source DIR`). Starts `go list`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.audit.chains import ImportGraph
from imagekit.binary.facts import BinaryFacts, GoBuild
from imagekit.cancellation import Cancellation
from imagekit.errors import UsageError
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Target

if TYPE_CHECKING:
    from imagekit.golang.settings import GoSettings

_Key = tuple[str, str, str, str]


class SourceTree:
    """A module's folder, asked once for each platform, set of tags and main package."""

    def __init__(self, settings: GoSettings, cache_dir: Path, cancellation: Cancellation) -> None:
        self._settings, self._cache_dir, self._cancellation = settings, cache_dir, cancellation
        self._graphs: dict[_Key, ImportGraph | None] = {}

    @classmethod
    def open(cls, directory: Path, cache_dir: Path, cancellation: Cancellation) -> SourceTree:
        """The module in a folder; raises `UsageError` for a folder in no module, `ToolError` without Go."""
        from imagekit.golang.settings import read_settings
        from imagekit.golang.toolchain import find

        if not directory.is_dir():
            raise UsageError(f"--source {directory} is not a folder", hint="name the folder of the programs' go.mod")
        settings = read_settings(find(cancellation), directory, cancellation)
        if settings.go_mod is None and settings.workspace is None:
            raise UsageError(f"--source {directory} is in no Go module", hint="name the folder of the programs' go.mod")
        return cls(settings, cache_dir, cancellation)

    def graph(self, facts: BinaryFacts) -> ImportGraph | None:
        """What the program's main package imports on its platform and with its tags; None if it is not from here."""
        build, platform = facts.go, facts.platform
        if build is None or platform is None or build.main is None:
            return None
        key = (build.path, str(platform), build.settings.get("-tags", ""), build.settings.get("CGO_ENABLED", ""))
        if key not in self._graphs:
            self._graphs[key] = self._listed(build, platform)
        return self._graphs[key]

    def _listed(self, build: GoBuild, platform: Platform) -> ImportGraph | None:
        from imagekit.audit.listed import graph_of
        from imagekit.golang.arguments import Main
        from imagekit.golang.packages import list_packages

        target = Target(
            build=build.path.rpartition("/")[2],
            platform=platform,
            main=build.path,
            tags=tuple(filter(None, build.settings.get("-tags", "").split(","))),
            cgo=Cgo.ALLOW if build.settings.get("CGO_ENABLED") == "1" else Cgo.OFF,
        )
        packages = list_packages(
            self._settings,
            target,
            Main(package=build.path),
            cache_dir=self._cache_dir,
            cancellation=self._cancellation,
        )
        root = next((one for one in packages.roots if one.path == build.path), None)
        module = root.module.path if root is not None and root.error is None and root.module is not None else ""
        return graph_of(packages) if build.main is not None and module == build.main.path else None
