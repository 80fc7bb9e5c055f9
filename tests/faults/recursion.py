"""Read by schemathesis as it starts.

Its own draws of values within values go deeper than Python allows by itself, and 3.11 then fails in its parser.
"""

import sys

FRAMES = 20_000

sys.setrecursionlimit(FRAMES)
