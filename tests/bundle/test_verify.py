from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.audit import policy as audit_policy
from imagekit.bundle.create import Created, create
from imagekit.bundle.load import load
from imagekit.bundle.verify import Verified, verify
from imagekit.content import digest_of, hash_file, hex_of
from imagekit.errors import ConfigError, IntegrityError, RefusedError, UnreadableError, UsageError
from imagekit.oci import tar
from imagekit.oci.blobs import put
from imagekit.oci.documents import CONTAINERD_NAME, EMPTY, EMPTY_JSON, MANIFEST, REF_NAME, Index, Manifest, encode
from imagekit.oci.hybrid import header
from imagekit.oci.layers import Compression, Entry
from imagekit.oci.referrers import TAG
from imagekit.oci.store import Layout
from imagekit.trust import policy as trust_policy

pytestmark = pytest.mark.real
MakeLayout = Callable[..., Path]
Files = dict[str, bytes]


def check(path: Path, trust_file: Path, **options: Any) -> Verified:
    with verify(path, trust_policy.load(trust_file), **options) as verified:
        return verified


def refused(path: Path, trust_file: Path, said: str) -> IntegrityError:
    with pytest.raises(IntegrityError, match=said) as raised:
        check(path, trust_file)
    assert raised.value.exit_code == 5
    return raised.value


def files_of(path: Path) -> Files:
    with tarfile.open(path) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened}  # type: ignore[union-attr]


def written(files: Files) -> bytes:
    """The tar with these files in this order, with the headers that imagekit writes."""
    parts = [header(name, len(content)) + content + bytes(tar.padding(len(content))) for name, content in files.items()]
    return b"".join(parts) + tar.END


def seal(path: Path, key: Any, content: bytes) -> None:
    """Put `content` at `path`, with the list and the signature that belong to it."""
    path.write_bytes(content)
    listed = f"{hex_of(digest_of(content))}  {path.name}\n".encode()
    path.with_name("VOLUMES.sha256").write_bytes(listed)
    path.with_name("VOLUMES.sha256.asc").write_bytes(key.sign(listed))


def signed_again(files: Files, key: Any) -> Files:
    """The files with a new list of them, signed."""
    kept = {name: content for name, content in files.items() if not name.startswith("SHA256SUMS")}
    lines = [f"{hex_of(digest_of(kept[name]))}  {name}\n" for name in sorted(kept)]
    sums = "".join(lines).encode()
    return {"SHA256SUMS": sums, "SHA256SUMS.asc": key.sign(sums), **kept}


# --- what passes --------------------------------------------------------------------------------------------------


def test_a_good_bundle(bundle: Created, trust_file: Path, key: Any) -> None:
    verified = check(bundle.path, trust_file)
    assert [one.certificate for one in verified.signers] == [key.fingerprint]
    assert [image.ref_name for image in verified.images] == ["app"]
    (report,) = verified.reports
    assert (report.policy, [one.path for one in report.subjects]) == (
        "scratch",
        ["app:linux/amd64:/app", "app:linux/arm64:/app"],
    )


def test_a_signature_that_has_only_a_tag_is_part_of_a_bundle(
    layout: Path, key: Any, trust_file: Path, tmp_path: Path
) -> None:
    store = Layout(Path(shutil.copytree(layout, tmp_path / "oci")))
    entries = store.index().manifests
    tag = f"sha256-{hex_of(entries[0].digest)}.sig"
    for content in (b"signature", b"a newer one"):
        layer = put(store, content, "application/vnd.dev.cosign.simplesigning.v1+json")
        signature = put(store, encode(Manifest(config=put(store, EMPTY_JSON, EMPTY), layers=(layer,))), MANIFEST)
        store.set_index(Index(manifests=(*entries, msgspec.structs.replace(signature, annotations={REF_NAME: tag}))))
        made = create([f"oci:{store.path}"], tmp_path / "release.tar", sign=key.sign)
        with verify(made.path, trust_policy.load(trust_file)) as passed:
            assert [image.ref_name for image in passed.images] == ["app"]
            assert {entry.annotations.get(TAG) for entry in passed.index.manifests} == {None, tag}
            load(passed, f"oci:{tmp_path}/there")
        tagged = [entry for entry in Layout(tmp_path / "there").index().manifests if TAG in entry.annotations]
        assert [entry.digest for entry in tagged] == [signature.digest]


