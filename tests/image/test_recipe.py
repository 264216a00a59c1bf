"""The `images:` entry: what decodes, what is refused and where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from imagekit.errors import ConfigError
from imagekit.image.recipe import (
    CertificateSetting,
    Piece,
    Recipe,
    mistakes,
    names_of,
    require_possible,
    setting_of,
)

DOCUMENTED = {
    "id": "app",
    "build": "app",
    "repository": "registry.example/team/app",
    "tags": ["{{ version }}", "latest"],
    "platforms": ["linux/*"],
    "base": "scratch",
    "rootfs": {
        "ca": "auto",
        "tzdata": True,
        "users": "etc/",
        "tmp": False,
        "files": [{"from": "web/", "to": "/srv/", "mode": "0444", "owner": "0:0"}],
    },
    "user": "65532:65532",
    "entrypoint": ["/app"],
    "env": {},
    "workdir": "/",
    "labels": {},
    "annotations": {},
    "healthcheck": ["/app", "health"],
    "variants": {"debug": {"add": "oci:debug-layer"}},
    "compression": {"algorithm": "gzip", "level": "default"},
}


def recipe(**changes: Any) -> Recipe:
    return msgspec.convert({"id": "app", "build": "app", **changes}, Recipe)


def test_the_documented_entry_decodes_and_has_no_mistake() -> None:
    found = msgspec.convert(DOCUMENTED, Recipe)
    assert not list(mistakes(found))
    assert found.rootfs.files[0].source == "web/"
    assert names_of(found) == ("app", "app-debug")


def test_two_keys_are_enough() -> None:
    found = recipe()
    assert not list(mistakes(found))
    assert (found.user, found.command, found.platforms) == ("65532:65532", ("/app",), ("linux/*",))


@pytest.mark.parametrize(
    ("rootfs", "piece", "setting"),
    [
        pytest.param({}, Piece.CA, "auto", id="default"),
        pytest.param({"ca": True}, Piece.CA, True, id="boolean"),
        pytest.param({"ca": "false"}, Piece.CA, False, id="text that spells a boolean"),
        pytest.param({"ca": "corp.pem"}, Piece.CA, "corp.pem", id="path"),
        pytest.param({"ca": {"extra": ["a.pem"]}}, Piece.CA, CertificateSetting(("a.pem",)), id="extra"),
        pytest.param({"users": False}, Piece.NSSWITCH, False, id="nsswitch goes with users"),
        pytest.param({"users": "etc/"}, Piece.NSSWITCH, True, id="nsswitch beside replaced users"),
        pytest.param({}, Piece.NSSWITCH, "auto", id="nsswitch by itself"),
    ],
)
def test_setting_of(rootfs: dict[str, Any], piece: Piece, setting: object) -> None:
    assert setting_of(recipe(rootfs=rootfs), piece) == setting


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        pytest.param({"base": "alpine:3"}, ("base",), "names no registry", id="base without a registry"),
        pytest.param({"id": "../app"}, ("id",), "cannot name a file", id="id with a path"),
        pytest.param({"id": "app.source"}, ("id",), "another image's Dockerfile", id="id of a Dockerfile"),
        pytest.param({"repository": "Registry/App:1"}, ("repository",), "not a repository", id="repository with a tag"),
        pytest.param({"tags": ["a b"]}, ("tags", 0), "not a tag", id="tag with a space"),
        pytest.param({"user": "nobody"}, ("user",), "not numeric", id="user by name"),
        pytest.param({"user": "4294967295"}, ("user",), "not numeric", id="uid -1"),
        pytest.param({"env": {"A=B": "c"}}, ("env", "A=B"), "not the name", id="variable with ="),
        pytest.param({"env": {"A": "b\nc"}}, ("env", "A"), "control character", id="newline in a variable"),
        pytest.param({"labels": {"": "x"}}, ("labels", ""), "empty name", id="label without a name"),
        pytest.param({"workdir": "srv"}, ("workdir",), "not an absolute path", id="relative workdir"),
        pytest.param({"entrypoint": ["sh", "-c"]}, ("entrypoint", 0), "no shell", id="entrypoint without a path"),
        pytest.param({"healthcheck": ["wget"]}, ("healthcheck", 0), "no shell", id="healthcheck without a path"),
        pytest.param({"rootfs": {"tmp": "tmp/"}}, ("rootfs", "tmp"), "no content", id="/tmp replaced"),
        pytest.param({"rootfs": {"ca": ""}}, ("rootfs", "ca"), "is empty", id="empty path"),
        pytest.param({"variants": {"d": {"add": "x"}}}, ("variants", "d", "add"), "OCI layout", id="variant elsewhere"),
        pytest.param({"compression": {"algorithm": "xz"}}, ("compression", "algorithm"), "unknown", id="algorithm"),
        pytest.param({"compression": {"level": "best"}}, ("compression", "level"), "no level", id="level"),
    ],
)
def test_mistakes_name_the_key_and_the_way_out(changes: dict[str, Any], key: tuple[str | int, ...], says: str) -> None:
    found = list(mistakes(recipe(**changes)))
    assert [one.key for one in found] == [key]
    assert says in found[0].message
    assert found[0].hint


@pytest.mark.parametrize("rest", ["", ":3", "@sha256:" + "a" * 64])
def test_the_way_out_for_a_base_without_a_registry_has_all_of_it(rest: str) -> None:
    (found,) = mistakes(recipe(base=f"alpine{rest}"))
    assert found.hint == f"write docker.io/library/alpine{rest}, or oci:alpine{rest}"


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        pytest.param({"from": "/etc/passwd", "to": "/x"}, "from", id="absolute source"),
        pytest.param({"from": "../secret", "to": "/x"}, "from", id="parent"),
        pytest.param({"from": "a/../../b", "to": "/x"}, "from", id="parent inside"),
        pytest.param({"from": "a", "to": "x"}, "to", id="relative target"),
        pytest.param({"from": "a", "to": "/a/../b"}, "to", id="target with parent"),
        pytest.param({"from": "a", "to": "/a/.wh.b"}, "to", id="whiteout"),
        pytest.param({"from": "a", "to": "/a\n"}, "to", id="newline"),
        pytest.param({"from": "a", "to": "/a", "mode": "4755"}, "mode", id="set-uid"),
        pytest.param({"from": "a", "to": "/a", "mode": "0999"}, "mode", id="not octal"),
        pytest.param({"from": "a", "to": "/a", "owner": "root:root"}, "owner", id="owner by name"),
        pytest.param({"from": "a", "to": "/a", "owner": "0"}, "owner", id="owner without a group"),
    ],
)
def test_file_rules(rule: dict[str, str], field: str) -> None:
    found = list(mistakes(recipe(rootfs={"files": [rule]})))
    assert [one.key for one in found] == [("rootfs", "files", 0, field)]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `entripoint`"):
        recipe(entripoint=[])


def test_all_mistakes_are_raised_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        require_possible(recipe(base="alpine", user="nobody"))
    assert "base" in caught.value.message
    assert "user" in caught.value.message
