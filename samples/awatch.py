"""The same with asyncio, for a given time, and with renames told apart: ``awatch.py DIRECTORY SECONDS``."""

import asyncio
import sys

import fanotify_fastpath as fan


async def report(directory: str) -> None:
    async for event in fan.awatch(directory, events=fan.Mask.CREATE | fan.Mask.DELETE | fan.Mask.RENAME):
        if event.mask & fan.Mask.RENAME:
            print(f"{event.old_path} -> {event.path} (crossing: {event.crossing})", flush=True)
        else:
            print(",".join(event.names), event.path, flush=True)


async def main(directory: str, seconds: float) -> None:
    try:
        await asyncio.wait_for(report(directory), seconds)
    except TimeoutError:
        print("time is up", flush=True)


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
