"""Data sets: what is read, how people are split, and the shards that training reads."""
