"""What looks like a credential: it would be readable in every image, log and provenance."""

from __future__ import annotations

import re

_SHAPES = (
    ("a private key", re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[^\n]*")),
    ("an AWS access key", re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])")),
    ("a GitHub token", re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})")),
    ("a GitLab token", re.compile(r"(?<![A-Za-z0-9])gl(?:pat|ptt|dt|rt|cbt|soat|ft|agent)-[A-Za-z0-9_-]{16,}")),
    ("a Slack token", re.compile(r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("a JSON web token", re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")),
    ("a URL with a password", re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s/?#:@]{0,256}:[^\s/?#@]{1,256}@")),
)


def credential_in(text: str) -> str:
    """What kind of credential `text` seems to hold, '' if none."""
    return next((kind for kind, shape in _SHAPES if shape.search(text)), "")


def redacted(text: str) -> str:
    """`text` with a star for every character of what looks like a credential."""
    for _, shape in _SHAPES:
        text = shape.sub(lambda found: "*" * len(found[0]), text)
    return text
