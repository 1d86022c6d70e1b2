"""`emojax serve`: a local page that shows what faces show, and the API under it."""
