"""``python -m bci.gui``."""

import sys

from bci.gui.app import main

sys.exit(main())
