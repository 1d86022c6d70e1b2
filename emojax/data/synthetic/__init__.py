"""People drawn from action units: pictures, clips and voices, with nothing to download.

For tests, demos, throughput work and teaching. The faces are drawings: a
network trained on them knows drawings, and nothing here says how well it reads
a living face.
"""
