"""``python -m bci.gui``."""

import os
import sys

from bci.gui.app import main

main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)  # an inlet whose sender has died holds its interpreter up for seconds