def test_the_list_may_lie_elsewhere(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    shutil.copy(bundle.path, tmp_path / "release.tar")
    assert check(tmp_path / "release.tar", trust_file, volumes=bundle.volumes)


@pytest.mark.parametrize(
    "compression", [Compression("zstd"), Compression("none"), Compression("gzip", 1)], ids=["zstd", "none", "gzip"]
)
def test_every_compression(
    make_layout: MakeLayout, key: Any, trust_file: Path, tmp_path: Path, compression: Compression
) -> None:
    layout = make_layout(tmp_path / "oci", compression=compression)
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    assert len(check(made.path, trust_file).reports[0].subjects) == 2


# --- signature first ----------------------------------------------------------------------------------------------


def test_a_hundred_flipped_bytes_of_the_tar(copied: Path, trust_file: Path) -> None:
    content = copied.read_bytes()
    chance = random.Random("tar")
    for position in [chance.randrange(len(content)) for _ in range(97)] + [0, 512, len(content) - 1]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << chance.randrange(8)
        copied.write_bytes(flipped)
        refused(copied, trust_file, "its signed list says")


def test_every_flipped_byte_of_the_list(copied: Path, trust_file: Path) -> None:
    volumes = copied.with_name("VOLUMES.sha256")
    content = volumes.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        volumes.write_bytes(flipped)
        refused(copied, trust_file, "signature of .* is not valid")


def test_a_flipped_byte_of_a_signature_is_refused_or_changes_nothing(copied: Path, trust_file: Path) -> None:
    signature = copied.with_name("VOLUMES.sha256.asc")
    believed = check(copied, trust_file).signers
    content = signature.read_bytes()
    chance = random.Random("asc")
    outcomes = []
    for position in chance.sample(range(len(content)), 100):
        flipped = bytearray(content)
        flipped[position] ^= 1 << chance.randrange(8)
        signature.write_bytes(flipped)
        with suppress(IntegrityError):
            outcomes.append(check(copied, trust_file).signers == believed)
    assert all(outcomes)
    assert len(outcomes) < 50


@pytest.mark.parametrize("name", ["VOLUMES.sha256", "VOLUMES.sha256.asc"])
def test_a_missing_list_or_signature(copied: Path, trust_file: Path, name: str) -> None:
    copied.with_name(name).unlink()
    error = refused(copied, trust_file, f"{name} is missing")
    assert "--openpgp" in error.hint


def test_an_unsigned_bundle(layout: Path, trust_file: Path, tmp_path: Path) -> None:
    made = create([f"oci:{layout}"], tmp_path / "release.tar")
    refused(made.path, trust_file, r"VOLUMES\.sha256\.asc is missing")


def test_a_strangers_bundle(layout: Path, stranger: Any, trust_file: Path, tmp_path: Path) -> None:
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=stranger.sign)
    refused(made.path, trust_file, f"by {stranger.fingerprint}: no trusted key")


def test_a_stranger_inside(copied: Path, key: Any, stranger: Any, trust_file: Path) -> None:
    seal(copied, key, written(signed_again(files_of(copied), stranger)))
    refused(copied, trust_file, "signature of SHA256SUMS in")


def test_no_signature_inside(copied: Path, key: Any, trust_file: Path) -> None:
    files = files_of(copied)
    del files["SHA256SUMS.asc"]
    seal(copied, key, written(files))
    refused(copied, trust_file, r"holds no SHA256SUMS\.asc")


