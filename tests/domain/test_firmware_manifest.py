import pytest

from provisioning.domain.errors import Fault
from provisioning.domain.firmware import Image, parse_manifest

MODELS = {"yealink-t54w": 0, "yealink-t53w": 0}
ITS = {
    "model": "yealink-t54w",
    "version": "96.86.0.70",
    "file": "T54W-96.86.0.70.rom",
    "size": 123,
    "sha256": "ab" * 32,
}


def entry(**changed: object) -> str:
    rows = [f"{name} = {value!r}" for name, value in (ITS | changed).items() if value is not None]
    return "\n".join(["[[image]]", *rows, ""])


def test_no_image_is_a_manifest_too():
    assert parse_manifest("", MODELS) == ()


def test_an_image():
    assert parse_manifest(entry(), MODELS) == (Image(**ITS),)


def test_one_image_may_serve_several_models():
    assert len(parse_manifest(entry() + entry(model="yealink-t53w"), MODELS)) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[image", "firmware/manifest.toml: "),
        ("images = 1", "images: is no field here"),
        *((entry(**{field: None}), f"image 1: {field}: is missing") for field in ITS),
        (entry(size="123"), "size: is missing or no int"),
        (entry(version=1), "version: is missing or no str"),
        (entry().replace("123", "true"), "size: is missing or no int"),
        (entry(colour="red"), "colour: is no field here"),
        (entry(model="acme-one"), "model: 'acme-one' is in no vendor's folder"),
        (entry(file="../secret-key"), "is no file name"),
        (entry(file="a/b.rom"), "is no file name"),
        (entry(file=".hidden"), "is no file name"),
        (entry(file=""), "is no file name"),
        (entry(sha256="AB" * 32), "64 lower-case hex digits"),
        (entry(sha256="ab"), "64 lower-case hex digits"),
        (entry() + entry(), "image 2: model: yealink-t54w has an image already"),
        (entry() + entry(model="yealink-t53w", size=1), "image 2: file: T54W-96.86.0.70.rom is listed with another"),
        (entry() + entry(model="yealink-t53w", sha256="cd" * 32), "is listed with another size or sha256"),
    ],
)
def test_a_fault_names_the_entry_and_the_field(text: str, told: str):
    with pytest.raises(Fault) as caught:
        parse_manifest(text, MODELS)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["image = 1", "image = [1]", "[image]\nmodel = 'x'", "[[image]]\nsize = true"])
def test_a_manifest_of_another_shape_is_a_fault_too(text: str):
    with pytest.raises(Fault):
        parse_manifest(text, MODELS)
