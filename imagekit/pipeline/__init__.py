"""The main job: source, expand, compile, inspect, judge, assemble, describe, write, deliver."""
