"""Who answers: the module proxy, the checksum database, the engine. Touches the network, a few seconds for each."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from imagekit.errors import ImagekitError, IntegrityError, NetworkError, UsageError
from imagekit.golang.environments import fetch_environment
from imagekit.golang.settings import GoSettings
from imagekit.pipeline.diagnosis import Found, Patient, State, first_line
from imagekit.source.proxy import MissingError, Web, database_base, entries
from imagekit.source.sumdb import database

PATIENCE = 5.0
"""Seconds that an engine, a proxy or a database has to answer."""
_PROXY, _DATABASE = "module proxy", "checksum database"


def network(patient: Patient, *, needed: bool) -> Iterator[Found]:
    """The module proxy and the checksum database; a silent proxy is only a warning unless it is `needed`."""
    if patient.offline or patient.settings is None:
        why = "--offline" if patient.offline else "no go"
        yield from (Found(name, State.SKIPPED, why) for name in (_PROXY, _DATABASE))
        return
    silent = State.MISSING if needed else State.WARNING
    yield _in_time(partial(_ask_proxy, patient.settings, silent), _PROXY, silent)
    yield _in_time(partial(_ask_database, patient.settings), _DATABASE)


def _ask_proxy(settings: GoSettings, silent: State) -> Found:
    first = next((one.text for one in entries(settings.values.get("GOPROXY", ""))), "off")
    if first == "off":
        return Found(_PROXY, silent, "GOPROXY=off: only what is in the module cache can be built", "go env -u GOPROXY")
    if first == "direct":
        return Found(_PROXY, State.OK, "GOPROXY=direct: modules come from their repositories")
    if first.startswith("file://"):
        return Found(_PROXY, State.OK, "GOPROXY is a folder")
    with closing(Web(fetch_environment(settings))) as web:
        web.limit_time(PATIENCE)
        try:
            web.fetch(f"{first.rstrip('/')}/", 1 << 20)
        except (MissingError, IntegrityError):
            pass  # a page that is not there, or larger than any answer that matters: it answers
        except NetworkError as error:
            return Found(_PROXY, silent, error.message, "look at `go env GOPROXY` and at the network")
    return Found(_PROXY, State.OK, "it answers")


def _ask_database(settings: GoSettings) -> Found:
    gosumdb = settings.values.get("GOSUMDB", "")
    if gosumdb == "off":
        return Found(_DATABASE, State.WARNING, "GOSUMDB=off: no module is checked", "go env -u GOSUMDB")
    try:
        named = database(gosumdb, settings.toolchain.goroot)
        if named is None:
            return Found(_DATABASE, State.WARNING, f"this Go installation has no key for GOSUMDB={gosumdb}")
        with closing(Web(fetch_environment(settings))) as web:
            web.limit_time(PATIENCE)
            base = database_base(settings.values.get("GOPROXY", ""), named.key.name, named.url, web.fetch)
            web.fetch(f"{base}/latest", 1 << 16)
    except ImagekitError as error:
        hint = "builds go on, with the warning sumdb-unreached for modules that were never proven here"
        return Found(_DATABASE, State.WARNING, error.message, hint)
    return Found(_DATABASE, State.OK, f"{named.key.name} answers")


def engine() -> Found:
    """Only --load and running an image need one."""

    def ask() -> Found:
        from imagekit.oci.engine import find_engine

        with closing(find_engine()) as engine:
            version = engine.version()
        return Found("engine", State.OK, f"{version.name} {version.version} ({version.platform})")

    return _in_time(ask, "engine")


def _in_time(ask: Callable[[], Found], name: str, silent: State = State.WARNING) -> Found:
    """The answer; `silent` if it is an error or does not come in time (its thread is left behind)."""
    answers: list[Found] = []

    def task() -> None:
        try:
            answers.append(ask())
        except ImagekitError as error:
            answers.append(Found(name, silent, first_line(error.message), error.hint))

    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    thread.join(PATIENCE + 1)
    return answers[0] if answers else Found(name, silent, f"no answer in {PATIENCE:.0f} s", "is it hanging?")


def credentials() -> Iterator[Found]:
    """The helpers that docker's configuration names for registries; only whether they are there."""
    from imagekit.oci.credentials import config_file, load_config

    path = config_file()
    if path is None:
        return
    try:
        written = load_config(path)
    except UsageError as error:
        yield Found("credentials", State.WARNING, error.message, error.hint)
        return
    helpers = sorted({*written.helpers.values(), *filter(None, [written.store])})
    absent = [f"docker-credential-{name}" for name in helpers if shutil.which(f"docker-credential-{name}") is None]
    if absent:
        hint = f"install {absent[0]}, or take it out of {path}"
        yield Found("credentials", State.WARNING, f"{path} names {', '.join(absent)}, not on PATH", hint)
    else:
        count = f"{len(written.auths)} registries in {path}" if not helpers else f"helpers: {', '.join(helpers)}"
        yield Found("credentials", State.OK, count)
