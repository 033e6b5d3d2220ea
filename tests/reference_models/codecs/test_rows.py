"""Rows computed alone."""

import torch

from reference_models.codecs.rows import each_row_alone


def test_each_row_runs_at_its_own_length_and_is_padded_with_zeros():
    batch = torch.arange(1.0, 13).view(2, 6, 1)
    seen = []

    def twice_as_long(row):  # (1, n, 1) to (1, 1, 2n): another axis for time, another rate
        seen.append(row.shape[1])
        return row.transpose(1, 2).repeat_interleave(2, dim=2) * 10

    out = each_row_alone(twice_as_long, batch, torch.tensor([2, 4]), time=1, out_time=2)
    assert seen == [2, 4]
    assert out.shape == (2, 1, 8)
    assert out[0, 0].tolist() == [10, 10, 20, 20, 0, 0, 0, 0]
    assert out[1, 0].tolist() == [70, 70, 80, 80, 90, 90, 100, 100]