def test_an_expired_key(layout: Path, keys: Any, tmp_path: Path, bundle: Created, trust_file: Path) -> None:
    key = type(keys[0])(tmp_path / "home", "short@example.org")
    try:
        key.gpg("--quick-set-expire", key.fingerprint, "1d")
        (tmp_path / "release.gpg").write_bytes(key.gpg("--export"))
        shutil.copy(trust_file, tmp_path / "trust.yaml")
        made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
        assert check(made.path, tmp_path / "trust.yaml")
        with pytest.raises(IntegrityError, match="expired on"):
            check(made.path, tmp_path / "trust.yaml", at=datetime(2126, 1, 1, tzinfo=UTC))
    finally:
        key.close()


def test_another_name(copied: Path, trust_file: Path) -> None:
    other = copied.rename(copied.with_name("other.tar"))
    refused(other, trust_file, r"lists release\.tar, not other\.tar")


def test_a_trust_policy_that_says_nothing_of_bundles(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    shutil.copy(trust_file.with_name("release.gpg"), tmp_path)
    (tmp_path / "trust.yaml").write_text("version: 1\nroots: {openpgp: {release: release.gpg}}\n")
    with pytest.raises(UsageError, match="says nothing of bundles") as raised:
        check(bundle.path, tmp_path / "trust.yaml")
    assert raised.value.exit_code == 2


def test_a_bundle_that_is_not_there(copied: Path, trust_file: Path) -> None:
    copied.unlink()
    with pytest.raises(UnreadableError, match="No such file"):
        check(copied, trust_file)


# --- then every byte: what only the signer could do ---------------------------------------------------------------


def test_files_written_again_by_the_test_pass(copied: Path, key: Any, trust_file: Path) -> None:
    seal(copied, key, written(signed_again(files_of(copied), key)))
    assert check(copied, trust_file)


def _tail(content: bytes) -> bytes:
    return content + bytes(512)


def _hidden(content: bytes) -> bytes:
    """A second archive behind the end of the first: some readers go on (`tar --ignore-zeros`)."""
    return content + written({"index.json": b"{}"})


def _padded(content: bytes) -> bytes:
    return content[: -len(tar.END) - 1] + b"x" + tar.END


def _dated(content: bytes) -> bytes:
    first = tar.header("SHA256SUMS", "file", mode=0o644, size=int(content[124:135], 8), mtime=1)
    return first + content[512:]


def _twice(content: bytes) -> bytes:
    extra = written({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'})
    return content[: -len(tar.END)] + extra


def _with(kind: bytes) -> Callable[[bytes], bytes]:
    def add(content: bytes) -> bytes:
        entry = tarfile.TarInfo("blobs/sha256/x")
        entry.type, entry.linkname = kind, "../../../etc/shadow"
        return content[: -len(tar.END)] + entry.tobuf(tarfile.USTAR_FORMAT) + tar.END

    return add


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_tail, "does not end where its last file ends"),
        (_hidden, "does not end where its last file ends"),
        (lambda content: content[: -len(tar.END)], "cut"),
        (lambda content: content[:-512], "does not end"),
        (_padded, "not padded with zeros"),
        (_dated, "not one that imagekit writes"),
        (_twice, "stands in it twice"),
        (_with(tarfile.SYMTYPE), "type b'2'"),
        (_with(tarfile.LNKTYPE), "type b'1'"),
        (_with(tarfile.DIRTYPE), "type b'5'"),
        (_with(tarfile.CHRTYPE), "type b'3'"),
        (lambda _: b"", "cut"),
        (lambda _: bytes(4096), "does not end|holds no"),
        (lambda _: b"hello" * 1000, "not a tar archive"),
    ],
    ids=["tail", "second archive", "no end", "half an end", "padding", "mtime", "twice", "symlink", "hard link",
         "folder", "device", "empty", "zeros", "text"],
)  # fmt: skip
def test_a_tar_that_imagekit_does_not_write(
    copied: Path, key: Any, trust_file: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    seal(copied, key, change(copied.read_bytes()))
    refused(copied, trust_file, said)


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "./index.json", "a/../b", "blobs//x"])
def test_paths_that_leave_the_bundle(copied: Path, key: Any, trust_file: Path, name: str) -> None:
    seal(copied, key, written({**files_of(copied), name: b"x"}))
    refused(copied, trust_file, "leaves the archive|not one that imagekit writes")


