"""One self-contained HTML page about models: figures, tables, and what they say.

    content.py   what the page is about: models compared, and what each looks at in strips
    explain.py   attention, column probabilities, saliency: a map that explains a prediction
    figures.py   matplotlib drawings, as SVG that follows the page's colours
    captions.py  the sentence under each figure, written from the data
    page.py      all of it into page.html

Needs the extra `report` (Jinja2 and matplotlib).
"""
