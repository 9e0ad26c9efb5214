"""A page on which you write digits and see their sum.

    strokes.py   strokes of a pen as a strip that looks like those of the training
    server.py    the page and its two questions: predict these strokes, show me a strip
    serving.py   connections, and how they end
    page.*       plain HTML, CSS and JavaScript; no build step

Needs the extra `draw` (Starlette and uvicorn).
"""
