"""Export a trained run: `emojax export`, under the name that stands beside `train.py`.

Examples:
  python experiments/export.py runs/ar1-synthetic-0
  python experiments/export.py runs/ar1-synthetic-0 --out=artifacts/mine
"""

from __future__ import annotations

import sys

from emojax.cli import run_guarded
from emojax.commands.export import main

if __name__ == "__main__":
    sys.exit(run_guarded("export.py", lambda: main(sys.argv[1:], "export.py")))
