"""Features."""


class VocosFbank:
    def __init__(self, num_channels: int = 1) -> None:
        assert num_channels == 1
