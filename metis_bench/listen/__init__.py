"""Listening tests: a blinded page from a run (`build`), and scores with intervals from its ratings (`results`).

build.py    items, clips and trials of a run -> the published folder and the researcher's key
design.py   pure: scales, what a trial means, and balanced, shuffled forms
clips.py    what is heard: anchors, attention checks, loudness, anonymous wav files
page.py     the page that listeners open
key.py      the key and the ratings files, read and validated
results.py  who is left out and why; means, intervals and differences
told.py     results as markdown
"""
