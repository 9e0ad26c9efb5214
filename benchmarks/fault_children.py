"""Child processes of `faults.py`: each tries one case, with limits, and is watched from outside.

They are forked from a process that has imported everything and computed nothing, which is quick,
and safe as long as it starts no threads. What crashes, hangs or eats memory takes nothing along.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

AT_ONCE = 2
IDLE = 30  # seconds; a busy machine lets a process compute sooner than that
MEMORY = 3 << 30  # bytes that a child may ask for beyond what is there: it spares the machine
BUG = 70  # exit code of a child whose exception nobody expected
WANTED_TOO_MUCH = "hit the harness's limit of memory"
RAISED = re.compile(r"^[\w.]*?(\w+(?:Error|Exception|Exit|Interrupt)):", re.M)
NO_MEMORY = re.compile(
    r"out of memory|MemoryError|can't allocate|cannot allocate|bad_alloc|not enough memory", re.I
)


@dataclass(frozen=True)
class Case:
    """What one child does.

    Attributes:
        name: For examples.
        work: Called in the child; what it gives is the exit code.
        folder: Where it runs; `judge_all` removes it.
        seconds: Of computing, after which it hangs; so it does after `IDLE` seconds without.
        file_bytes: The longest file that it may write, in bytes.
        size: Of the file that it opens, by which its memory is measured.
    """

    name: str
    work: Callable[[], object]
    folder: Path
    seconds: float = 120
    file_bytes: int | None = None
    size: int = 0


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    code: int  # or minus the number of a signal
    out: str
    err: str
    megabytes: float  # the most that it held beyond what it had at its start
    hung: bool = False

    @property
    def last_line(self) -> str:
        """Of what it wrote to stderr."""
        return (self.err.splitlines() or [""])[-1]

    def broken(self) -> str:
        """What no case may end with: a hang, a crash, a traceback; empty if it did not."""
        if self.hung:
            return "hung"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        if "Traceback" in self.err or self.code == BUG:
            return f"traceback of {(RAISED.findall(self.err) or ['?'])[-1]}"
        if NO_MEMORY.search(self.err):
            return WANTED_TOO_MUCH
        return ""

    def refused(self) -> bool:
        """Whether a command said in one line why it did nothing."""
        said = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return self.code in (1, 2) and said == [self.last_line]


class Child:
    """A case in a process of its own."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.computed, self.heard_of = 0.0, time.monotonic()
        pipes = os.pipe(), os.pipe(), os.pipe()  # out, err, and the memory at its start
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _run(case, *(write for _, write in pipes))
        for _, write in pipes:
            os.close(write)
        self.pipes = [read for read, _ in pipes]
        for read in self.pipes:
            os.set_blocking(read, False)
        self.heard = [bytearray() for _ in pipes]
        self.hung = False

    def poll(self) -> Ended | None:
        """How it ended, once it has."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        for read, heard in zip(self.pipes, self.heard, strict=True):
            with suppress(BlockingIOError):
                while more := os.read(read, 1 << 16):
                    heard += more
        if not pid:
            self._watch()
            return None
        for read in self.pipes:
            os.close(read)
        out, err, held = (heard.decode(errors="replace") for heard in self.heard)
        code = os.waitstatus_to_exitcode(status)
        grown = usage.ru_maxrss - int(held or usage.ru_maxrss)
        return Ended(code, out, err, grown / 1024, self.hung)

    def _watch(self) -> None:
        """Ends it if it hangs. How long it takes by the clock says more of the machine."""
        now, ticks = time.monotonic(), Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2]
        computed = sum(map(int, ticks.split()[11:13])) / os.sysconf("SC_CLK_TCK")
        if computed > self.computed:
            self.computed, self.heard_of = computed, now
        if not self.hung and (computed > self.case.seconds or now > self.heard_of + IDLE):
            self.hung = True
            self.kill()

    def kill(self) -> None:
        """Ends it, and what it has started."""
        for kill in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)


def run_all(cases: Iterable[Case], at_once: int = AT_ONCE) -> Iterator[tuple[Case, Ended]]:
    """Runs cases side by side; gives each as it ends.

    Args:
        cases: They are asked for when there is room, so that a generator may prepare them.
        at_once: How many.
    """
    waiting, running = iter(cases), list[Child]()
    while True:
        while len(running) < at_once and (case := next(waiting, None)) is not None:
            running.append(Child(case))
        if not running:
            return
        for child in list(running):
            if ended := child.poll():
                running.remove(child)
                yield child.case, ended
        time.sleep(0.002)


def run_batched(
    cases: Iterable[Case], megabytes: float, size: int = 20
) -> Iterator[tuple[Case, Ended]]:
    """The same, many cases in one child, which is quicker.

    Where a batch does not end as all of it should, its cases are run again, each alone; so is one
    that takes more than `megabytes`. If none of them shows what the batch did, the batch is given.
    """
    waiting = iter(cases)
    made = iter(lambda: list(islice(waiting, size)), [])
    batches = (
        Case("a batch", Batch(batch), batch[0].folder, sum(c.seconds for c in batch))
        for batch in made
    )
    for batch, ended in run_all(batches):
        assert isinstance(batch.work, Batch)
        whole = batch.work.ended(ended)
        if (
            ended.code == 0
            and ended.megabytes <= megabytes
            and not any(e.broken() for _, e in whole)
        ):
            yield from whole
            continue
        alone = list(run_all(batch.work.cases))
        yield from alone
        if ended.code and not any(e.broken() for _, e in alone):
            yield batch, ended


@dataclass(frozen=True)
class Batch:
    """The work of many cases, one after the other."""

    cases: list[Case]

    def __call__(self) -> None:
        out = os.dup(1)
        for case in self.cases:
            os.chdir(case.folder)
            caught = os.memfd_create("out"), os.memfd_create("err")
            _redirect(*caught)
            code = _exit_code(case.work)
            texts = [os.pread(stream, 1 << 20, 0).decode(errors="replace") for stream in caught]
            os.write(out, json.dumps([code, *texts]).encode() + b"\n")
            for stream in caught:
                os.close(stream)

    def ended(self, ended: Ended) -> list[tuple[Case, Ended]]:
        """How each case ended, those that were reached."""
        told = [json.loads(line) for line in ended.out.splitlines() if line.endswith("]")]
        return [(case, Ended(code, out, err, ended.megabytes))
                for case, (code, out, err) in zip(self.cases, told, strict=False)]  # fmt: skip


def import_all_of(work: Callable[[], object], folder: Path) -> None:
    """Imports what some work imports, so that children need not."""

    def tell() -> None:
        with suppress(SystemExit):
            work()
        print(*sys.modules, sep="\n")

    for name in run_one(Case("imports", tell, folder)).out.splitlines():
        if name.isascii() and not name.startswith("__") and name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)
    gc.freeze()


def run_one(case: Case) -> Ended:
    """Runs a case alone."""
    ((_, ended),) = run_all([case])
    return ended


def command(*words: object) -> Callable[[], None]:
    """`digitsum` with these words, as a child does it."""

    def work() -> None:
        from digitsum.__main__ import main

        sys.argv = ["digitsum", *map(str, words)]
        main()

    return work


def _run(case: Case, out: int, err: int, memory: int) -> NoReturn:
    """The child: its streams, its limits, its work."""
    code = BUG
    try:
        os.setpgid(0, 0)
        _redirect(out, err)
        os.write(memory, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode())
        os.chdir(case.folder)
        _limit(case)
        code = _exit_code(case.work)
    finally:
        os._exit(code & 0xFF)


def _exit_code(work: Callable[[], object]) -> int:
    """Does the work as the interpreter would, and gives its exit code."""
    code = BUG
    try:
        result = work()
        code = result if isinstance(result, int) else 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _redirect(out: int, err: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, out, err)):
        os.dup2(stream, number)
    os.close(nothing)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _limit(case: Case) -> None:
    if case.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (case.file_bytes,) * 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    held = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (held, held))
