"""`provisioning` whose wall clock and monotonic clock a proof turns forward together, as if hours had passed.

By the file `dial` beside the data directory (dial.py). The event loop's own timers are not turned.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dial import Dial


def turn(dial: Dial) -> None:
    wall, wall_ns, monotonic = time.time, time.time_ns, time.monotonic
    time.time = lambda: wall() + dial.offset
    time.time_ns = lambda: wall_ns() + int(dial.offset * 1e9)
    time.monotonic = lambda: monotonic() + dial.offset


if __name__ == "__main__":
    turn(Dial(Path(os.environ["PROVISIONING__DATA__DIR"]).with_name("dial")))
    from provisioning.__main__ import main

    sys.exit(main())
