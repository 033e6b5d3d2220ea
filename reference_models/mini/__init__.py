"""The mini family: a synthetic corpus, and models small enough to be trained and run on a laptop."""
