"""Two hosts on this machine: network namespaces joined by a veth pair, each with a name and addresses of its own.

    with two_hosts() as (a, b):
        processes = [fork_server.start_code(host.enter() + CODE, …) for host in (a, b)]
        a.ip("link", "set", "veth", "down")    # the cable is pulled

A namespace lives as long as a process in it, which ends with the test that started it: nothing is left behind. Without
root rights both lie in a user namespace, where the system allows it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

ENTER = """
import ctypes, os, tempfile
libc = ctypes.CDLL(None, use_errno=True)

def done(status):
    if status:
        raise OSError(ctypes.get_errno(), "cannot enter the host")

for kind in {kinds}:
    opened = os.open("/proc/{pid}/ns/" + kind, os.O_RDONLY)
    done(libc.setns(opened, 0))
    os.close(opened)
NEW_MOUNTS, NEW_NAME, BIND, OF_ITS_OWN = 0x20000, 0x4000000, 0x1000, 0x4000 | 0x40000
done(libc.unshare(NEW_MOUNTS | NEW_NAME))
done(libc.sethostname(b"{name}", len(b"{name}")))
done(libc.mount(b"none", b"/", None, OF_ITS_OWN, None))
opened, path = tempfile.mkstemp()
os.write(opened, {hosts!r}.encode())
os.chmod(path, 0o644)
os.close(opened)
done(libc.mount(path.encode(), b"/etc/hosts", None, BIND, None))
os.unlink(path)
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A network namespace, known by a process in it."""

    name: str
    ipv4: str
    ipv6: str
    pid: int
    as_root: bool

    def ip(self, *arguments: str) -> None:
        """Run `ip` in the namespace."""
        namespaces = [] if self.as_root else ["--user", "--preserve-credentials"]
        command = ["nsenter", f"--target={self.pid}", *namespaces, "--net", "ip", *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def enter(self, more: str = "") -> str:
        """Return code that moves its process here, where /etc/hosts is Debian's, with these lines `more`."""
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n{more}"
        kinds = ("net",) if self.as_root else ("user", "net")
        return ENTER.format(kinds=kinds, pid=self.pid, name=self.name, hosts=hosts)


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts, first and second; skip the test, with the reason, where that is impossible."""
    for tool in ("ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"two hosts need the program {tool} (Debian, Ubuntu: apt install iproute2 util-linux)")
    as_root = os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        first = keep(stack, ["unshare", *([] if as_root else ["--user", "--map-root-user"]), "--net"])
        inside = [] if as_root else ["nsenter", f"--target={first}", "--user", "--preserve-credentials"]
        second = keep(stack, [*inside, "unshare", "--net"])
        hosts = (
            Host("first", "10.77.0.1", "fd77::1", first, as_root),
            Host("second", "10.77.0.2", "fd77::2", second, as_root),
        )
        try:
            hosts[0].ip("link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", str(second))
            for host in hosts:
                host.ip("address", "add", f"{host.ipv4}/24", "dev", "veth")
                host.ip("-6", "address", "add", f"{host.ipv6}/64", "dev", "veth", "nodad")
                for link in ("lo", "veth"):
                    host.ip("link", "set", link, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be joined here: {error.stderr.strip()}")
        yield hosts


def keep(stack: contextlib.ExitStack, command: list[str]) -> int:
    """Return the pid of a process in new namespaces, which ends when this one does or the stack is closed."""
    holder = subprocess.Popen(
        [*command, "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stack.callback(holder.communicate)  # closes its input: it ends
    if not holder.stdout.readline():
        pytest.skip(f"network namespaces cannot be made here: {holder.stderr.read().strip()}")
    return holder.pid
