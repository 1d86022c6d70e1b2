"""One TFDS builder per data set; all of them turn rows into shards in the same way."""
