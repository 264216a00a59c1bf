"""Docker's credential helpers: programs that keep accounts, spoken to over stdin and stdout. Runs them.

The protocol stands in github.com/docker/docker-credential-helpers. A helper has a minute and 64 KiB for its answer, of
which nothing is ever shown: it could be the secret.
"""

from __future__ import annotations

import os
import shutil

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json
from imagekit.errors import ToolError
from imagekit.processes import Completed, OutputError, run

SECONDS = 60.0
LIMIT = 64 << 10
_UNKNOWN = b"credentials not found in native keychain"


class _Account(msgspec.Struct, rename="pascal"):
    username: str
    secret: str


class Helper:
    """One helper, the file that names it, and what it keeps an account under.

    Everything raises `ToolError` for a program that is missing, fails, or does not answer in time.
    """

    def __init__(self, name: str, key: str, place: object, cancellation: Cancellation | None = None) -> None:
        self._program, self._key, self._place = f"docker-credential-{name}", key, place
        self._cancellation = cancellation

    def ask(self) -> tuple[str, str] | None:
        """Name and secret, None if it has none; what is no answer is a `ToolError` too."""
        done = self._run("get", self._key.encode())
        if done.returncode and _UNKNOWN in done.stdout:
            return None
        found = None if done.returncode else _read(done.stdout)
        if found is None:
            raise self._failed(f"gave nothing for {self._key}")
        return (found.username, found.secret) if found.username or found.secret else None

    def store(self, username: str, secret: str) -> None:
        """Let it keep a name and a secret."""
        content = {"ServerURL": self._key, "Username": username, "Secret": secret}
        self._tell("store", msgspec.json.encode(content))

    def erase(self) -> None:
        """Let it forget what it has."""
        self._tell("erase", self._key.encode())

    def _tell(self, action: str, content: bytes) -> None:
        if self._run(action, content).returncode:
            raise self._failed(f"could not {action} the credentials of {self._key}")

    def _run(self, action: str, content: bytes) -> Completed:
        if shutil.which(self._program) is None:
            raise ToolError(
                f"{self._program}, which {self._place} names for {self._key}, is not on PATH",
                hint=f"install it, or take it out of {self._place}",
            )
        try:
            return run(
                [self._program, action],
                env=os.environ,
                stdin=content,
                cancellation=self._cancellation,
                seconds=SECONDS,
                limit=LIMIT,
            )
        except OutputError as error:
            raise self._failed(f"{action} for {self._key} {error.what}") from None

    def _failed(self, how: str) -> ToolError:
        return ToolError(
            f"{self._program} {how}",
            hint=f"run: echo {self._key} | {self._program} get; or take it out of {self._place}",
        )


def _read(content: bytes) -> _Account | None:
    try:
        return parse_json(content, _Account)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
