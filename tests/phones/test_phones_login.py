"""Basic and Digest below /login/: a MAC as user name, its secret or an activation code as password."""

import base64
import hashlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from running import Api, Server
from wire import Bound, Reply, bound, get, managing, until

_next = iter(range(1, 1000))


@pytest.fixture(scope="module", params=["1", "2"], ids=["one-worker", "two-workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    its = Server(tmp_path_factory.mktemp("login"), {"SERVER__WORKERS": request.param})
    its.start()
    yield its
    assert its.stop() == 0
    assert "Traceback" not in its.log.read_text()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with managing(server) as its:
        yield its


@pytest.fixture
async def phone(api: Api) -> Bound:
    return await bound(api, f"0015651{next(_next):05x}")


def has_lines(reply: Reply, phone: Bound) -> bool:
    return reply.status == 200 and phone.password.encode() in reply.body


def login(phone: Bound) -> str:
    return f"/login{phone.bare()}"


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def challenged(reply: Reply) -> dict[str, str]:
    """Nonces by algorithm."""
    assert reply.status == 401, reply
    found = {}
    for name, value in reply.headers:
        if name.lower() == "www-authenticate" and value.startswith("Digest"):
            nonce, algorithm = re.search(r'nonce="([^"]*)"', value), re.search(r"algorithm=([^,\s]*)", value)
            assert nonce
            assert algorithm
            found[algorithm[1]] = nonce[1]
    return found


def digest(
    user: str, password: str, uri: str, nonce: str, *, algorithm: str = "MD5", nc: str | None = "00000001",
    method: str = "GET", spelled: str | None = None, realm: str = "phone provisioning",
) -> str:  # fmt: skip
    """Made here from RFC 7616, with nothing of the server's."""

    def hashed(text: str) -> str:
        return hashlib.new(algorithm.replace("SHA-256", "sha256"), text.encode()).hexdigest()

    ha1, ha2 = hashed(f"{user}:{realm}:{password}"), hashed(f"{method}:{uri}")
    middle = f"{nonce}:{nc}:c0ffee:auth" if nc else nonce
    count = f', qop=auth, nc={nc}, cnonce="c0ffee"' if nc else ""
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'response="{hashed(f"{ha1}:{middle}:{ha2}")}", algorithm={spelled or algorithm}{count}'
    )


async def test_the_question_is_the_same_for_every_mac(server: Server, phone: Bound):
    asked = [get(server, login(phone)), get(server, "/login/0015651fffff.cfg"), get(server, "/login/aabbccddeeff.xyz")]
    shapes = [re.sub(r"nonce=\"[0-9a-f]*\"", "nonce", str(reply.shape)) for reply in asked]
    assert len(set(shapes)) == 1
    assert [value.split()[0] for name, value in asked[0].headers if name == "WWW-Authenticate"] == ["Digest", "Digest"]
    over_tls = get(server, login(phone), tls=True)
    assert [value.split()[0] for name, value in over_tls.headers if name == "WWW-Authenticate"][-1] == "Basic"
    assert list(challenged(over_tls)) == ["SHA-256", "MD5"]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("quoted", [False, True])
async def test_the_phones_secret_by_digest(server: Server, phone: Bound, algorithm: str, quoted: bool):
    nonce = challenged(get(server, login(phone)))[algorithm]
    spelled = f'"{algorithm}"' if quoted else algorithm
    answer = digest(phone.mac, phone.secret, login(phone), nonce, algorithm=algorithm, spelled=spelled)
    assert has_lines(get(server, login(phone), answer), phone)


async def test_it_binds_the_phone(server: Server, api: Api, phone: Bound):
    nonce = challenged(get(server, login(phone)))["MD5"]
    get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce))

    async def is_bound() -> bool:
        return (await api.get(f"/v1/phones/{phone.mac}")).body["state"] == "bound"

    await until(is_bound)


async def test_a_nonce_serves_a_whole_boot_with_a_growing_count(server: Server, phone: Bound):
    nonce = challenged(get(server, login(phone)))["MD5"]
    for nc in ("00000001", "00000002", "00000010"):
        assert has_lines(get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce, nc=nc)), phone)
    for nc in ("00000001", "00000010", "0000000f"):
        assert get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce, nc=nc)).status == 401


