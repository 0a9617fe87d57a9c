import pytest
import torch

from spanetv2.device import choose_device
from spanetv2.errors import UserError


def test_choose_device_takes_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu9", "cuda:77", ""])
def test_choose_device_refuses_what_is_not_there(name):
    with pytest.raises(UserError, match=f"got device '{name}', which cannot be used here"):
        choose_device(name)
