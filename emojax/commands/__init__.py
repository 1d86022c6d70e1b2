"""One file per command of `emojax`; `emojax/cli.py` lists them."""
