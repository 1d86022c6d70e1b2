"""Emotions and facial action units from faces and clips."""

__version__ = "0.1.0"
