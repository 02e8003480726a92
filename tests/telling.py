"""Commands on a server's data, inside this process, for that starts sooner."""

import contextlib
import io
import json
import sys
from typing import Any

import pytest
from running import Server

from provisioning.__main__ import main


def told(server: Server, *arguments: str, given: str = "", code: int = 0) -> Any:
    """What the command prints with --json."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.chdir(server.data.parent)
        patch.setattr(sys, "stdin", io.StringIO(given))
        assert main([*arguments, "--json"]) == code, printed.getvalue()
    return json.loads(printed.getvalue())
