import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import hash_file
from imagekit.errors import StoppedError
from imagekit.golang.kept import Kept, Record, folder_of, held, is_kept, is_same_file, opened, place
from imagekit.targets.target import Ldflags, Target, XValue

Make = Callable[..., Target]


def link(kept: Kept, content: bytes) -> Record:
    """What a link does: another file takes the place."""
    fresh = kept.temporary / "out"
    fresh.write_bytes(content)
    fresh.replace(kept.path)
    return kept.record()


def verdict(folder: Path) -> str:
    with held(folder, "app") as kept, opened(kept.path) as stream:
        assert stream is not None
        return kept.distrusted(stream)


def test_a_file_that_was_not_touched_is_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "kept" / "key"
    with held(folder, "app") as kept:
        assert link(kept, b"one") == Record(*hash_file(kept.path))
    assert verdict(folder) == ""
    assert is_kept(folder, "app")
    assert not (folder / "tmp").exists()


def test_the_folders_are_private_and_the_program_is_not_bound_to_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with held(tmp_path / "cache" / "kept" / "key", "app") as kept:
            link(kept, b"one")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (kept.path, kept.folder, kept.folder.parent, tmp_path / "cache")]
    assert modes == [0o755, 0o700, 0o700, 0o700]


def test_a_changed_file_is_distrusted_even_with_its_old_times(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "kept" / "key"
    with held(folder, "app") as kept:
        link(kept, b"one")
    state = kept.path.stat()
    kept.path.write_bytes(b"two")
    os.utime(kept.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert "changed after its link" in verdict(folder)


@pytest.mark.parametrize("record", [b"", b"{", b'{"digest": 1}', b'{"digest": "sha256:00", "size": "x"}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, record: bytes) -> None:
    folder = tmp_path / "c" / "kept" / "key"
    with held(folder, "app") as kept:
        link(kept, b"one")
    (folder / "app.json").write_bytes(record)
    assert verdict(folder) == "it has no record"


def test_a_run_that_ended_between_link_and_record_is_told_from_tampering(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "kept" / "key"
    with pytest.raises(KeyboardInterrupt), held(folder, "app") as kept:
        (kept.temporary / "half").write_bytes(b"x")
        kept.path.write_bytes(b"one")
        raise KeyboardInterrupt
    assert not (folder / "tmp").exists()
    assert "earlier run was stopped" in verdict(folder)


def test_a_link_is_not_the_same_file_though_the_bytes_are(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "kept" / "key"
    with held(folder, "app") as kept:
        link(kept, b"one")
    with held(folder, "app") as kept, opened(kept.path) as stream:
        assert stream is not None
        assert is_same_file(stream, kept.path)
        link(kept, b"one")
        assert not is_same_file(stream, kept.path)
        kept.discard()
        assert not is_same_file(stream, kept.path)
        assert kept.recorded() is None


def test_a_symbolic_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path / "link") as stream:
        assert stream is None


def test_one_at_a_time_and_a_thrown_switch_ends_the_waiting(tmp_path: Path) -> None:
    folder, order = tmp_path / "c" / "kept" / "key", []
    cancellation = Cancellation()

    def second() -> None:
        with held(folder, "app", cancellation):
            order.append("second")

    with held(folder, "app"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.1)
        order.append("first")
        with pytest.raises(StoppedError, match="enough"):
            stopped = Cancellation()
            threading.Timer(0.1, stopped.stop, [StoppedError("enough", exit_code=124)]).start()
            with held(folder, "app", stopped):
                raise AssertionError
    waiting.join(5)
    assert order == ["first", "second"]


def test_the_key_is_the_build_and_not_the_values_that_change_with_every_commit(tmp_path: Path, target: Make) -> None:
    def key(**fields: object) -> Path:
        return folder_of(tmp_path, Path("/m"), ".", target(**fields))

    one = key(ldflags=Ldflags(values=(XValue("main.v", "1"),)))
    assert one == key(ldflags=Ldflags(values=(XValue("main.v", "2"),)), origins=(("main", "x.yaml:3"),))
    others = [
        key(),
        key(ldflags=Ldflags(True, (XValue("main.v", "1"),))),
        key(ldflags=Ldflags(values=(XValue("main.w", "1"),))),
        key(tags=("a",)),
        key(platform="linux/arm64"),
        folder_of(tmp_path, Path("/n"), ".", target()),
        folder_of(tmp_path, Path("/m"), "./cmd", target()),
        folder_of(tmp_path, Path("/m"), ".", target(), "unstripped"),
    ]
    assert len({one, *others}) == 1 + len(others)


def test_a_copy_is_whole_and_executable(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    place(tmp_path / "a", tmp_path / "bin" / "deep" / "app")
    assert (tmp_path / "bin" / "deep" / "app").read_bytes() == b"x" * 100_000
    assert (tmp_path / "bin" / "deep" / "app").stat().st_mode & 0o777 == 0o755
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "missing", tmp_path / "bin" / "other")
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["deep"]
