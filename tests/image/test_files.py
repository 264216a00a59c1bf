"""Extra files: globs, modes, owners, and links that lead astray."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.files import entries_of, matches
from imagekit.image.recipe import FileRule


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("web/index.html", "web/css/a.css", "web/css/deep/b.css", "web/.hidden", "LICENSE", "run.sh"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "web/empty").mkdir()
    (root / "run.sh").chmod(0o700)
    return root


def placed(root: Path, source: str, to: str, **fields: str) -> dict[str, str]:
    return {e.path: f"{e.kind} {e.mode:o} {e.uid}:{e.gid}" for e in entries_of(root, FileRule(source, to, **fields))}


def test_neither_the_repository_nor_an_output_is_packed_unless_it_is_named(site: Path) -> None:
    """`.git/config` may hold accounts, and with its own output an image would be another one each time."""
    output = ("SHA256SUMS", "artifacts.json", "oci/oci-layout", "sbom/app.json")
    for name in (".git/config", ".dist.imagekit/new/SHA256SUMS", *(f"dist/{inside}" for inside in output)):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(name)
    assert set(placed(site, ".", "/")) == {path.replace("srv", "web", 1) for path in TREE} | {
        "web",
        "LICENSE",
        "run.sh",
    }
    assert set(placed(site, "**/*.html", "/srv/")) == {"srv/web/index.html"}
    assert not matches(site, "**/*.json")
    assert set(placed(site, "dist/sbom/", "/srv/")) == {"srv", "srv/app.json"}


FILE, FOLDER = "file 444 0:0", "dir 755 0:0"
TREE = {
    "srv/.hidden": FILE,
    "srv/css": FOLDER,
    "srv/css/a.css": FILE,
    "srv/css/deep": FOLDER,
    "srv/css/deep/b.css": FILE,
    "srv/empty": FOLDER,
    "srv/index.html": FILE,
}


@pytest.mark.parametrize(
    ("source", "to", "expected"),
    [
        pytest.param("LICENSE", "/LICENSE", {"LICENSE": FILE}, id="file to a name"),
        pytest.param("LICENSE", "/doc/", {"doc/LICENSE": FILE}, id="file into a folder"),
        pytest.param("run.sh", "/run", {"run": "file 555 0:0"}, id="program"),
        pytest.param("web/", "/srv/", {"srv": FOLDER, **TREE}, id="folder"),
        pytest.param("./web", "/srv", {"srv": FOLDER, **TREE}, id="folder without slashes"),
        pytest.param("web/", "/", {name.removeprefix("srv/"): kind for name, kind in TREE.items()}, id="to the top"),
        pytest.param("web/*.html", "/srv/", {"srv/index.html": FILE}, id="glob"),
        pytest.param(
            "web/**/*.css", "/srv/", {"srv/css/a.css": FILE, "srv/css/deep/b.css": FILE}, id="glob through folders"
        ),
        pytest.param("web/c*", "/srv/", {k: v for k, v in TREE.items() if "css" in k}, id="glob of a folder"),
        pytest.param("web/.h*", "/srv/", {"srv/.hidden": FILE}, id="hidden by name"),
    ],
)
def test_where_files_go(site: Path, source: str, to: str, expected: dict[str, str]) -> None:
    assert placed(site, source, to) == expected


def test_mode_and_owner(site: Path) -> None:
    found = placed(site, "web/css", "/css/", mode="0640", owner="1000:2000")
    assert found["css/a.css"] == "file 640 1000:2000"
    assert found["css"] == "dir 755 1000:2000"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_umask_of_the_checkout_does_not_matter(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "a").write_text("a")
        os.close(os.open(tmp_path / "b", os.O_CREAT | os.O_WRONLY, 0o777))
    finally:
        os.umask(before)
    assert placed(tmp_path, "*", "/") == {"a": FILE, "b": "file 555 0:0"}


def outside_file(root: Path) -> None:
    (root.parent / "secret").write_text("secret")
    (root / "web/link").symlink_to("../../secret")


def outside_folder(root: Path) -> None:
    (root / "web/link").symlink_to("/etc")


def through_the_root(root: Path) -> None:
    root.rename(root.parent / "real")
    (root.parent / "secret").write_text("secret")
    root.symlink_to("real")
    (root / "web/link").symlink_to("../../secret")


def broken(root: Path) -> None:
    (root / "web/link").symlink_to("nowhere")


def circle(root: Path) -> None:
    (root / "web/link").symlink_to(".")


def pipe(root: Path) -> None:
    os.mkfifo(root / "web/pipe")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (outside_file, "outside of"),
        (outside_folder, "outside of"),
        (through_the_root, "outside of"),
        (broken, "leads nowhere"),
        (circle, "deeper than"),
        (pipe, "neither a file nor a folder"),
    ],
)
def test_what_is_refused(site: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(site)
    with pytest.raises(ConfigError, match=says) as caught:
        entries_of(site, FileRule("web/", "/srv/"))
    assert caught.value.hint


def test_a_link_inside_the_project_becomes_its_file(site: Path) -> None:
    (site / "web/link.html").symlink_to("index.html")
    found = {entry.path: entry for entry in entries_of(site, FileRule("web/*.html", "/"))}
    assert found["link.html"].kind == "file"
    assert found["link.html"].content == site.resolve() / "web/index.html"


def test_nothing_found_is_a_mistake(site: Path) -> None:
    with pytest.raises(ConfigError, match="matches nothing"):
        entries_of(site, FileRule("web/*.js", "/srv/"))


def test_matches_are_sorted_and_unique(site: Path) -> None:
    found = matches(site, "**/*.css")
    assert [path.name for path in found] == ["a.css", "b.css"]


def test_a_folder_that_must_not_be_searched_is_no_broken_link(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may search every folder, so what others are told is raised here."""
    resolve = Path.resolve

    def refused(path: Path, *, strict: bool = False) -> Path:
        if path.name == "a.css":
            raise PermissionError(13, "Permission denied", str(path))
        return resolve(path, strict=strict)

    monkeypatch.setattr(Path, "resolve", refused)
    with pytest.raises(UnreadableError, match=r"cannot reach .*a\.css: Permission denied"):
        entries_of(site, FileRule("web/", "/srv/"))
