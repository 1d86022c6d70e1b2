"""The thesis's tables: what is trained for them, the figures, and the forms they are written in."""
