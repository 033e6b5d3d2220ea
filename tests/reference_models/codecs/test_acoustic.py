"""The acoustic codec: official recordings, key names, frame counts, batches."""

import re

import pytest
import torch

from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder, Snake, encoder_frames
from reference_models.codecs.weight_norm import fold_weight_norm
from reference_models.config import AcousticCodecConfig, BackboneConfig
from reference_models.errors import InputError
from tests.reference_models.key_lists import assert_keys_equal, parameter_count
from tests.reference_models.recordings import Recording

TINY = AcousticCodecConfig(
    channels=4,
    strides=(3, 4, 5, 8),
    latent_dim=12,
    num_quantizers=3,
    codebook_size=16,
    codebook_dim=4,
    backbone=BackboneConfig(dim=8, inner_dim=16, num_layers=2),
)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return AcousticEncoder(TINY).eval()


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return AcousticDecoder(TINY).eval()


def recorded_config(facts):
    enc, dec = facts["encoder_config"], facts["decoder_config"]
    cfg = AcousticCodecConfig(
        channels=enc["d_model"],
        strides=tuple(enc["up_ratios"]),
        latent_dim=enc["out_channels"],
        num_quantizers=dec["num_quantizers"],
        codebook_size=dec["codebook_size"],
        codebook_dim=dec["codebook_dim"],
        backbone=BackboneConfig(dec["vocos_dim"], dec["vocos_intermediate_dim"], dec["vocos_num_layers"]),
        n_fft=dec["n_fft"],
    )
    assert (enc["use_tanh"], dec["quantizer_type"], dec["use_vocos"]) == (False, "fvq", True)
    assert (cfg.hop, cfg.latent_dim) == (dec["hop_size"], dec["in_channels"])
    return cfg


@pytest.fixture(params=[False, True], ids=["weight-norm", "folded"])
def recorded(golden, request):
    recording = Recording(golden, "acoustic_codec")
    cfg = recorded_config(recording.facts)
    encoder, decoder = AcousticEncoder(cfg).eval(), AcousticDecoder(cfg).eval()
    encoder.load_state_dict(recording.weights("weights_encoder"))
    decoder.load_state_dict(recording.weights("weights_decoder"))
    if request.param:
        fold_weight_norm(encoder)
        fold_weight_norm(decoder)
    return encoder, decoder, recording


