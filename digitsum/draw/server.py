"""The server behind `digitsum draw`: small, for one person, closed to other sites."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import anyio
import numpy as np
import torch
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from digitsum.datasets.appearance import described, kinds_of
from digitsum.datasets.strips import MIN_WIDTH, ROWS
from digitsum.datasets.synthesis import Composition, compose
from digitsum.display import as_text, counted, percent
from digitsum.draw.lessons import DIGITS, Lessons
from digitsum.draw.strokes import MAX_WIDTH, parse, strip_of_strokes
from digitsum.errors import DigitsumError, is_out_of_memory
from digitsum.inference import LoadedModel
from digitsum.models.sum_likelihood import count_distribution, sum_distribution
from digitsum.predictions import UNLIKELY, Predictions

MAX_BYTES = 200_000  # of a request
MAX_SECONDS = 10  # until it is here
MAX_LESSON_BYTES = 1_000_000  # of a request that teaches
LESSON = (5, 20)  # fewest and most strips of a lesson
LESSON_WIDTH = 400  # pixels that each is wide at most
MAX_DIGITS = 24  # that a strip may be said to hold
STRIPS = 200  # to show at random
SHOWN = 6  # counts, and sums, that are shown with their probabilities
LEAST = 0.0005  # probability from which they are
BUSY = "a lesson is under way: wait for its end, or cancel it"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PAGE = {"": "text/html", "page.js": "text/javascript", "page.css": "text/css"}


class Refused(Exception):  # noqa: N818
    """A request that is answered with a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def make_app(models: Sequence[LoadedModel], hosts: Sequence[str]) -> Starlette:
    """The page, for these models, the first one chosen; answers under these host names only."""
    by_name = dict(zip(_distinct([as_text(model.name) for model in models]), models, strict=True))
    lessons = Lessons(by_name)
    made = compose("builtin", STRIPS, seed=secrets.randbits(32))

    async def predict(request: Request) -> Response:
        asked = await _body(request)
        try:
            answer = await run_in_threadpool(_predict, by_name, asked)
        except Exception as error:
            if is_out_of_memory(error):
                raise Refused(503, "this machine is out of memory: write less, or wait") from error
            raise
        return JSONResponse(answer, headers=HEADERS)

    def strip(request: Request) -> Response:
        return JSONResponse(_strip(made, secrets.randbelow(STRIPS)), headers=HEADERS)

    def names(request: Request) -> Response:
        return JSONResponse(list(by_name), headers=HEADERS)

    def lesson(request: Request) -> Response:
        return JSONResponse(lessons.state(), headers=HEADERS)

    async def teach(request: Request) -> Response:
        asked = await _body(request, MAX_LESSON_BYTES)
        name = _name(by_name, asked)
        if lessons.state()["running"]:
            raise Refused(409, BUSY)
        strips, sums = await run_in_threadpool(_written, asked.get("strips"))
        if not lessons.begin(name, strips, sums):
            raise Refused(409, BUSY)
        return lesson(request)

    async def stop(request: Request) -> Response:
        await _body(request)
        lessons.stop()
        return lesson(request)

    async def forget(request: Request) -> Response:
        if not lessons.forget(_name(by_name, await _body(request))):
            raise Refused(409, BUSY)
        return lesson(request)

    def mine(request: Request) -> Response:
        _check_site(request)
        content = lessons.checkpoint(request.query_params.get("model", ""))
        if content is None:
            raise Refused(404, "this model has learnt nothing: teach it first")
        attached = {"Content-Disposition": 'attachment; filename="mine.pt"'}
        return Response(content, media_type="application/octet-stream", headers=HEADERS | attached)

    routes = [Route(f"/{name}", _file(name or "page.html", kind)) for name, kind in PAGE.items()]
    routes += [
        Route("/models", names),
        Route("/strip", strip),
        Route("/predict", predict, methods=["POST"]),
        Route("/lesson", lesson),
        Route("/teach", teach, methods=["POST"]),
        Route("/stop", stop, methods=["POST"]),
        Route("/forget", forget, methods=["POST"]),
        Route("/mine.pt", mine),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(lessons.end)

    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={Refused: _refuse, DigitsumError: _refuse, ClientDisconnect: _gone},
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that stand there before numbered: a.pt, a.pt (2)."""
    seen: list[str] = []
    made: list[str] = []
    for name in names:
        seen.append(name)
        count = seen.count(name)
        made.append(name if count == 1 else f"{name} ({count})")
    return made


def _file(name: str, kind: str) -> Any:
    content = (resources.files("digitsum.draw") / name).read_text(encoding="utf-8")

    def page(request: Request) -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return page


def _refuse(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else 422
    return JSONResponse({"error": str(error)}, status_code=status, headers=HEADERS)


def _gone(request: Request, error: Exception) -> Response:
    """The answer to a request that was broken off: nobody gets it."""
    return Response(status_code=400)


def _check_site(request: Request) -> None:
    """Sees that a request comes from this very page, or from no page.

    Raises:
        Refused: It comes from elsewhere.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if host is None:
        raise Refused(400, "a request names its host")
    if origin is not None and origin != f"{request.scope['scheme']}://{host}":
        raise Refused(403, f"requests from {origin} are not answered: open the page itself")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "requests from other sites are not answered: open the page itself")