def test_a_file_that_is_not_listed(copied: Path, key: Any, trust_file: Path) -> None:
    seal(copied, key, written({**files_of(copied), "imagekit/extra.json": b"{}"}))
    refused(copied, trust_file, r"differ in imagekit/extra\.json")


def test_a_listed_file_that_is_missing(copied: Path, key: Any, trust_file: Path) -> None:
    files = files_of(copied)
    blob = next(name for name in files if name.startswith("blobs/"))
    del files[blob]
    seal(copied, key, written(files))
    refused(copied, trust_file, f"differ in {blob}")


def test_a_listed_file_with_other_bytes(copied: Path, key: Any, trust_file: Path) -> None:
    files = files_of(copied)
    files["manifest.json"] = files["manifest.json"].replace(b"team", b"evil")
    seal(copied, key, written(files))
    refused(copied, trust_file, r"manifest\.json in .* holds bytes of")


def _unlisted_blob(files: Files) -> None:
    files["blobs/sha256/" + hex_of(digest_of(b"x"))] = b"x"


def _misnamed_blob(files: Files) -> None:
    blob = next(name for name in files if name.startswith("blobs/"))
    files[blob] = b"x" * len(files[blob])


def _docker_differs(files: Files) -> None:
    entry = json.loads(files["manifest.json"])
    entry[0]["RepoTags"] = ["registry.example/other:1.0"]
    files["manifest.json"] = json.dumps(entry).encode()


def _docker_layer_differs(files: Files) -> None:
    entry = json.loads(files["manifest.json"])
    entry[0]["Layers"] = [entry[0]["Config"]]
    files["manifest.json"] = json.dumps(entry).encode()


def _edited(path: str, change: Callable[[Any], object]) -> Callable[[Files], None]:
    def edit(files: Files) -> None:
        value = json.loads(files[path])
        change(value)
        files[path] = json.dumps(value).encode()

    return edit


def _rename_referrer(index: Any) -> None:
    index["manifests"][1]["annotations"] = {REF_NAME: "sbom", CONTAINERD_NAME: "sbom:1"}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_unlisted_blob, "belong to no image"),
        (_misnamed_blob, "not named by its digest"),
        (_docker_differs, r"manifest\.json .* does not say what the images say"),
        (_docker_layer_differs, r"manifest\.json .* does not say what the images say"),
        (_edited("index.json", _rename_referrer), "does not say what the images say"),
        (_edited("index.json", lambda index: index["manifests"].clear()), "has no image"),
        (_edited("index.json", lambda index: index["manifests"][0].pop("annotations")), "has no image"),
        (_edited("index.json", lambda index: index["manifests"][0].update(size=7)), "longer|size|promised"),
        (_edited("imagekit/bundle.json", lambda one: one.update(base={})), "not one that this version reads"),
        (_edited("imagekit/bundle.json", lambda one: one.update(schema="v2")), "not one that this version reads"),
        (_edited("imagekit/bundle.json", lambda one: one["images"].clear()), "does not say what the images say"),
        (lambda files: files.pop("manifest.json"), r"holds no manifest\.json"),
        (lambda files: files.pop("imagekit/bundle.json"), r"holds no imagekit/bundle\.json"),
        (lambda files: files.update({"index.json": b"{"}), "image index"),
        (lambda files: files.update({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}), "oci-layout .* does not say"),
    ],
    ids=["orphan", "misnamed", "docker tags", "docker layers", "named referrer", "no images", "no names", "size",
         "delta", "schema", "no images told", "no manifest.json", "no bundle.json", "index", "oci-layout"],
)  # fmt: skip
def test_documents_that_disagree(
    copied: Path, key: Any, trust_file: Path, edit: Callable[[Files], None], said: str
) -> None:
    files = files_of(copied)
    edit(files)
    seal(copied, key, written(signed_again(files, key)))
    refused(copied, trust_file, said)


