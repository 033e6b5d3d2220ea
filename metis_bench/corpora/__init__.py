"""One module a corpus; base.py is the contract."""
