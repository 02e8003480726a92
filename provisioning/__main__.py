"""The command line: `provisioning --help`."""

import argparse
import sys

from provisioning.commands import (
    changes,
    checking,
    choosing,
    doctor,
    inventory,
    life,
    oversight,
    serving,
    strangers,
    upkeep,
)
from provisioning.commands.output import run


def parser(arguments: list[str]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="provisioning",
        description="A provisioning server for SIP desk phones. Start it with `provisioning serve`.",
        epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serving.add(commands)
    checking.add(commands)
    inventory.add(commands)
    strangers.add(commands)
    changes.add(commands)
    life.add(commands)
    choosing.add(commands)
    upkeep.add(commands)
    oversight.add(commands)
    doctor.add(commands)
    simulating = commands.add_parser("simulate", help="run phones that behave, or misbehave, as real ones do")
    if arguments[:1] == ["simulate"]:
        # A server that starts does without the phones' memory and time.
        from provisioning.simulator import command  # noqa: PLC0415

        command.add_arguments(simulating)
        simulating.set_defaults(run=command.run)
    return top


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    return run(parser(given).parse_args(given))


if __name__ == "__main__":
    sys.exit(main())
