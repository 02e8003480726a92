"""`provisioning` with its data directory on a small disk of its own: a tmpfs in a mount namespace.

Nothing of it is left when the process ends, however it ends. Others reach it by the name `seen`
beside the data directory.
"""

import ctypes
import os
import sys
from pathlib import Path

_NEW_NAMESPACES = 0x00020000 | 0x10000000  # CLONE_NEWNS | CLONE_NEWUSER
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE


def mount(directory: Path, size: str) -> None:
    """OSError: this system allows it to nobody like us."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    checked(libc.unshare(_NEW_NAMESPACES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    checked(libc.mount(b"none", b"/", None, _PRIVATE, None))
    checked(libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, f"size={size},mode=700".encode()))


if __name__ == "__main__":
    data = Path(os.environ["PROVISIONING__DATA__DIR"])
    data.mkdir(exist_ok=True)
    mount(data, os.environ["PROOF_DISK"])
    if sys.argv[1:] == ["try"]:
        sys.exit(0)
    seen = data.parent / "seen"
    seen.unlink(missing_ok=True)
    seen.symlink_to(f"/proc/{os.getpid()}/root{data}")
    from provisioning.__main__ import main

    sys.exit(main())
