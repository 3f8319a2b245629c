"""``python -m bci.gui.start``."""

from bci.gui.start.window import main

main()
