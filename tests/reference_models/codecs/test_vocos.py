"""The inverse transform against torch's own."""

import pytest
import torch

from reference_models.codecs.vocos import InverseSTFT, InverseSTFTHead, Vocos
from reference_models.config import BackboneConfig


@pytest.mark.parametrize(("n_fft", "hop"), [(16, 4), (18, 4), (8, 8)])
def test_equals_frame_by_frame_overlap_add(n_fft, hop):
    torch.manual_seed(0)
    istft = InverseSTFT(n_fft, hop)
    if n_fft == hop:
        istft.window.add_(0.5)  # a window that touches zero cannot be divided out without overlap
    spectrum = torch.randn(2, 5, n_fft // 2 + 1, dtype=torch.complex64)
    total = torch.zeros(2, 4 * hop + n_fft)
    envelope = torch.zeros(4 * hop + n_fft)
    for t in range(5):
        total[:, t * hop : t * hop + n_fft] += torch.fft.irfft(spectrum[:, t], n_fft) * istft.window
        envelope[t * hop : t * hop + n_fft] += istft.window**2
    trim = (n_fft - hop) // 2
    expected = total[:, trim : trim + 5 * hop] / envelope[trim : trim + 5 * hop]
    assert istft(spectrum).shape == (2, 5 * hop)
    assert torch.allclose(istft(spectrum), expected, atol=1e-5)


def test_equals_torch_istft_where_that_is_defined():
    """torch.istft with center=True cuts n_fft / 2 at the start, we cut (n_fft - hop) / 2: hop / 2 apart."""
    torch.manual_seed(1)
    n_fft, hop, steps = 1920, 480, 9
    istft = InverseSTFT(n_fft, hop)
    spectrum = torch.randn(1, steps, n_fft // 2 + 1, dtype=torch.complex64)
    theirs = torch.istft(spectrum.transpose(1, 2), n_fft, hop, window=istft.window, center=True)
    ours = istft(spectrum)[:, hop // 2 :][:, : theirs.shape[1]]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_inverts_the_transform():
    wav = torch.sin(torch.arange(4800) * 0.05)
    istft = InverseSTFT(1920, 480)
    padded = torch.nn.functional.pad(wav, (720, 720))
    spectrum = torch.fft.rfft(padded.unfold(0, 1920, 480) * istft.window)
    assert torch.allclose(istft(spectrum[None])[0], wav, atol=1e-5)


def test_windows_that_cannot_be_centred_are_refused():
    for n_fft, hop in [(1921, 480), (420, 105), (400, 480)]:
        with pytest.raises(ValueError, match="n_fft"):
            InverseSTFT(n_fft, hop)


def test_magnitudes_are_limited():
    head = InverseSTFTHead(4, 16, 4)
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.zero_()
        head.out.bias[3] = 1000.0  # exp of it overflows
        loud = head(torch.zeros(1, 8, 4))
        head.out.bias[3] = float(torch.tensor(100.0).log())
        limit = head(torch.zeros(1, 8, 4))
    assert torch.isfinite(loud).all()
    assert torch.allclose(loud, limit, atol=1e-3)


def test_reduced_precision_still_gives_a_waveform():
    vocos = Vocos(6, BackboneConfig(8, 16, 2), 16, 4).bfloat16()
    wav = vocos(torch.randn(1, 5, 6, dtype=torch.bfloat16))
    assert wav.dtype == torch.float32
    assert wav.shape == (1, 20)
