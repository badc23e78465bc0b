"""The one place where the version stands (the build reads it too)."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
