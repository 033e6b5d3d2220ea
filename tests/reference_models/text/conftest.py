from __future__ import annotations

from collections.abc import Iterator

import pytest

from reference_models.text.espeak import Espeak, available


@pytest.fixture(scope="session")
def espeak() -> Iterator[Espeak]:
    if not available():
        pytest.skip("needs an eSpeak NG library: espeakng-loader, METIS_ESPEAK_LIBRARY or the system's")
    with Espeak() as espeak:
        yield espeak
