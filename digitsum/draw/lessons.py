"""What the page's models are taught: one lesson at a time, beside the answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitsum.checkpoint import save_checkpoint
from digitsum.errors import DigitsumError, is_out_of_memory
from digitsum.inference import LoadedModel
from digitsum.training.teaching import teach

DIGITS = 4  # that each strip of a lesson holds


class _Stopped(Exception):  # noqa: N818
    """The person has stopped the lesson."""


class Lessons:
    """The models of the page by name; what one learns takes its place until it is forgotten.

    Args:
        models: As they were loaded.

    Attributes:
        models: As they are now.
    """

    def __init__(self, models: dict[str, LoadedModel]) -> None:
        self.models = models
        self._starts: dict[str, LoadedModel] = {}  # of those that have learnt
        self._running = Lock()
        self._thread: Thread | None = None
        self._stop = False
        self._share = 0.0
        self._said: dict[str, Any] = {}  # of the last lesson

    def begin(self, name: str, strips: Sequence[NDArray[np.uint8]], sums: Sequence[int]) -> bool:
        """Begins a lesson for a model; False if another one is under way.

        Args:
            name: Of the model.
            strips: uint8 (40, W) each.
            sums: The sum of each.
        """
        if not self._running.acquire(blocking=False):
            return False
        self._stop, self._share, self._said = False, 0.0, {"model": name}
        thread = Thread(target=self._teach, args=(name, strips, sums), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there is no memory for one
            self._running.release()
            raise
        self._thread = thread
        return True

    def stop(self) -> None:
        """Ends the lesson that is under way, if there is one; nothing is learnt."""
        self._stop = True

    def end(self) -> None:
        """Stops the lesson and waits for its thread: torch aborts a program that leaves one."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def forget(self, name: str) -> bool:
        """Puts the model back that was loaded; False while it learns."""
        if not self._running.acquire(blocking=False):
            return False
        self.models[name] = self._starts.pop(name, self.models[name])
        self._said = {}
        self._running.release()
        return True

    def state(self) -> dict[str, Any]:
        """What the page shows: who can be taught, who has learnt, and how the lesson goes."""
        return {
            "teachable": [name for name, model in self.models.items() if model.arch == "reader"],
            "taught": list(self._starts),
            "running": self._running.locked(),
            "share": round(self._share, 2),
            **self._said,
        }

    def checkpoint(self, name: str) -> bytes | None:
        """The file of a model that has learnt; None of another one."""
        if name not in self._starts:
            return None
        with TemporaryDirectory() as folder:
            path = Path(folder) / "mine.pt"
            save_checkpoint(self.models[name].checkpoint, path)
            return path.read_bytes()

    def _teach(self, name: str, strips: Sequence[NDArray[np.uint8]], sums: Sequence[int]) -> None:
        """The lesson, in a thread of its own."""
        said: dict[str, Any] = {}
        try:
            before = self.models[name]
            lesson = teach(before, strips, sums, DIGITS, self._progress)
            if lesson.kept:
                self._starts.setdefault(name, before)
                self.models[name] = lesson.model
            counts = {"strips": lesson.strips, "before": lesson.before, "after": lesson.after}
            said = {"lesson": {**counts, "kept": lesson.kept}}
        except _Stopped:
            said = {"stopped": True}
        except DigitsumError as error:
            said = {"error": str(error)}
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = {"error": "this machine is out of memory: nothing was learnt"}
        finally:
            self._said = {
                "model": name,
                **(said or {"error": "nothing was learnt: see the terminal"}),
            }
            self._running.release()

    def _progress(self, share: float) -> None:
        self._share = share
        if self._stop:
            raise _Stopped
