"""A built set held against its owner, against what can be true, and against itself."""
