"""Nothing is dialled and nothing is written but what was asked for, whatever the libraries below would like.

Each command runs in a fresh process with an empty HOME, without CI, under two guards: an audit hook, which sees what
Python opens, makes and dials, and refuses to dial; and, where strace works, the kernel's own view, which also sees
native code.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .training import coloured

QUICK = ("picture.size=64", "probe.views=1", "probe.folds=2", "probe.shrinkage=0.1", "probe.power=1")
GUARD = """
import os, sys

_log = os.open(os.environ["GUARD_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MAKES = {"os.mkdir": (0,), "os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,)}
_NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request"}


def _note(kind, what):
    os.write(_log, f"{kind} {what}\\n".encode("utf-8", "backslashreplace"))


def _path(name):
    return os.path.abspath(os.fsdecode(name))


def _hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and isinstance(args[2], int) and args[2] & _WRITES:
        _note("write", _path(args[0]))
    elif event in _MAKES:
        for place in _MAKES[event]:
            if isinstance(args[place], (str, bytes)):
                _note("write", _path(args[place]))
    elif event in _NAMES or (event in ("socket.connect", "socket.sendto", "socket.bind") and args[0].family != 1):
        _note("dial", f"{event} {args[1:]}")
        raise OSError("this test lets nobody dial")


sys.addaudithook(_hook)
_note("write", os.environ["GUARD_LOG"])
"""
CALLS = "network,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,link,linkat,mknod,mknodat"
TRACED = ("strace", "-f", "-y", "-qq", "-s", "4096", "-e", f"trace={CALLS}")
DIALS = re.compile(r"^(?:connect|sendto|sendmsg|sendmmsg|bind)\(.*sa_family=(?!AF_UNIX|AF_NETLINK)(\w+)")
OPENS = re.compile(r"^(?:openat|open|creat)\(")
MAKES = re.compile(r"^(?:mkdir|rename|symlink|link|mknod)\w*\(")
NO_FILES = ("/dev/null", "/dev/tty", "/proc/self/", "/dev/shm/sem.")  # semaphores: joblib tries whether they work
QUOTED = re.compile(r'(?:AT_FDCWD<(?P<here>[^>]*)>|\d+<(?P<folder>[^>]*)>)?(?:, )?"(?P<path>(?:[^"\\]|\\.)*)"')


def strace_works() -> bool:
    tool = shutil.which("strace")
    return tool is not None and subprocess.run([tool, "-f", "-o", os.devnull, "true"], check=False).returncode == 0


STRACE = strace_works()


@dataclass(frozen=True)
class Place:
    """A folder with an empty home, a temporary folder, a cache and data; commands run in `work`."""

    root: Path

    def __post_init__(self):
        for name in ("home", "temp", "cache", "work", "guard"):
            (self.root / name).mkdir()
        (self.root / "guard" / "sitecustomize.py").write_text(GUARD)
        coloured(self.root / "data")

    @property
    def allowed(self) -> tuple[Path, ...]:
        return tuple(self.root / name for name in ("temp", "cache", "work"))

    def run(self, *arguments: str, code: str | None = None) -> tuple[str, list[str]]:
        """Standard output, and what was done that nobody asked for."""
        log, trace = self.root / "guard" / "python.log", self.root / "guard" / "kernel.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, *(("-c", code) if code else ("-m", "fieldmark")), *arguments]
        if STRACE:
            command = [*TRACED, "-o", str(trace), *command]
        environment = {
            "HOME": str(self.root / "home"),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.root / "temp"),
            "FIELDMARK_CACHE": str(self.root / "cache"),
            "PYTHONPATH": str(self.root / "guard"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GUARD_LOG": str(log),
        }
        done = subprocess.run(
            command,
            cwd=self.root / "work",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        lines = log.read_text(encoding="utf-8").splitlines()
        assert lines, "the guard was not there"
        return done.stdout, self.unasked(lines + (kernel_lines(trace, self.root / "work") if STRACE else []))

    def unasked(self, lines: list[str]) -> list[str]:
        """The lines of a guard that tell of dialling, or of writing where nothing was to be written."""
        found = []
        for line in lines:
            kind, _, what = line.partition(" ")
            inside = any(Path(what).is_relative_to(place) for place in (*self.allowed, self.root / "guard"))
            if kind == "dial" or not (inside or what.startswith(NO_FILES)):
                found.append(line)
        return found


def kernel_lines(trace: Path, cwd: Path) -> list[str]:
    """The system calls of a trace in the words of the audit hook; calls that failed wrote nothing."""
    found = []
    for raw in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        call = raw.partition(" ")[2].strip()
        if DIALS.search(call):
            found.append(f"dial {call}")
        if re.search(r"= -1 E\w+", call):
            continue
        if (OPENS.match(call) and re.search(r"O_WRONLY|O_RDWR|O_CREAT|^creat", call)) or MAKES.match(call):
            for named in QUOTED.finditer(call):
                base = Path(named["here"] or named["folder"] or cwd)
                found.append(f"write {os.path.normpath(base / named['path'])}")
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("silence"))


@pytest.fixture(scope="module")
def trained(place: Place) -> list[str]:
    """What a training with the default backbone did unasked; its run is `work/run`."""
    settings = [part for setting in QUICK for part in ("--set", setting)]
    out, unasked = place.run("train", "../data", "--out", "run", "--json", *settings)
    assert json.loads(out.splitlines()[-1])["skipped"] == 0
    return unasked


@pytest.fixture(autouse=True)
def _empty_home(place: Place):
    yield
    assert list((place.root / "home").iterdir()) == []
    assert [p for p in (place.root / "temp").rglob("*") if not p.is_dir()] == []  # torch leaves an empty folder


def test_the_guards_see_what_python_does(place):
    code = (
        "import os, socket, pathlib\n"
        "pathlib.Path('../guarded').mkdir(); os.rmdir('../guarded'); open('mine', 'w').close()\n"
        "home = pathlib.Path(os.environ['HOME'], 'id'); home.write_text('me'); home.unlink()\n"
        "try: socket.create_connection(('127.0.0.1', 9), timeout=1)\n"
        "except OSError: pass\n"
    )
    _, unasked = place.run(code=code)
    assert f"write {place.root / 'guarded'}" in unasked
    assert f"write {place.root / 'home' / 'id'}" in unasked
    assert any(line.startswith("dial socket.getaddrinfo") for line in unasked)
    assert not [line for line in unasked if "mine" in line]


@pytest.mark.skipif(not STRACE, reason="strace is not there or may not trace")
def test_the_guards_see_what_native_code_does(place):
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "name = os.path.join(os.environ['HOME'], 'native').encode()\n"
        "assert libc.creat(name, 0o600) >= 0; os.unlink(name)\n"
        "s = libc.socket(2, 2, 0); libc.connect(s, bytes([2, 0, 0, 9, 127, 0, 0, 1]) + bytes(8), 16)\n"
    )
    _, unasked = place.run(code=code)
    assert f"write {place.root / 'home' / 'native'}" in unasked
    assert any(line.startswith("dial connect(") for line in unasked)


@pytest.mark.slow
def test_training_is_silent(trained):
    assert trained == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "evaluate run ../data --out scored --json",
        "predict run ../data --format jsonl",
        "explain run ../data/ash/00.png --out explained",
        "export run --to zip --out run.fieldmark",
        "models lite --json",
        "data --json",
    ],
    ids=lambda words: words.split()[0],
)
@pytest.mark.usefixtures("trained")
def test_the_verbs_are_silent(place, words):
    out, unasked = place.run(*words.split())
    assert out
    assert unasked == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.usefixtures("trained")
def test_the_engines_are_silent(place, engine):
    pytest.importorskip(engine)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from fieldmark.field.runtime import compile_engine\n"
        f"engine = compile_engine(pathlib.Path('run/bundle/model.onnx').read_bytes(), 'f32', name={engine!r})\n"
        "print(engine.run(np.zeros((1, 64, 64, 3), np.uint8), ('logits',))['logits'].shape)\n"
    )
    out, unasked = place.run(code=code)
    assert out == "(1, 3)\n"
    assert unasked == []
