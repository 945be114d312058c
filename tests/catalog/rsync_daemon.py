"""A real rsync daemon on loopback that serves a tree in the layout of COD."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cif_texts import cif

METALS = {"1000000": ("Ni", 3.52), "1000001": ("Cu", 3.615), "1000123": ("Ag", 4.086)}
OTHERS = {"2010500": ("Pd", 3.89), "2010501": ("Al", 4.05)}


def entry_path(number: str) -> str:
    """Where an entry lies in COD's tree: ``1/00/00/1000000.cif``."""
    return f"{number[0]}/{number[1:3]}/{number[3:5]}/{number}.cif"


def put(tree: Path, number: str, text: str, age_s: float = 1000.0) -> Path:
    """Write an entry with a whole-second time in the past."""
    path = tree / entry_path(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = int(time.time() - age_s)
    os.utime(path, (then, then))
    return path


def make_tree(tree: Path) -> Path:
    """Five entries in two ranges."""
    for number, (element, a) in {**METALS, **OTHERS}.items():
        put(tree, number, cif(element, a))
    return tree


@contextmanager
def daemon(tree: Path, work: Path, *lines: str) -> Iterator[str]:
    """Serve a tree as module ``cif``; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    work.mkdir(parents=True, exist_ok=True)
    config = work / "rsyncd.conf"
    whose = [f"uid = {os.getuid()}", f"gid = {os.getgid()}"]
    module = ["[cif]", f"path = {tree}", "read only = yes"]
    config.write_text("\n".join(["use chroot = no", *whose, *lines, *module]))
    place = ["--address", "127.0.0.1", "--port", str(port), "--config", str(config)]
    command = ["rsync", "--daemon", "--no-detach", *place]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"rsync://127.0.0.1:{port}/cif"
    finally:
        process.terminate()
        process.wait()
