"""What lies in files and settings: who may read the keys, sample keys, default passwords, old debts."""

import base64
import datetime as dt
import itertools
import stat
from pathlib import Path

from cryptography import x509

from provisioning import installation
from provisioning.config import Config
from provisioning.doctor.finding import Finding, NotProbed, bad, ok, warning
from provisioning.doctor.management import WELL_KNOWN
from provisioning.doctor.target import Target

CA_DAYS = 60
_FEWEST_BYTES = 16
"Different ones among a key's 32: of random ones there are always more."
_SHORTEST = 12


def modes(target: Target) -> Finding:
    """Files that hold a key or a token, and who else may read or write them."""
    config, probe = target.config, "private files"
    private = [path for path in _private(config) if path.exists()]
    if not private:
        raise NotProbed(*_elsewhere(config))
    open_ = {path: mode for path in private if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077}
    # A key that is shared with a web server is often readable for one group.
    shared = [path for path, mode in open_.items() if path == config.tls.key and not mode & 0o027]
    told = ", ".join(f"{path} ({mode:04o})" for path, mode in open_.items())
    if len(open_) > len(shared):
        return bad(probe, f"others may read or write {told}", f"chmod 600 {' '.join(map(str, open_))}")
    if shared:
        return warning(probe, f"a group may read {told}", "See who is in that group; chmod 600 is safer.")
    return ok(probe, f"{', '.join(path.name for path in private)}: their owner's alone")


def key(target: Target) -> Finding:
    probe, path = "secret key", target.config.key_file
    if not path.exists():
        raise NotProbed(*_elsewhere(target.config))
    try:
        keys = [base64.b64decode(line.split()[1]) for line in path.read_text("ascii").splitlines() if line.strip()]
    except (OSError, ValueError, IndexError) as error:
        why = f"{path} cannot be read ({type(error).__name__})"
        raise NotProbed(why, "Run the doctor as the server's user.") from None
    weak = sum(1 for its in keys if _is_sample(its))
    if weak:
        return bad(
            probe,
            f"{weak} of {len(keys)} keys in {path.name} are no random bytes, but a sample or typed by hand",
            "`provisioning key rotate`, then `provisioning key prune`.",
        )
    return ok(probe, f"{len(keys)} in {path.name}, random by their looks")


def passwords(target: Target) -> Finding:
    config, probe = target.config, "passwords"
    given = {
        "[registrar] password_token": config.registrar.password_token,
        "[resync] password": config.resync.password,
    }
    weak = [
        name
        for name, value in given.items()
        if value and (value.lower() in WELL_KNOWN or value.lower() == config.resync.username.lower())
    ]
    short = [name for name, value in given.items() if 0 < len(value) < _SHORTEST and name not in weak]
    if weak:
        return warning(probe, f"{', '.join(weak)} is a well-known one", "Change it, here and where it is checked.")
    if short:
        return warning(probe, f"{', '.join(short)} has fewer than {_SHORTEST} characters", "Take a random, longer one.")
    told = ", ".join(name for name, value in given.items() if value)
    return ok(probe, f"{told}: no well-known one" if told else "none is configured")


def legacy(target: Target) -> Finding:
    config, probe = target.config, "old phones"
    listener = target.ready.get("phones_legacy") or config.listen.phones_legacy
    models = ", ".join(config.legacy.models)
    if listener:
        return warning(
            probe,
            f"TLS 1.0 at {listener}, with lines for {models or 'no model'}",
            "A debt: replace these phones, then empty [legacy] models and [listen] phones_legacy."
            if models
            else "Empty [listen] phones_legacy: no phone gets its lines there.",
        )
    if models:
        return warning(probe, f"[legacy] models has {models}, without a listener", "Empty [legacy] models.")
    return ok(probe, "no phone is served by TLS older than 1.2")


def device_authorities(target: Target) -> Finding:
    probe, folder = "device CAs", target.config.devices.ca_dir
    if folder is None:
        return ok(probe, "[devices] ca_dir is not set: no certificate proves anything")
    soon, now, count = [], dt.datetime.now(dt.UTC), 0
    for path in sorted(folder.glob("*.pem")):
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise NotProbed(f"{path} cannot be read ({error})", "Mend it; `provisioning check` tells more.") from None
        count += len(found)
        for its in found:
            days = (its.not_valid_after_utc - now).days
            if days < CA_DAYS:
                left = "expired" if days < 0 else f"{days} days"
                soon.append(f"{path.name}: {its.subject.rfc4514_string()} ({left})")
    if soon:
        return warning(
            probe,
            f"at or near their end: {', '.join(soon)}",
            "Ask the vendor for the CA that follows: what this one signed ends with it, and its phones need "
            "another proof.",
        )
    return ok(probe, f"{count} certificates, all good for {CA_DAYS} days and more")


def _private(config: Config) -> list[Path]:
    legacy = (True,) if config.listen.phones_legacy else ()
    keys = [installation.certificate(config, legacy=its)[1] for its in (False, *legacy)]
    own = [config.data.dir / name for name in ("ca-key.pem", "legacy-ca-key.pem")]
    tokens = [config.key_file, config.token_file, config.database_path, config.demo_file]
    return list(dict.fromkeys([*tokens, *keys, *own]))


def _elsewhere(config: Config) -> tuple[str, str]:
    why = f"there is no installation in {config.data.dir}"
    return why, "Run the doctor on the server's machine, with its --config."


def _is_sample(raw: bytes) -> bool:
    """All the same, counted up, a short pattern, or text."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(raw)}
    return len(set(raw)) < _FEWEST_BYTES or len(steps) == 1 or raw.isascii()
