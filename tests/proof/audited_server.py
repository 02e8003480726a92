"""`provisioning ...` that reports every path it touches and every process it starts, once it is ready.

    python audited_server.py REPORT serve

A line for each, told once: `inside|outside <event> <path>`. Imports are Python's own: they are left out.
"""

import os
import sys
from pathlib import Path

_PATHS = {
    *("open", "sqlite3.connect", "glob.glob", "glob.glob/2", "pathlib.Path.glob", "pathlib.Path.rglob"),
    *(
        "os.listdir",
        "os.scandir",
        "os.chdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.link",
        "os.symlink",
    ),
    *("os.chmod", "os.chown", "os.truncate", "os.utime", "os.setxattr", "os.getxattr", "os.listxattr"),
    *("shutil.copyfile", "shutil.copytree", "shutil.move", "shutil.rmtree", "shutil.unpack_archive"),
}
_PROCESSES = {
    *("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "os.fork"),
    *("os.forkpty", "pty.spawn", "os.kill", "ctypes.dlopen", "socket.connect"),
}
_IMPORTING = "<frozen importlib._bootstrap_external>"


def watch(report: Path, ready: Path, roots: list[str]) -> None:
    told: set[str] = set()
    fd = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    armed = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal armed
        if event in _PATHS:
            where = arguments[0]
            if isinstance(where, int):
                return
        elif event in _PROCESSES:
            where = None
        else:
            return
        if not armed:
            armed = os.access(ready, os.F_OK)
            return
        if where is None:
            line = f"outside {event} {str(arguments)[:200]}\n"
        else:
            path = os.path.realpath(os.fsdecode(where))  # type: ignore[arg-type]  # a path, whatever its type
            inside = any(path == root or path.startswith(root + os.sep) for root in roots)
            line = f"{'inside' if inside else 'outside'} {event} {path}\n"
        if line not in told and not _importing():
            told.add(line)
            os.write(fd, line.encode("utf-8", "backslashreplace"))

    sys.addaudithook(hook)


def _importing() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None ends it
    return False


def main() -> int:
    report, *arguments = sys.argv[1:]
    # The folder of the proofs is none of the server's.
    del sys.path[0]
    from provisioning import config
    from provisioning.__main__ import main as provisioning

    settings = config.load(None)
    roots = [settings.data.dir, settings.paths.firmware, settings.paths.templates]
    watch(Path(report), settings.ready_file, [os.path.realpath(root) for root in roots])
    return provisioning(arguments)


if __name__ == "__main__":
    sys.exit(main())
