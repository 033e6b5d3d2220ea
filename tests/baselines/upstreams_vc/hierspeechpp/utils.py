"""Upstream's utils.py."""

LOADED: list[str] = []


def get_hparams_from_file(config_path: str) -> str:
    LOADED.append(config_path)
    return config_path
