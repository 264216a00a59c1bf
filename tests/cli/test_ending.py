"""How commands end: usage errors of every kind, arguments that want to be obeyed, a pipe that nobody reads."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit.cli.main import main
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Layout

LAST = re.compile(r"imagekit: exit (\d+): \S.*")


@pytest.mark.parametrize(
    "words",
    [
        ["build", "--jobs", "0"],
        ["build", "--format", "xml"],
        ["build", "--fail-on", "never"],
        ["build", "--config", "none.yaml"],
        ["build", "--partial", "x", "--load"],
        ["cache", "key", "--format", "xml"],
        ["cache", "prune", "--older-than", "soon"],
        ["doctor", "--format", "xml"],
        ["env", "--format", "xml"],
        ["targets", "--diff", "a"],
        ["schema", "frobnicate"],
        ["merge"],
    ],
    ids=" ".join,
)
def test_usage_errors_end_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = main(words)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert code in ((2, 4) if "none.yaml" in words else (2,))
    found = LAST.fullmatch(captured.err.splitlines()[-1])
    assert found, captured.err
    assert int(found[1]) == code


def test_a_hostile_argument_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "x\n::error::\x1b[31m", "--config", "\n::add-mask::x.yaml"]) in (2, 4)
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"), [("image list oci:layout", 0), ("image list oci:none", 4), ("--version", 0)]
)
def test_streams_that_are_closed_lead_nowhere(tmp_path: Path, closed: str, words: str, code: int) -> None:
    Layout.create(tmp_path / "layout")
    script = f'"$0" -m imagekit {words} {closed}'
    done = subprocess.run(["bash", "-c", script, sys.executable], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == (code != 0 and "2>&-" not in closed)


@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("words", ["targets", "schema", "--help", "--version", "build --frobnicate"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_is_quiet(hello: Path, clean: dict[str, str], reader: str, words: str, buffered: str) -> None:
    script = f'"$0" -m imagekit {words} | {reader}; echo "${{PIPESTATUS[0]}}" >&2'
    environment = {**clean, "PYTHONUNBUFFERED": buffered}
    argv = ["bash", "-c", script, sys.executable]
    done = subprocess.run(argv, cwd=hello, env=environment, capture_output=True, text=True)
    *said, code = done.stderr.splitlines()
    assert (len(said), code) == ((1, "2") if "frob" in words else (0, "0"))


ACCOUNT = "me:s3cret@registry.example/a/b:1"


@pytest.mark.parametrize("scheme", ["", "https://", "docker:"])
@pytest.mark.parametrize(
    "words",
    [
        ["image", "copy", "IMAGE", "oci:here"],
        ["image", "copy", "oci:layout", "IMAGE"],
        ["image", "inspect", "IMAGE"],
        ["image", "list", "IMAGE"],
        ["image", "delete", "IMAGE"],
        ["audit", "IMAGE"],
        ["diff", "IMAGE", "IMAGE"],
        ["rebuild", "IMAGE"],
        ["login", "IMAGE", "--username", "me"],
        ["build", "--push", "IMAGE"],
    ],
    ids=" ".join,
)
def test_a_password_in_an_argument_is_not_repeated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    assert main([word.replace("IMAGE", scheme + ACCOUNT) for word in words]) != 0
    captured = capsys.readouterr()
    assert "s3cret" not in captured.out + captured.err


def test_a_path_with_an_at_sign_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "mod/example.org/x@v1.0.0/app"]) == 4
    assert "'mod/example.org/x@v1.0.0/app' is not there" in capsys.readouterr().err


def test_a_name_that_docker_knows_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "copy", "alpine:3.20", "oci:x"]) == 4
    assert "if it is an image of Docker's registry, write docker.io/library/alpine:3.20; " in capsys.readouterr().err
    assert main(["image", "copy", "missing.txt", "oci:x"]) == 4
    assert "Docker" not in capsys.readouterr().err


WAYS = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space on that disk",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "takes no file of that size",
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENOMEM: "give a smaller --jobs",
    errno.EIO: "the system's log",
    errno.EACCES: "check the path and its permissions",
    errno.ENOENT: "check the path and its permissions",
}


@pytest.mark.parametrize("number", WAYS, ids=errno.errorcode.get)
def test_what_the_system_refuses_has_a_way_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: object) -> None:
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr("imagekit.cli.main.application", refuse)
    assert main(["targets"]) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"imagekit: exit 4: {os.strerror(number)}: /some/where; ")
    assert WAYS[number] in last


@pytest.mark.parametrize("to", ["oci-archive:{}/copy.tar", "oci:{}/copy"])
def test_a_full_disk_is_named_by_what_was_written(capsys: pytest.CaptureFixture[str], tmp_path: Path, to: str) -> None:
    store = Layout.create(tmp_path / "layout", durable=False)
    layer = write_layer(store, [Entry("f", mode=0o444, content=random.Random(1).randbytes(200_000))], mtime=0)
    config = doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(layer.diff_id,)))
    kept = put(store, doc.encode(config), doc.CONFIG)
    manifest = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    store.set_index(doc.Index(manifests=(put(store, manifest, doc.MANIFEST, annotations={doc.REF_NAME: "app"}),)))
    word = "oci-archive" if to.startswith("oci:") else "oci"
    assert main(["image", "copy", f"oci:{tmp_path}/layout", f"oci-archive:{tmp_path}/in.tar"]) == 0
    source = f"{word}:{tmp_path}/{'in.tar' if word == 'oci-archive' else 'layout'}"
    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code = main(["image", "copy", source, to.format(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 4
    assert last.startswith(f"imagekit: exit 4: File too large: {tmp_path}/copy"), last
    assert "ulimit -f" in last
    assert not list(tmp_path.rglob("*.part"))
