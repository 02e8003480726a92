"""One of two processes that attach at the same time: `racer.py <directory> <line/mac>...`.

Says `ready`, waits for a line on its input, then tries everything at once and prints the outcomes.
"""

import asyncio
import json
import sys
from pathlib import Path

from stored import Stored

from provisioning.domain.errors import Refused


async def race(directory: Path, pairs: list[tuple[str, str]]) -> list[str]:
    stored = Stored(directory, new=False)
    await stored.read(lambda c: None)
    stored.terms()
    print("ready", flush=True)
    sys.stdin.readline()

    async def attach(line: str, mac: str) -> str:
        try:
            await stored.attach(line, mac)
        except Refused as refused:
            return refused.code
        return "attached"

    try:
        return await asyncio.gather(*(attach(line, mac) for line, mac in pairs))
    finally:
        await stored.close()


if __name__ == "__main__":
    wanted = [tuple(pair.split("/")) for pair in sys.argv[2:]]
    print(json.dumps(asyncio.run(race(Path(sys.argv[1]), wanted))))
