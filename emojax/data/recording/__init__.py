"""One's own people before one's own camera: clips, and the manifest that names them."""
