import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, filled, own, values


def test_codecs_stand_in_their_order_and_the_others_are_off():
    model = CATALOGUE.models["linphone-android"]
    body = RENDERER.render(own(model), model, values(model, filled(model, 1), codecs=("opus", "pcma")))
    found = dialect(model).settings(body)
    codecs = [(found[f"audio_codec_{n}/mime"], found[f"audio_codec_{n}/enabled"]) for n in range(5)]
    assert codecs == [("opus", "1"), ("PCMA", "1"), ("G722", "0"), ("PCMU", "0"), ("G729", "0")]
    assert "audio_codec_5/mime" not in found


@pytest.mark.parametrize(
    ("srtp", "expected"), [("off", ("none", "0")), ("optional", ("srtp", "0")), ("mandatory", ("srtp", "1"))]
)
def test_encryption_of_speech(srtp, expected):
    model = CATALOGUE.models["linphone-desktop"]
    found = dialect(model).settings(RENDERER.render(own(model), model, values(model, filled(model, 1), srtp=srtp)))
    assert (found["sip/media_encryption"], found["sip/media_encryption_mandatory"]) == expected
