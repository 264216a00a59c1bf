"""imagekit: from a Go module to proven-static, described images that cross an air gap."""

__version__ = "0.1.0"
