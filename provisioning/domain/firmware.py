"""firmware/manifest.toml: which images are served, exactly."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from provisioning.domain.errors import Fault

_FIELDS = {"model": str, "version": str, "file": str, "size": int, "sha256": str}
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Image:
    model: str
    "The model's id."
    version: str
    file: str
    size: int
    sha256: str


def parse_manifest(text: str, models: Mapping[str, object]) -> tuple[Image, ...]:
    """Fault: names the entry and its field."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Fault(f"firmware/manifest.toml: {error}") from None
    if unknown := set(data) - {"image"}:
        raise Fault(f"firmware/manifest.toml: {min(unknown)}: is no field here; images are [[image]] tables")
    images: dict[str, Image] = {}
    by_file: dict[str, Image] = {}
    tables = data.get("image", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise Fault("firmware/manifest.toml: image: images are [[image]] tables")
    for number, table in enumerate(tables, 1):
        where = f"firmware/manifest.toml: image {number}"
        for field, kind in _FIELDS.items():
            # By its exact type: a bool is an int to Python, and is no size.
            if type(table.get(field)) is not kind:
                raise Fault(f"{where}: {field}: is missing or no {kind.__name__}")
        if unknown := set(table) - set(_FIELDS):
            raise Fault(f"{where}: {min(unknown)}: is no field here; known are {', '.join(_FIELDS)}")
        image = Image(**table)
        if image.model not in models:
            raise Fault(f"{where}: model: {image.model!r} is in no vendor's folder")
        if _FILE.fullmatch(image.file) is None:
            raise Fault(f"{where}: file: {image.file!r} is no file name")
        if re.fullmatch("[0-9a-f]{64}", image.sha256, re.ASCII) is None:
            raise Fault(f"{where}: sha256: is not 64 lower-case hex digits")
        if images.setdefault(image.model, image) is not image:
            raise Fault(f"{where}: model: {image.model} has an image already")
        # One image may serve several models; then it is the same image.
        same = by_file.setdefault(image.file, image)
        if (same.size, same.sha256) != (image.size, image.sha256):
            raise Fault(f"{where}: file: {image.file} is listed with another size or sha256 above")
    return tuple(images.values())
