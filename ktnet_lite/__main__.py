"""``python -m ktnet_lite``."""

from ktnet_lite.cli import main

main(prog_name="ktnet-lite")