async def _body(request: Request, most: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object of a request of this very page, of so many bytes at most.

    Raises:
        Refused: It comes from elsewhere, is too large or too slow, or is no JSON object.
    """
    _check_site(request)
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refused(415, "send application/json")
    try:
        asked = json.loads(await _content(request, most))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "this is not JSON") from error
    if not isinstance(asked, dict):
        raise Refused(400, "send an object with strokes or pixels")
    return asked


async def _content(request: Request, most: int = MAX_BYTES) -> bytes:
    """The bytes of a request, so many at most.

    Raises:
        Refused: They are too many, or do not come.
    """
    content = bytearray()
    try:
        with anyio.fail_after(MAX_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise Refused(413, f"a request has at most {most} bytes: clear the page")
    except TimeoutError as error:
        raise Refused(408, f"the request was not here after {MAX_SECONDS} seconds") from error
    return bytes(content)


def _predict(models: Mapping[str, LoadedModel], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Predicts strokes, or the pixels of a strip that this server made.

    Raises:
        Refused: Model, count or pixels are not what they may be.
        DataError: The strokes are none, or the model takes no such strip.
    """
    begun = time.perf_counter()
    name, count = _name(models, asked), asked.get("digits")
    known = type(count) is int and 1 <= count <= MAX_DIGITS
    if not known and count not in (None, "any"):
        raise Refused(422, f"digits is a whole number in 1..{MAX_DIGITS}, any or null")
    model = models[name]
    if "pixels" in asked:
        strip, scale, left = _pixels(asked["pixels"]), None, None
    else:
        width = None if model.module.any_width else model.width
        ink = strip_of_strokes(parse(asked.get("strokes")), width)
        strip, scale, left = ink.strip, ink.scale, ink.left
    asked_count = model.digit_count(count)
    found, columns = model.predict_with_columns(strip[None], asked_count)
    prediction = found[0]
    return {
        **prediction.to_dict(),
        "value": round(prediction.value, 3),
        "percent": None if prediction.confidence is None else percent(prediction.confidence),
        "doubt": _doubt(found, asked_count, strip),
        "probabilities": None if columns is None else _rounded(columns[0, :, 1:]),
        "counts": None if columns is None else _likeliest(count_distribution(columns)[0]),
        "sums": None if columns is None else _likeliest(_sums(columns, asked_count)),
        "strip": _encoded(strip),
        "scale": scale,
        "left": left,
        "milliseconds": round(1000 * (time.perf_counter() - begun), 1),
    }


def _name(models: Mapping[str, LoadedModel], asked: Mapping[str, Any]) -> str:
    """The name of the model that is asked for.

    Raises:
        Refused: There is none of that name.
    """
    name = asked.get("model")
    if not isinstance(name, str) or name not in models:
        raise Refused(404, f"there is no model {name!r}: there are {', '.join(models)}")
    return name


def _written(given: object) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """The strips of a lesson and their sums, from strokes and sums.

    Raises:
        Refused: They are too few or too many, or a sum is not one of so many digits.
        DataError: The strokes are none, or too wide.
    """
    fewest, most = LESSON
    if not isinstance(given, list) or not fewest <= len(given) <= most:
        raise Refused(422, f"a lesson takes {fewest} to {most} strips: write some more")
    strips, sums = [], []
    for each in given:
        total = each.get("sum") if isinstance(each, dict) else None
        if type(total) is not int or not 0 <= total <= 9 * DIGITS:
            raise Refused(
                422, f"each strip has strokes and a sum, a whole number in 0..{9 * DIGITS}"
            )
        strips.append(strip_of_strokes(parse(each.get("strokes"))).strip)
        if strips[-1].shape[1] > LESSON_WIDTH:
            raise Refused(422, f"strip {len(strips)} is too wide: write its digits closer")
        sums.append(total)
    return strips, sums


def _doubt(found: Predictions, count: int | None, strip: NDArray[np.uint8]) -> str:
    """Why the prediction of a strip is not to be relied on; empty if it may be."""
    lines = described(kinds_of(strip[None]), "what you wrote", 1)
    unlikely = found.count_probability is not None and found.count_probability[0] < UNLIKELY
    if unlikely and count is not None:
        lines.append(f"this hardly holds {counted(count, 'digit')}: choose another number, or any")
    elif found.confidence is not None and found.confidence[0] < 0.5:
        lines.append("the model is not sure of this")
    return "; ".join(lines)


@torch.inference_mode()
def _sums(columns: Tensor, count: int | None) -> Tensor:
    """P(sum), (S,), for a known count of digits or any."""
    return sum_distribution(columns.log(), count)[0][0]


def _likeliest(distribution: Tensor) -> list[list[float]]:
    """The most probable entries of a distribution with their probabilities, in order."""
    top = distribution.topk(min(SHOWN, len(distribution)))
    seen = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [[entry, round(known, 4)] for entry, known in sorted(seen) if known >= LEAST]


def _rounded(probabilities: Tensor) -> list[list[float]]:
    rounded: list[list[float]] = probabilities.round(decimals=3).tolist()
    return rounded


def _pixels(given: object) -> NDArray[np.uint8]:
    """A strip (40, W) from what `_encoded` made of it."""
    wrong = Refused(422, "pixels are those of a strip that /strip gave")
    if not isinstance(given, dict) or type(width := given.get("width")) is not int:
        raise wrong
    try:
        content = base64.b64decode(given.get("data", ""), validate=True)
    except (ValueError, TypeError) as error:
        raise wrong from error
    if not MIN_WIDTH <= width <= MAX_WIDTH or len(content) != ROWS * width:
        raise wrong
    return np.frombuffer(content, np.uint8).reshape(ROWS, width).copy()  # torch wants to write


def _encoded(strip: NDArray[np.uint8]) -> dict[str, Any]:
    return {"width": strip.shape[1], "data": base64.b64encode(strip.tobytes()).decode()}


def _strip(made: Composition, number: int) -> dict[str, Any]:
    """One of the strips to show, with its truth."""
    digits = made.truth.digits[number]
    return {
        "strip": _encoded(made.images[number]),
        "sum": int(made.sums[number]),
        "digits": digits[digits >= 0].tolist(),
    }
