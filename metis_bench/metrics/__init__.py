"""One module a metric; base.py is the contract."""
