"""The inside of a container, up to the moment when its program starts.

Runs in the child that the supervisor forked, so it may import freely: all of it is gone with `execve`. In this order:

    cgroups        while the process still may write there
    session        of its own, standard streams to the supervisor's pipes
    mounts         a private mount namespace: made by root directly ("root"), or inside a user namespace in which the
                   ordinary user stands for himself ("user"), or none at all ("none": the daemon then rewrites paths)
    limits         open files, no core dumps
    privileges     an unprivileged uid where the daemon chose one; else root without its capabilities; no_new_privs

Each hardening step that a kernel or a container refuses is skipped: a pod must not fail because the machine is plain.
Only what the pod itself asked for (a mount, a program) may fail, with a sentence that becomes the container's message.

Mount points that the host lacks are made without touching the host: a tmpfs goes over the nearest directory that
exists, and what was in that directory is bound back into it. When a top-level directory is missing, the same is done
for `/` itself, with a chroot.
"""

# Pathlib would cost each start of a container 3 ms, and hides which calls may follow a link.
# ruff: noqa: PTH102, PTH103, PTH112, PTH116, PTH118, PTH120, PTH123, PTH211

import ctypes
import fcntl
import json
import os
import resource
import signal
import stat
import sys
import termios
from typing import Any, Final, NoReturn

Spec = dict[str, Any]

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_RDONLY: Final = 1
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_UNBINDABLE: Final = 1 << 17
_MS_PRIVATE: Final = 1 << 18
# statvfs calls them ST_*; three of the bits differ from the MS_* that mount() takes.
_KEPT_FLAGS: Final = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAP_NET_BIND_SERVICE: Final = 10
_CAPABILITIES: Final = 64

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The container cannot be set up; the text is for its owner, the code what a shell would end with."""

    code = 126


class NotFound(Refused):
    """There is no such program."""

    code = 127


def load(spec_file: str) -> Spec:
    """Read the container's half of the file."""
    with open(spec_file, "rb") as file:
        spec: Spec = json.loads(file.read().partition(b"\n\n")[2])
    return spec


def become(spec: Spec, streams: tuple[int, int, int], parent: int) -> NoReturn:
    """Turn this process into the container's program; raises what went wrong."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _join_cgroups(spec)
    os.setsid()
    for standard, stream in enumerate(streams):
        if stream != standard:
            os.dup2(stream, standard)
    if os.isatty(0):
        _take_terminal(spec)
    os.umask(0o022)
    _arrange(spec)
    _limit(spec)
    _drop_privileges(spec)
    # Cleared by a change of credentials, so it comes after.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(137)
    _execute(spec, spec["argv"])


def _take_terminal(spec: Spec) -> None:
    """Make the standard input the terminal of this session, and the pod's user its owner."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if spec.get("user"):
        os.fchown(0, spec["user"]["uid"], -1)
    spec["env"].setdefault("TERM", "xterm")


def execute(spec_file: str, pid: int, argv: list[str]) -> NoReturn:
    """Run another program in the surroundings of a running container: probes, hooks, `kubectl exec`.

    It dies with the process that asks for it, so that a daemon that is killed leaves none behind.
    """
    spec = load(spec_file)
    try:
        if os.isatty(0):
            _take_terminal(spec)
        _join_cgroups(spec)
        _enter_namespaces(spec, pid)
        _limit(spec)
        _drop_privileges(spec)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _execute(spec, argv)
    except (Refused, OSError) as error:
        sys.stderr.write(f"exec failed: unable to start container process: {error}\n")
        sys.stderr.flush()
        os._exit(error.code if isinstance(error, Refused) else 126)


def possible() -> str:
    """Try each kind of mount namespace in a child; return JSON {"isolation": …, "why": …}."""
    why = []
    for kind in ("root", "user"):
        receiver, sender = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            _try(kind, sender)
        os.close(sender)
        complaint = os.read(receiver, 4096).decode("utf-8", "replace")
        os.close(receiver)
        if os.waitpid(child, 0)[1] == 0:
            return json.dumps({"isolation": kind, "why": ""})
        why.append(f"{kind}: {complaint}")
    return json.dumps({"isolation": "none", "why": "; ".join(why)})


