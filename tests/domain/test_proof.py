import pytest

from provisioning.domain.mac import Mac
from provisioning.domain.proof import Shown, prove

ITS, OTHER = Mac("001565000001"), Mac("001565000002")


@pytest.mark.parametrize(
    ("secret_of", "door_of", "proof"),
    [
        (None, None, None),
        (ITS, None, "secret"),
        (None, ITS, "door"),
        (ITS, ITS, "secret"),
        (ITS, OTHER, "secret"),
        # Another phone's secret proves nothing, and takes no door away.
        (OTHER, None, None),
        (OTHER, ITS, "door"),
        (None, OTHER, None),
        (OTHER, OTHER, None),
    ],
)
def test_what_a_request_must_show(secret_of: Mac | None, door_of: Mac | None, proof: str | None):
    assert prove(ITS, Shown(secret_of, door_of)) == proof
