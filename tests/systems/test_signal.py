import numpy as np
import pytest

from metis_bench.errors import ItemError
from metis_bench.systems._signal import fit, istft, required, stft


@pytest.mark.parametrize("hop", [2, 80, 221, 480])
@pytest.mark.parametrize("length", [1, 79, 80, 81, 1000, 16000])
def test_istft_inverts_stft(hop: int, length: int, rng: np.random.Generator) -> None:
    samples = rng.standard_normal(length).astype(np.float32)
    spectrum = stft(samples, hop)
    assert spectrum.shape[1] == hop + 1
    out = istft(spectrum, hop, length)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, samples, atol=1e-6)


def test_stft_agrees_with_scipy(rng: np.random.Generator) -> None:
    from scipy import signal

    samples = rng.standard_normal(4000)
    ours = stft(samples, 256)
    window = np.sqrt(signal.get_window("hann", 512))
    padded = np.concatenate([np.zeros(256), samples, np.zeros(len(ours) * 256 - len(samples))])
    _, _, theirs = signal.stft(padded, nperseg=512, noverlap=256, window=window, boundary=None, padded=False)
    np.testing.assert_allclose(ours, theirs.T * window.sum(), atol=1e-9)


def test_fit_cuts_and_pads_at_the_end() -> None:
    assert fit(np.array([1.0, 2.0, 3.0]), 2).tolist() == [1, 2]
    assert fit(np.array([1.0, 2.0, 3.0]), 4).tolist() == [1, 2, 3, 0]


def test_required_names_the_item_and_the_field() -> None:
    with pytest.raises(ItemError, match=r"'utt7' has no reference"):
        required(None, "reference", "utt7")
