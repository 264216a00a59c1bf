"""The installed wheel, not the checkout: templates inside, the same help, a real build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_installed_wheel_builds(module, tmp_path, shared_cache):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "wheel", ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = (tmp_path / "wheel").glob("*.whl")
    place = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", place, wheel],
        check=True,
        capture_output=True,
    )
    program = module("hello")
    environment = {k: v for k, v in os.environ.items() if k != "GOFLAGS"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "imagekit", "build", "--target", "linux/amd64"],
        cwd=program,
        env={**environment, "PYTHONPATH": str(place), "XDG_CACHE_HOME": str(shared_cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (program / "dist/Dockerfile.hello").is_file()
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import imagekit; print(imagekit.__file__)"],
        env={**environment, "PYTHONPATH": str(place)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(place))
