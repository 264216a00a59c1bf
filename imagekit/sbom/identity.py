"""What makes two documents the same: a UUID of their content, and the time they are said to be from. Computes only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from imagekit.content import canonical_json
from imagekit.errors import UsageError


def uuid_of(document: dict[str, Any]) -> str:
    """A UUID version 5 of the document's canonical JSON (RFC 9562, 5.5): equal content, equal UUID."""
    from uuid import NAMESPACE_URL, uuid5

    namespace = uuid5(NAMESPACE_URL, "urn:imagekit:sbom")
    return str(uuid5(namespace, canonical_json(document).decode()))


def moment(timestamp: int) -> str:
    """`2023-11-14T22:13:20Z` for seconds since 1970; raises `UsageError` for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        raise UsageError(
            f"{timestamp} seconds since 1970 is no date", hint="set SOURCE_DATE_EPOCH to the time of the commit"
        ) from None