def _try(kind: str, complaint: int) -> NoReturn:
    try:
        _new_mount_namespace(kind)
        _mount("tmpfs", "/etc", "tmpfs", 0, "mode=755")
        os.mkdir("/etc/probe")
        _bind("/usr", "/etc/probe", read_only=True)
        _expect_read_only("/etc/probe")
    except BaseException as error:  # noqa: BLE001 - the parent prints it
        os.write(complaint, str(error).encode())
        os._exit(1)
    os._exit(0)


def _put(path: str, text: str) -> None:
    """Write a control file of the kernel: it exists, and takes the text in one write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _expect_read_only(path: str) -> None:
    if not os.statvfs(path).f_flag & os.ST_RDONLY:
        raise Refused("a read-only mount is not read-only")


def _join_cgroups(spec: Spec) -> None:
    for path in spec.get("cgroups", []):
        try:
            _put(f"{path}/cgroup.procs", "0")
        except OSError as error:
            os.write(2, f"cannot join the cgroup {path}: {error.strerror}\n".encode())


def _new_mount_namespace(kind: str) -> None:
    if kind == "root":
        _call("unshare", _CLONE_NEWNS)
    else:
        uid, gid = os.geteuid(), os.getegid()
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            _put(f"/proc/self/{name}", text)
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE, None)


def _enter_namespaces(spec: Spec, pid: int) -> None:
    kind = spec["isolation"]
    if kind == "none":
        return
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    names = ("user", "mnt") if kind == "user" else ("mnt",)
    namespaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
    for namespace in namespaces:
        _call("setns", namespace, 0)
        os.close(namespace)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)


# Mounts


def _arrange(spec: Spec) -> None:
    if spec["isolation"] == "none" or not spec["mounts"]:
        return
    _new_mount_namespace(spec["isolation"])
    mounts = sorted(spec["mounts"], key=lambda mount: mount["path"].rstrip("/").count("/"))
    # All sources are opened before the first mount can cover one of them.
    sources = [open_below(mount["source"], mount.get("subPath", ""), owner_of_new(spec, mount)) for mount in mounts]
    # Directories that belong to the pod: a mount point may be made inside them.
    own: set[str] = set()
    if any(not os.path.lexists("/" + mount["path"].strip("/").partition("/")[0]) for mount in mounts):
        _replace_root(spec["directory"])
        own.add("/")
    for mount, source in zip(mounts, sources, strict=True):
        path = os.path.realpath(mount["path"])
        directory = stat.S_ISDIR(os.fstat(source).st_mode)
        try:
            _make_point(path, own, directory=directory)
            _bind(f"/proc/self/fd/{source}", path, read_only=mount["readOnly"])
        except OSError as error:
            raise Refused(f"cannot mount {mount['path']}: {error.strerror}") from error
        if directory and not mount["readOnly"]:
            own.add(path)
    for source in sources:
        os.close(source)


def owner_of_new(spec: Spec, mount: dict[str, Any]) -> int | None:
    """Who owns the directories of a subPath that are made because they are missing; None: they are not made."""
    if mount["readOnly"]:
        return None
    return spec["user"]["uid"] if spec.get("user") else os.geteuid()


def open_below(base: str, sub_path: str, new_owner: int | None) -> int:
    """Open `base/sub_path` without leaving `base`, whatever symbolic links a container has planted in there.

    Links that stay inside are followed (a ConfigMap volume is made of them): the path is resolved first, and the
    resolved one is then opened part by part without following any.
    """
    top = os.path.realpath(base)
    wanted = os.path.realpath(os.path.join(top, sub_path)) if sub_path else top
    if wanted != top and not wanted.startswith(top.rstrip("/") + "/"):
        raise Refused(f"cannot mount subPath {sub_path!r}: it leads out of the volume")
    try:
        descriptor = os.open(top, os.O_PATH | os.O_CLOEXEC)
        for part in [part for part in wanted[len(top) :].split("/") if part]:
            below = _open_part(descriptor, part, new_owner)
            os.close(descriptor)
            descriptor = below
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise Refused(f"cannot mount subPath {sub_path!r}: it changed while it was opened")
    except OSError as error:
        raise Refused(f"cannot mount subPath {sub_path!r}: {error.strerror}") from error
    return descriptor


def _open_part(directory: int, name: str, new_owner: int | None) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        if new_owner is None:
            raise
    os.mkdir(name, 0o755, dir_fd=directory)
    os.chown(name, new_owner, -1, dir_fd=directory, follow_symlinks=False)
    return os.open(name, flags, dir_fd=directory)


def _make_point(path: str, own: set[str], *, directory: bool) -> None:
    """Make the mount point, in private where the place is not the pod's own."""
    if os.path.lexists(path):
        if os.path.isdir(path) != directory:
            kind = "a directory" if directory else "a file"
            raise Refused(f"cannot mount {path}: the volume is {kind} and the path is not")
        return
    parent = os.path.dirname(path)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not any(parent == place or parent.startswith(place.rstrip("/") + "/") for place in _writable(own, parent)):
        _cover(parent)
        own.add(parent)
    if directory:
        os.makedirs(path, 0o755)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _writable(own: set[str], parent: str) -> list[str]:
    """The pod's places that hold `parent` on their own file system, not on a read-only mount inside them."""
    device = os.stat(parent).st_dev
    return [place for place in own if os.stat(place).st_dev == device]


