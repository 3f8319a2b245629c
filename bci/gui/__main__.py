"""``python -m bci.gui``."""

from bci.gui.app import main

main()
