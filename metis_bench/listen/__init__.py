"""Listening tests: a blinded page from a run (`build`), and scores with intervals from its ratings (`results`).

build.py    clips, trials and forms -> the published folder and the researcher's key
select.py   which systems and items of a run take part, and their audio
design.py   pure: scales, what a trial means, and balanced, shuffled forms
clips.py    what is heard: anchors, attention checks, loudness, anonymous wav files
page.py     the page that listeners open
key.py      the key and the ratings files, read and validated
results.py  who is left out and why; means, intervals and differences
told.py     results as markdown
"""
