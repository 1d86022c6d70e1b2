"""The live view: a camera's picture with bars, in a window or on a page of this machine alone."""
