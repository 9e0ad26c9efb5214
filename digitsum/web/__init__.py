"""A page to write digits on and see them read.

    ink.py       strokes of a pen into a strip that looks like those of the training
    server.py    the page and its two questions: read these strokes, show me a strip
    page.*       plain HTML, CSS and JavaScript; no build step

Needs the extra `draw` (Starlette and uvicorn).
"""
