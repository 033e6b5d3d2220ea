"""What generates audio; base.py is the contract."""
