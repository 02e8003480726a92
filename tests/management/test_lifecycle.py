"""The journey of one line through the API."""

from running import Api, Server, fetch


async def test_a_line_is_attached_fetched_and_detached(server: Server, api: Api) -> None:
    account = await api.account("journey")
    await api.line("j1", account)
    await api.line("j2", account)
    phone = await api.phone("00:15:65:00:10:01", account=account, main_line="j1")
    assert phone["slots_free"] == 15
    url = phone["provisioning_url"] + "001565001001.cfg"

    first = await fetch(url, server)
    assert first.status == 200
    assert b"pw-j1" in first.body
    assert b"pw-j2" not in first.body

    attached = await api.post("/v1/lines/j2/attach", {"public_ip": "127.0.0.1", "mac": "001565001001"})
    assert attached.status == 202, attached
    assert attached.headers["Location"] == f"/v1/operations/{attached.body['id']}"
    second = await fetch(url, server)
    assert b"pw-j2" in second.body
    done = await api.operation(attached.body["id"], "done")
    assert done["facts"]["fetched_at"] is not None

    detached = await api.post("/v1/lines/j2/detach", {"public_ip": "127.0.0.1"})
    assert detached.status == 202
    third = await fetch(url, server)
    assert b"pw-j2" not in third.body
    assert b"account.2.enable = 0" in third.body
    await api.operation(detached.body["id"], "done")


async def test_a_phone_that_has_just_booted_can_be_attached_to_at_once(server: Server, api: Api) -> None:
    account = await api.account("at-once")
    for number in range(20):
        mac = f"0015650020{number:02x}"
        await api.line(f"o{number}", account)
        url = (await api.phone(mac, account=account))["provisioning_url"]
        assert (await fetch(f"{url}{mac}.cfg", server)).status == 200
        attached = await api.post(f"/v1/lines/o{number}/attach", {"public_ip": "127.0.0.1", "mac": mac})
        assert attached.status == 202, (number, attached)
