"""Reads vendors' folders, firmware and time zones from disk, once, before anything listens."""

import hashlib
import marshal
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2

from provisioning.domain.catalogue import Catalogue, catalogue
from provisioning.domain.errors import Fault
from provisioning.domain.firmware import Image, parse_manifest
from provisioning.domain.timezone import Zone
from provisioning.domain.timezone import parse as parse_zone
from provisioning.domain.vendor_file import parse_vendor
from provisioning.rendering.renderer import Compiled, Renderer


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
    return Vendors(found, _renderer(templates, found, sources), _images(firmware, found), zones())


def load_catalogue(templates: Path, slots: Mapping[str, int] | None = None) -> Catalogue:
    """The vendors' data alone; no template is tried."""
    folders = sorted(path.parent for path in templates.glob("*/vendor.toml"))
    if not folders:
        raise Fault(f"{templates}: holds no vendor folder with a vendor.toml")
    return catalogue((parse_vendor(folder.name, _read(folder / "vendor.toml")) for folder in folders), slots)


def _renderer(templates: Path, found: Catalogue, sources: Mapping[str, str]) -> Renderer:
    """What was compiled and tried at an earlier start, with the same text and the same code of ours, is not again.

    As Python does with its own modules: beside them, in __pycache__, and where that cannot be written, every time.
    """
    edition = _edition(templates, sources)
    file = templates / "__pycache__" / f"templates.{sys.implementation.cache_tag}"
    compiled: dict[str, Compiled] = {}
    tried = ""
    with suppress(OSError, EOFError, ValueError, TypeError):
        written, tried, kept = marshal.loads(file.read_bytes())  # noqa: S302  our own, as a .pyc is
        if written == edition.code:
            compiled = {key: Compiled(code, frozenset(used)) for key, (code, used) in kept.items()}
        else:
            tried = ""
    before = len(compiled)
    # The operator's own slots are tried each time: they are few, and another catalogue.
    renderer = Renderer(found, sources, compiled, trials=tried != edition.all or _has_own_slots(found))
    if len(compiled) != before or tried != edition.all:
        kept = {key: (its.code, sorted(its.settings)) for key, its in compiled.items()}
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            fresh = file.with_name(f"{file.name}.{os.getpid()}")
            fresh.write_bytes(marshal.dumps((edition.code, edition.all, kept)))
            fresh.replace(file)
    return renderer


class _Edition(NamedTuple):
    code: str
    "Of our own modules, and what they run on."
    all: str
    "The same, with every vendor's folder."


def _edition(templates: Path, sources: Mapping[str, str]) -> _Edition:
    digest = hashlib.sha256(f"{sys.version} {jinja2.__version__}".encode())
    package = Path(__file__).parent
    for path in sorted([*(package / "domain").glob("*.py"), *(package / "rendering").glob("*.py")]):
        digest.update(path.read_bytes())
    code = digest.hexdigest()
    for path in sorted(templates.glob("*/vendor.toml")):
        digest.update(path.read_bytes())
    for name, text in sorted(sources.items()):
        digest.update(f"{name} {len(text)} {text}".encode())
    return _Edition(code, digest.hexdigest())


def _has_own_slots(found: Catalogue) -> bool:
    return any(model.confidence == "operator" for model in found.models.values())


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
