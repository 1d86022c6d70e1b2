"""Why a network answers as it does: where it looked, its first kernels, what action units do."""
