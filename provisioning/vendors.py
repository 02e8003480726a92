"""Reads vendors' folders, firmware and time zones from disk, once, before anything listens."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from provisioning.domain.catalogue import Catalogue, catalogue, parse_vendor
from provisioning.domain.errors import Fault
from provisioning.domain.firmware import Image, parse_manifest
from provisioning.domain.timezone import Zone
from provisioning.domain.timezone import parse as parse_zone
from provisioning.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class Vendors:
    catalogue: Catalogue
    renderer: Renderer
    images: tuple[Image, ...]
    zones: Mapping[str, Zone]


def load(templates: Path, firmware: Path, slots: Mapping[str, int] | None = None) -> Vendors:
    """Fault: names the file, line and field, or the template and line."""
    found = load_catalogue(templates, slots)
    sources = {f"{path.parent.name}/{path.name}": _read(path) for path in sorted(templates.glob("*/*.j2"))}
    return Vendors(found, Renderer(found, sources), _images(firmware, found), zones())


def load_catalogue(templates: Path, slots: Mapping[str, int] | None = None) -> Catalogue:
    """The vendors' data alone; no template is tried."""
    folders = sorted(path.parent for path in templates.glob("*/vendor.toml"))
    if not folders:
        raise Fault(f"{templates}: holds no vendor folder with a vendor.toml")
    return catalogue((parse_vendor(folder.name, _read(folder / "vendor.toml")) for folder in folders), slots)


def zones() -> Mapping[str, Zone]:
    """Those of the tzdata package, by name: the same on every machine, whatever it has installed."""
    data = resources.files("tzdata")
    found: dict[str, Zone] = {}
    for name in data.joinpath("zones").read_text("ascii").split():
        # Its last line is the rule for the future (RFC 9636 section 3.3). A few zones change their
        # clocks by no yearly rule that a phone could be told.
        footer = data.joinpath("zoneinfo", *name.split("/")).read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        with suppress(ValueError):
            found[name] = parse_zone(name, footer.decode("ascii"))
    return found


def _images(folder: Path, found: Catalogue) -> tuple[Image, ...]:
    manifest = folder / "manifest.toml"
    if not manifest.exists():
        return ()
    images = parse_manifest(_read(manifest), found.models)
    for image in images:
        _verify(folder / image.file, image)
    return images


def _verify(path: Path, image: Image) -> None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest() if size == image.size else ""
    except OSError as error:
        raise Fault(f"{path}: is in the manifest but cannot be read ({error.strerror})") from None
    if size != image.size:
        raise Fault(f"{path}: has {size} bytes, its manifest says {image.size}")
    if digest != image.sha256:
        raise Fault(f"{path}: has SHA-256 {digest}, its manifest says {image.sha256}")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: cannot be read ({error})") from None
