"""`python -m emojax` is the command `emojax`."""

import sys

from emojax.cli import main

if __name__ == "__main__":
    sys.exit(main())