# --- then the gate ------------------------------------------------------------------------------------------------


def _layers(programs: dict[str, Path]) -> dict[str, tuple[list[list[Entry]], tuple[str, ...]]]:
    app = Entry("app", mode=0o755, content=programs["linux/amd64"])
    dynamic = Entry("opt/tool", mode=0o755, content=programs["dynamic"])
    script = Entry("run.sh", mode=0o755, content=b"#!/bin/sh\n")
    return {
        "beside": ([[app, dynamic]], ("/app",)),
        "not executable": ([[app, msgspec_mode(dynamic, 0o644)]], ("/app",)),
        "lower layer": ([[dynamic], [app]], ("/app",)),
        "script": ([[script]], ("/run.sh",)),
        "missing": ([[app]], ("/nothing",)),
        "deleted": ([[app], [Entry(".wh.app")]], ("/app",)),
        "circle": ([[Entry("a", "link", 0o777, target="b"), Entry("b", "link", 0o777, target="a")]], ("/a",)),
        "relative": ([[Entry("usr/bin/app", mode=0o755, content=programs["linux/amd64"])]], ("app",)),
        "linked": ([[app, Entry("bin/start", "link", 0o777, target="../app")]], ("/bin/start",)),
        "opaque": ([[Entry("d/app", mode=0o755, content=b"x")], [Entry("d/.wh..wh..opq"), app]], ("/app",)),
        "data": ([[app, Entry("MZ.txt", content=b"MZ is how it begins")]], ("/app",)),
        "no entrypoint": ([[Entry("etc/config", content=b"x")]], ()),
    }


def msgspec_mode(entry: Entry, mode: int) -> Entry:
    from msgspec.structs import replace

    return replace(entry, mode=mode)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("beside", r"app:linux/amd64:/opt/tool: linkage: "),
        ("not executable", r"app:linux/amd64:/opt/tool: linkage: "),
        ("lower layer", r"app:linux/amd64:/opt/tool: linkage: "),
        ("script", "/run.sh: not examined: the entrypoint is not an ELF, PE or Mach-O program"),
        ("missing", "not examined: its entrypoint '/nothing' is no file"),
        ("deleted", "not examined: its entrypoint '/app' is no file"),
        ("circle", "not examined: its entrypoint '/a' is no file"),
        ("relative", ""),
        ("linked", ""),
        ("opaque", ""),
        ("data", ""),
        ("no entrypoint", ""),
    ],
)
def test_the_gate_again(
    make_layout: MakeLayout, programs: dict[str, Path], key: Any, trust_file: Path, tmp_path: Path, case: str, said: str
) -> None:
    entries, entrypoint = _layers(programs)[case]
    layout = make_layout(tmp_path / "oci", platforms=["linux/amd64"], entries=entries, entrypoint=entrypoint)
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    if not said:
        assert check(made.path, trust_file).reports
        return
    with pytest.raises(RefusedError, match=said) as raised:
        check(made.path, trust_file)
    assert raised.value.exit_code == 10


def test_a_program_for_another_system(
    make_layout: MakeLayout, programs: dict[str, Path], key: Any, trust_file: Path, tmp_path: Path
) -> None:
    app = Entry("app", mode=0o755, content=programs["linux/arm64"])
    layout = make_layout(tmp_path / "oci", platforms=["linux/amd64"], entries=[[app]])
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    with pytest.raises(RefusedError, match="mismatch: the image says linux/amd64, its entrypoint is for linux/arm64"):
        check(made.path, trust_file)


