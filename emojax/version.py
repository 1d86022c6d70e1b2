"""The version, apart from the package's front door so that everything may read it."""

__version__ = "0.1.0"
