"""Makes this interpreter a zygote: it loads a script once, then forks jails in which the script's `main` runs.

    python3 ... /llmc/zygote.py /llmc/boot.py [library ...]

Descriptor 0 is the library that forks (`llmc-zygote`), 3 the socket to the runner; libraries that the former needs
are named. The script is loaded under the name `__ahead__` instead of `__main__`. Its function `ahead` imports what its
jobs usually need; its function `rehearse` is called in each child while that waits, to touch, and so copy, the memory
that a job will. No job's code ever runs in this process. A child returns from `llmc_nest_next` behind its walls, and
from `llmc_nest_await` with a job's descriptors 0 to 3 and limits. What `main` returns becomes the exit code.
"""

import ctypes
import gc
import sys
from io import open
from os import _exit


def load(path):
    script = type(sys)("__ahead__")
    script.__file__ = path
    with open(path, encoding="utf-8") as source:
        code = compile(source.read(), path, "exec")
    sys.modules["__main__"] = script
    exec(code, script.__dict__)
    script.ahead()
    return script


def serve(library, script):
    """Forks until the runner is gone; returns in children only."""
    if library.llmc_nest_open() != 0:
        _exit(1)
    while True:
        ctypes.pythonapi.PyOS_BeforeFork()
        role = library.llmc_nest_next()
        if role == 1:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            open_streams()
            script.rehearse()
            if library.llmc_nest_await() != 0:
                _exit(1)
            return
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        if role != 0:
            _exit(0)


def open_streams():
    """The interpreter's own three, made for what a zygote has there. What the job gets there is of the same kind."""
    utf8 = {"encoding": "utf-8", "closefd": False}
    sys.stdin = open(0, "r", errors="surrogateescape", **utf8)
    sys.stdout = open(1, "w", errors="surrogateescape", **utf8)
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, **utf8)
    for stream, name in (sys.stdin, "<stdin>"), (sys.stdout, "<stdout>"), (sys.stderr, "<stderr>"):
        stream.buffer.raw.name = name
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def main():
    for needed in sys.argv[2:]:
        ctypes.CDLL(needed)
    library = ctypes.PyDLL("/proc/self/fd/0")
    script = load(sys.argv[1])
    gc.collect()
    gc.freeze()  # What is here already is no garbage of any job: collections need not touch, and copy, its memory.
    serve(library, script)
    library.llmc_nest_exit(script.main())


main()