async def test_a_captured_answer_is_worth_nothing_elsewhere(server: Server, api: Api, phone: Bound):
    others = [await bound(api, f"0015651{next(_next):05x}") for _ in range(3)]
    nonce = challenged(get(server, login(phone)))["MD5"]
    answer = digest(phone.mac, phone.secret, login(phone), nonce)
    for other in others:
        assert get(server, login(other), answer).status == 401
    assert get(server, f"/login/{phone.mac}.CFG", answer).status == 401
    assert get(server, f"/login/{phone.mac}.boot", answer).status == 401
    assert get(server, login(phone) + "?x=1", answer).status == 401
    assert get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce, nc=None)).status == 401
    assert get(server, login(phone), answer, method="HEAD").status == 401
    assert has_lines(get(server, login(phone), answer), phone)
    # Twice, on any connection and in any worker.
    for _ in range(6):
        assert get(server, login(phone), answer).status == 401


@pytest.mark.parametrize("nonce", ["", "0" * 56, "now", "x"])
async def test_a_nonce_that_is_not_ours(server: Server, phone: Bound, nonce: str):
    nonce = nonce.replace("now", f"{int(time.time()):08x}" + "0" * 48)
    assert get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce)).status == 401


async def test_another_phones_nonce(server: Server, api: Api, phone: Bound):
    other = await bound(api, f"0015651{next(_next):05x}")
    nonce = challenged(get(server, login(other)))["MD5"]
    assert get(server, login(phone), digest(phone.mac, phone.secret, login(phone), nonce)).status == 401


async def test_users_and_passwords_must_belong_together(server: Server, api: Api, phone: Bound):
    other = await bound(api, f"0015651{next(_next):05x}")
    for shows, knows, asks in itertools.product((phone, other), repeat=3):
        good = shows is asks and knows is asks
        nonce = challenged(get(server, login(asks)))["MD5"]
        by_digest = get(server, login(asks), digest(shows.mac, knows.secret, login(asks), nonce))
        by_basic = get(server, login(asks), basic(shows.mac, knows.secret), tls=True)
        assert has_lines(by_digest, asks) is good
        assert has_lines(by_basic, asks) is good
        if not good:
            assert by_digest.status == by_basic.status == 401
    for user in ("", "admin", "*", phone.mac[:-1]):
        assert get(server, login(phone), basic(user, phone.secret), tls=True).status == 401


@pytest.mark.parametrize("spelled", [str.upper, lambda mac: ":".join(re.findall("..", mac))])
async def test_the_user_name_is_the_mac_in_any_spelling(server: Server, phone: Bound, spelled):
    assert has_lines(get(server, login(phone), basic(spelled(phone.mac), phone.secret), tls=True), phone)


@pytest.mark.parametrize("by", ["basic", "digest"])
async def test_an_activation_code_is_a_password_once(server: Server, api: Api, phone: Bound, by: str):
    code = (await api.post(f"/v1/phones/{phone.mac}/code")).body["code"]

    def shows() -> Reply:
        if by == "basic":
            return get(server, login(phone), basic(phone.mac, code), tls=True)
        nonce = challenged(get(server, login(phone)))["SHA-256"]
        return get(server, login(phone), digest(phone.mac, code, login(phone), nonce, algorithm="SHA-256"))

    assert has_lines(shows(), phone)
    await api.call("DELETE", f"/v1/phones/{phone.mac}/door")
    assert shows().status == 401


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ====", "Basic " + base64.b64encode(b"\xff:x").decode(), "Digest", "Digest x", "Bearer x", 'Digest username="', "Negotiate abc"]
)
async def test_what_is_no_answer_is_none(server: Server, phone: Bound, header: str):
    assert get(server, login(phone), f"Authorization: {header}", tls=True).status == 401
    assert get(server, phone.bare(), f"Authorization: {header}").shape == get(server, phone.bare()).shape


async def test_credentials_count_wherever_they_are_sent(server: Server, phone: Bound):
    assert has_lines(get(server, phone.bare(), basic(phone.mac, phone.secret), tls=True), phone)
    assert not has_lines(get(server, phone.bare(), basic(phone.mac, "0" * 32), tls=True), phone)


async def test_what_holds_no_lines_asks_for_nothing(server: Server):
    assert get(server, "/login/y000000000096.cfg").status == 200
    assert get(server, "/login/firmware/none.rom").status == 404
