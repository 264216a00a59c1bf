"""The main job: source, expand, compile, inspect, judge, assemble, describe, write, deliver."""

from imagekit.pipeline.ground import Ground, prepare
from imagekit.pipeline.job import Built, Outcome, Refusal, build
from imagekit.pipeline.request import Request

__all__ = ["Built", "Ground", "Outcome", "Refusal", "Request", "build", "prepare"]