def _cover(directory: str) -> None:
    """Put a tmpfs over a directory and bind its old content back into it."""
    old = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(old).st_mode)
    _mount("tmpfs", directory, "tmpfs", 0, f"mode={mode:o},size=1m")
    _bind_entries(old, directory)
    os.close(old)


def _replace_root(scratch: str) -> None:
    """Make a private root that holds the old root's entries, and change into it."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # Unbindable: binding /var must not bind the new root into itself.
    _mount("tmpfs", scratch, "tmpfs", 0, "mode=755,size=1m")
    _mount(None, scratch, None, _MS_UNBINDABLE, None)
    _bind_entries(old, scratch)
    os.close(old)
    os.chroot(scratch)
    os.chdir("/")


def _bind_entries(old: int, new: str) -> None:
    with os.scandir(f"/proc/self/fd/{old}") as entries:
        for entry in entries:
            source, target = f"/proc/self/fd/{old}/{entry.name}", f"{new.rstrip('/')}/{entry.name}"
            try:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.name, dir_fd=old), target)
                    continue
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(target)
                else:
                    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
                _mount(source, target, None, _MS_BIND | _MS_REC, None)
            except OSError:
                continue  # an entry that vanished meanwhile, or that this user may not see


def _bind(source: str, target: str, *, read_only: bool) -> None:
    # Always recursive: inside a user namespace the kernel refuses to show what a locked mount covers.
    _mount(source, target, None, _MS_BIND | _MS_REC, None)
    if read_only:
        # Flags that the mount has must be given again; in a user namespace dropping one is forbidden.
        present = os.statvfs(target).f_flag
        kept = sum(given for seen, given in _KEPT_FLAGS.items() if present & seen)
        _mount(None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept, None)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def _call(name: str, *arguments: int) -> None:
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


# Limits and privileges


def _limit(spec: Spec) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = spec["openFiles"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _drop_privileges(spec: Spec) -> None:
    if os.geteuid() == 0:
        # Capabilities stay reachable for uid 0 through execve unless they leave the bounding set.
        for number in range(_CAPABILITIES):
            if number != _CAP_NET_BIND_SERVICE:
                libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        user = spec.get("user")
        if user:
            os.setgroups([])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _execute(spec: Spec, argv: list[str]) -> NoReturn:
    program = argv[0]
    try:
        os.chdir(spec["cwd"])
    except OSError as error:
        raise Refused(f'chdir to cwd ("{spec["cwd"]}"): {os.strerror(error.errno or 0).lower()}') from error
    try:
        os.execvpe(program, argv, spec["env"])  # noqa: S606 - no shell is the point
    except FileNotFoundError as error:
        if "/" in program:
            raise NotFound(f'exec: "{program}": stat {program}: no such file or directory') from error
        raise NotFound(f'exec: "{program}": executable file not found in $PATH') from error
    except OSError as error:
        raise Refused(f'exec: "{program}": {os.strerror(error.errno or 0).lower()}') from error
