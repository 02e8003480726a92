"""The operator's own figure of a model's slots: [models] slots."""

import json
import subprocess
from collections.abc import Callable

import pytest
from running import Api, Server
from wire import bound, get

from provisioning.simulator.dialects import yealink

MODEL = "yealink-t54w"
MAC = "001565590001"


def give(server: Server, slots: int | None) -> None:
    """From its next start on."""
    server.environment["PROVISIONING__MODELS__SLOTS"] = "{}" if slots is None else json.dumps({MODEL: slots})


def refused(server: Server) -> str:
    """What it says instead of starting."""
    done: subprocess.CompletedProcess[str] = server.command("serve")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_more_and_fewer_after_a_restart(new_server: Callable[..., Server]) -> None:
    server = new_server()
    api = Api(server)
    try:
        phone = await bound(api, MAC)
        await api.line("last", phone.account)
        assert (await api.get(f"/v1/phones/{MAC}")).body["slots"] == 16
        full = await api.post("/v1/lines/last/attach", {"mac": MAC, "slot": 18})
        assert (full.status, full.code) == (422, "slot-out-of-range")
        server.stop()

        give(server, 18)
        server.start()
        its = (await api.get(f"/v1/phones/{MAC}")).body
        assert (its["slots"], its["slots_free"]) == (18, 17)
        model = (await api.get(f"/v1/models/{MODEL}")).body
        assert (model["slots"], model["confidence"]) == (18, "operator")
        assert (await api.post("/v1/lines/last/attach", {"mac": MAC, "slot": 18})).status == 202
        read = yealink.settings(get(server, phone.path()).body)
        assert read["account.18.user_name"] == "last"
        server.stop()

        # The line in slot 18 would have none.
        give(server, None)
        said = refused(server)
        assert f"the model {MODEL} has 16 slots" in said
        assert "00:15:65:59:00:01" in said.lower()

        give(server, 18)
        server.start()
        assert (await api.get("/v1/lines/last")).body["slot"] == 18
        assert (await api.post("/v1/lines/last/detach", {"mac": MAC, "force": True})).status == 202
        server.stop()

        give(server, 2)
        server.start()
        its = (await api.get(f"/v1/phones/{MAC}")).body
        assert (its["slots"], its["slots_free"]) == (2, 1)
        assert {held["line"]: held["slot"] for held in its["lines"]} == {phone.line: 1}
        beyond = await api.post("/v1/lines/last/attach", {"public_ip": "127.0.0.1", "slot": 3})
        assert (beyond.status, beyond.code) == (422, "slot-out-of-range")
        # The slots that it has no more are not written; its others are, also the empty one.
        read = yealink.settings(get(server, phone.path()).body)
        assert (read["account.1.user_name"], read["account.2.user_name"]) == (phone.line, "")
        assert "account.3.user_name" not in read
    finally:
        await api.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"yealink-none": 4}', "yealink-none"),
        ('{"yealink-t54w": 0}', "1 to 1000"),
        ('{"yealink-t54w": "4"}', "1 to 1000"),
        ('{"yealink-t54w": true}', "1 to 1000"),
        ("[4]", "is no table"),
        ("{", "is no table"),
    ],
)
def test_what_is_no_figure_is_refused(new_server: Callable[..., Server], text: str, says: str) -> None:
    server = new_server(start=False, MODELS__SLOTS=text)
    done = server.command("serve")
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
