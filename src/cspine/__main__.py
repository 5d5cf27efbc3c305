"""``python -m cspine``."""

from cspine.cli import main

main()