def test_a_policy_can_demand_more_and_never_less(
    make_layout: MakeLayout, programs: dict[str, Path], bundle: Created, key: Any, trust_file: Path, tmp_path: Path
) -> None:
    nothing = audit_policy.Policy(name="nothing")
    with pytest.raises(RefusedError, match="linkage"):
        check(bundle.path, trust_file, policy=nothing)
    anything = audit_policy.Policy(name="any", rules={"linkage": "off"})
    dynamic = Entry("app", mode=0o755, content=programs["dynamic"])
    layout = make_layout(tmp_path / "oci", platforms=["linux/amd64"], entries=[[dynamic]])
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    with pytest.raises(RefusedError, match="linkage"):
        check(made.path, trust_file, policy=anything)


def test_without_a_policy_it_is_scratch(
    make_layout: MakeLayout, programs: dict[str, Path], key: Any, trust_file: Path, tmp_path: Path
) -> None:
    shutil.copy(trust_file.with_name("release.gpg"), tmp_path)
    lines = [line for line in trust_file.read_text().splitlines() if "linkage" not in line]
    (tmp_path / "trust.yaml").write_text("\n".join(lines) + "\n")
    dynamic = Entry("app", mode=0o755, content=programs["dynamic"])
    layout = make_layout(tmp_path / "oci", platforms=["linux/amd64"], entries=[[dynamic]])
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    with pytest.raises(RefusedError, match="linkage"):
        check(made.path, tmp_path / "trust.yaml")


# --- and nothing else is loaded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_bytes_that_change_after_the_check_are_not_loaded(
    copied: Path, trust_file: Path, tmp_path: Path, seed: int
) -> None:
    """Where the MiB is still in memory since the check, those bytes are loaded; where it is not, nothing is."""
    chance = random.Random(seed)
    with verify(copied, trust_policy.load(trust_file)) as verified:
        position = chance.randrange(verified.source.size)
        changed = bytes([verified.source.read_at(position, 1)[0] ^ 0xFF])
        with copied.open("r+b") as stream:
            stream.seek(position)
            stream.write(changed)
        if seed % 2:
            verified.source.read_at(0 if position >= 1 << 20 else verified.source.size - 1, 1)
            with pytest.raises(IntegrityError, match="changed after it was verified"):
                load(verified, f"oci:{tmp_path}/loaded")
            assert [path for path in tmp_path.iterdir() if "loaded" in path.name] == []
            return
        with suppress(IntegrityError):
            load(verified, f"oci:{tmp_path}/loaded")
    for blob in (tmp_path / "loaded").glob("blobs/sha256/*"):
        assert hash_file(blob)[0] == f"sha256:{blob.name}"


def test_a_file_put_in_its_place_after_the_check_is_not_read(copied: Path, trust_file: Path, tmp_path: Path) -> None:
    with verify(copied, trust_policy.load(trust_file)) as verified:
        other = copied.with_name("other")
        other.write_bytes(b"something else")
        other.replace(copied)
        assert load(verified, f"oci:{tmp_path}/loaded")
        stream = io.BytesIO(b"".join(verified.source.pieces()))
    assert tarfile.open(fileobj=stream).getnames()[0] == "SHA256SUMS"  # noqa: SIM115 - in memory


def test_a_bundle_cut_after_the_check(copied: Path, trust_file: Path, tmp_path: Path) -> None:
    with verify(copied, trust_policy.load(trust_file)) as verified:
        with copied.open("r+b") as stream:
            stream.truncate(4096)
        with pytest.raises(IntegrityError, match="changed after it was verified"):
            load(verified, f"oci:{tmp_path}/loaded")
    assert not (tmp_path / "loaded").exists()


def test_a_trust_file_that_is_wrong(bundle: Created, tmp_path: Path) -> None:
    (tmp_path / "trust.yaml").write_text("version: 1\nrequire: {bundle: {all: [openpgp.release]}}\n")
    with pytest.raises(ConfigError, match=r"no root 'openpgp\.release'"):
        check(bundle.path, tmp_path / "trust.yaml")
    assert hash_file(bundle.path)[0] == bundle.digest
