"""What a person sees: cues of a paradigm, flicker, and the page that measures the display's delay.

Every onset is a marker of the LSL stream `MARKERS`, stamped when its frame has been painted.
"""

from bci.gui.cues.screen import CueScreen
from bci.gui.cues.stage import MARKERS

__all__ = ["MARKERS", "CueScreen"]