@pytest.mark.parametrize("threads", [1, 2])
@torch.no_grad()
def test_golden_waveform_to_codes_to_waveform(recorded, threads, torch_threads):
    torch_threads(threads)
    encoder, decoder, recording = recorded
    for name, facts in recording.facts["lengths"].items():
        case = recording.case(name)
        wav, out = case.inputs["wav"], case.outputs
        assert wav.shape[-1] == facts["samples_in"]
        latent = encoder(wav)
        assert latent.shape[-1] == facts["frames"] == encoder_frames(facts["samples_in"], encoder.strides)
        assert torch.allclose(latent, out["latent"], atol=1e-4, rtol=0)
        codes, embeddings = decoder.quantize(latent)
        assert torch.equal(codes, out["codes"])
        assert torch.allclose(embeddings, out["vq_emb"], atol=1e-4, rtol=0)
        assert torch.allclose(decoder.embed(out["codes"]), out["vq_emb"], atol=1e-4, rtol=0)
        sound = decoder.decode(out["codes"])
        assert sound.shape[-1] == facts["samples_out"]
        assert torch.allclose(sound, out["wav"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_golden_fewer_quantisers(recorded):
    """Cases beyond the waveforms say themselves which waveform's latents they quantise, and with how many codebooks."""
    _, decoder, recording = recorded
    cases = [case for case in recording.cases() if case.name not in recording.facts["lengths"]]
    assert cases
    for case in cases:
        said = re.fullmatch(r"only (\d+) quanti[sz]ers on (\w+)", case.facts["desc"])
        quantisers, source = int(said[1]), recording.case(said[2]).outputs
        codes, embeddings = decoder.quantize(source["latent"], quantisers)
        assert codes.shape[-1] == quantisers
        assert torch.equal(codes, source["codes"][..., :quantisers])
        assert torch.allclose(embeddings, case.outputs["quantized"], atol=1e-4, rtol=0)
        for embedded in (decoder.embed(codes), decoder.embed(source["codes"], quantisers)):
            assert torch.allclose(embedded, case.outputs["vq_emb"], atol=1e-4, rtol=0)


def test_golden_frames_for_samples(golden):
    facts = Recording(golden, "acoustic_codec").facts
    strides = facts["encoder_config"]["up_ratios"]
    table = {int(samples): frames for samples, frames in facts["encoder_frames_for_samples"].items()}
    assert {samples: encoder_frames(samples, strides) for samples in table} == table


@pytest.mark.parametrize(("kind", "part"), [(AcousticEncoder, "encoder"), (AcousticDecoder, "decoder")])
def test_golden_keys_and_size_of_the_official_files(golden, kind, part):
    with torch.device("meta"):
        module = kind(AcousticCodecConfig())
    assert_keys_equal(module, golden, f"acoustic_codec_{part}")


def test_full_size():
    with torch.device("meta"):
        encoder, decoder = AcousticEncoder(AcousticCodecConfig()), AcousticDecoder(AcousticCodecConfig())
    assert parameter_count(encoder) == 42_540_224
    assert parameter_count(decoder) == 128_196_162
    assert decoder.state_dict()["model.head.istft.window"].shape == (1920,)


@torch.no_grad()
def test_frame_formula_equals_the_convolutions(encoder):
    # the channels do not matter, so the thinnest possible encoder
    for samples in [*range(330, 375), 480, 959, 960, 961, 1919, 1920, 2159, 4321]:
        frames = encoder_frames(samples, TINY.strides)
        if frames:
            assert encoder(torch.zeros(1, 1, samples)).shape == (1, 12, frames)
        else:
            with pytest.raises(RuntimeError):  # too short for the last kernel
                encoder.block(torch.zeros(1, 1, samples))


def test_whole_hops_give_as_many_frames():
    assert all(encoder_frames(480 * frames) == frames for frames in range(2, 3000))


def test_too_little_audio_is_an_input_error(encoder, decoder):
    for samples in (0, 1, 100):
        with pytest.raises(InputError, match=f"{samples} samples"):
            encoder(torch.zeros(1, 1, samples))
    with pytest.raises(InputError, match="no acoustic tokens"):
        decoder.decode(torch.zeros(1, 0, 3, dtype=torch.long))


def test_snake():
    snake = Snake(2)
    with torch.no_grad():
        snake.alpha.copy_(torch.tensor([0.5, 2.0]).view(1, 2, 1))
    x = torch.linspace(-3, 3, 11).expand(1, 2, 11)
    expected = torch.stack([x[0, 0] + (0.5 * x[0, 0]).sin() ** 2 / 0.5, x[0, 1] + (2 * x[0, 1]).sin() ** 2 / 2])
    assert torch.allclose(snake(x)[0], expected, atol=1e-6)


@torch.no_grad()
def test_codes_and_waveforms_do_not_depend_on_the_batch(encoder, decoder):
    wav = torch.randn(3, 1, 6000)
    samples = [6000, 2500, 4111]
    latents = encoder(wav, samples)
    frames = [encoder_frames(n) for n in samples]
    for row in range(3):
        alone = encoder(wav[row : row + 1, :, : samples[row]])
        assert alone.shape[-1] == frames[row]
        assert torch.equal(latents[row, :, : frames[row]], alone[0])
        assert not latents[row, :, frames[row] :].any()
    codes = decoder.quantize(latents)[0]
    shuffled = [2, 0, 1]
    sound = decoder.decode(codes, frames)
    again = decoder.decode(codes[shuffled], torch.tensor(frames)[shuffled])
    assert torch.equal(again, sound[shuffled])
    for row in range(3):
        alone = decoder.decode(codes[row : row + 1, : frames[row]])
        assert alone.shape == (1, 1, 480 * frames[row])
        assert torch.equal(sound[row, :, : 480 * frames[row]], alone[0])
        assert not sound[row, :, 480 * frames[row] :].any()


@torch.no_grad()
def test_padding_would_matter_without_lengths(decoder):
    """The premise of `lengths`: frames behind the end reach the sound before it."""
    codes = torch.randint(16, (1, 12, 3))
    alone = decoder.decode(codes[:, :6])
    assert not torch.allclose(decoder.decode(codes)[..., : alone.shape[-1]], alone, atol=1e-3)
