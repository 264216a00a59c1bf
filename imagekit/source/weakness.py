"""What weakens the trust in the source, seen before anything is compiled."""

from __future__ import annotations

import msgspec


class Weakness(msgspec.Struct, frozen=True, order=True):
    """One observation; `rule` is the id that the policy gives a severity (`dirty-tree`, `sumdb-off`, …)."""

    rule: str
    message: str
    where: str = ""
    hint: str = ""
