"""Have a folder summarised by the swarm, from a program, and watch it being done.

On any device of the swarm: `python examples/summarise.py FOLDER OUT`. Stop it and start it as you like: the run goes on without it, and `zwerm events` shows
what happened meanwhile.
"""

import asyncio
import sys

from mesh import RunFailed, connect


async def main(folder: str, out: str) -> int:
    async with connect() as swarm:
        run = await swarm.run("Summarise this folder", inputs=[folder], budget="time=1h")
        async for event in run.events():
            if not event.volatile:
                print(event.seq, event.kind, event.subtask, event.node_name, flush=True)
        try:
            for path in await run.deliver(out):
                print(path)
        except RunFailed as failed:
            print(failed.message, failed.hint, sep="\n", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:3])))
