import pytest
import torch
from torch import nn

from spanetv2.deploy.answers import answering
from spanetv2.deploy.subject import largest_difference
from spanetv2.errors import UserError


def _scores(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sides", [(), ("height", "width")])
def test_answers_are_those_asked_for(sides):
    scores = _scores(2, 5, *((3, 4) if sides else ()))
    plain, outputs = answering(nn.Identity(), None, sides=sides)
    assert torch.equal(plain(scores), scores)
    assert outputs.names == ("logits",)
    shares, outputs = answering(nn.Identity(), "probabilities", sides=sides)
    weights = scores.double().exp()
    expected = weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(shares(scores).double(), expected, rtol=1e-5, atol=0)
    assert outputs.axes == {"probabilities": ("batch", "classes", *sides)}
    several, _ = answering(nn.Identity(), "probabilities", sides=sides, activation="sigmoid")
    torch.testing.assert_close(several(scores).double(), 1 / (1 + 1 / weights), rtol=1e-5, atol=0)
    best, outputs = answering(nn.Identity(), "labels", sides=sides, labels=torch.uint8)
    labels = best(scores)
    assert labels.dtype == torch.uint8
    assert torch.equal(scores.gather(1, labels[:, None].long())[:, 0], scores.amax(1))
    assert outputs.axes == {"labels": ("batch", *sides)}


def test_labels_are_compared_by_their_share():
    _, outputs = answering(nn.Identity(), "labels", sides=("height", "width"), named_on="pixels")
    one, other = torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)
    other[0, 1, 3] = 7
    assert outputs.difference((one,), (other,)) == 0.1
    assert outputs.difference((one,), (one,)) == 0
    assert outputs.difference((one[:, :1],), (other,)) == float("inf")
    told = outputs.told.format(0.1)
    assert told == "another label than the network's on 0.1 of the pixels"


def test_differences_are_of_the_worst_result():
    one = torch.tensor([2.0, -4.0])
    assert largest_difference((one, one), (one, one + 0.5)) == pytest.approx(0.5 / 3.5)
    assert largest_difference((one,), (one[:1],)) == float("inf")
    assert largest_difference((one[:0],), (one[:0],)) == 0
    assert largest_difference((one / 4,), (0 * one,)) == 1


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(UserError, match="got output scores, expected one of logits, prob"):
        answering(nn.Identity(), "scores", sides=())
    with pytest.raises(UserError, match="that may give several classes or none, expected logits"):
        answering(nn.Identity(), "labels", sides=(), activation="sigmoid")
