"""A page on which you write digits and see their sum.

    strokes.py   strokes of a pen as a strip that looks like those of the training
    server.py    the page and its questions: predict these strokes, show me a strip, learn my hand
    lessons.py   what its models are taught, one lesson at a time
    serving.py   connections, and how they end
    page.*       plain HTML, CSS and JavaScript; no build step

Needs the extra `draw` (Starlette and uvicorn).
"""
