"""One self-contained HTML page about models: figures, tables, and what they say.

    gather.py    what the page is about: models compared, and what each sees in strips
    looks.py     attention, column probabilities, saliency: one picture of a model's mind
    figures.py   matplotlib drawings, as SVG that follows the page's colours
    words.py     the sentence under each figure, written from the data
    page.py      all of it into page.html

Needs the extra `report` (Jinja2 and matplotlib).
"""
