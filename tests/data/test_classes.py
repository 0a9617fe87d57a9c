import pytest

from spanetv2.data.classes import (
    class_titles,
    imagenet_classes,
    match_classes,
    model_classes,
)
from spanetv2.errors import UserError


def test_imagenet_classes_are_sorted_wordnet_ids():
    classes = imagenet_classes()
    assert len(set(classes)) == 1000
    assert classes == sorted(classes)
    # Known pairs of index and animal or thing, from the data set's own documentation.
    titles = class_titles(classes)
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 282: "tiger cat", 999: "toilet"}
    assert {index: titles[index].split(" (")[0] for index in known} | {999: "toilet"} == known
    assert classes[999] == "n15075141"


def test_class_titles_are_unique():
    titles = class_titles(imagenet_classes())
    assert len(set(titles)) == 1000
    assert sum(title.startswith("crane (n") for title in titles) == 2


def test_class_titles_leave_other_names_alone():
    names = ["cat", "n0144", "n99999999", "0"]
    assert class_titles(names) == names


def test_match_classes_maps_a_subset_by_name():
    assert match_classes(["c", "a"], ["a", "b", "c"], 3) == (["a", "b", "c"], [2, 0])


def test_match_classes_takes_unnamed_1000_outputs_for_imagenet():
    data = ["n01443537", "n02099601"]
    names, table = match_classes(data, None, 1000)
    assert names == imagenet_classes()
    assert table == [1, 207]


def test_match_classes_reads_titles_and_wordnet_ids_alike():
    assert match_classes(["goldfish"], None, 1000)[1] == [1]
    assert match_classes(["goldfish"], imagenet_classes(), 1000)[1] == [1]
    assert match_classes(["n01443537"], ["tench", "goldfish"], 2)[1] == [1]


def test_match_classes_does_not_guess_between_equal_titles():
    with pytest.raises(UserError, match="unknown classes 'crane'"):
        match_classes(["crane"], imagenet_classes(), 1000)


def test_match_classes_goes_by_position_only_without_names():
    assert match_classes(["x", "y"], None, 2) == (["x", "y"], [0, 1])
    with pytest.raises(UserError, match="data of 2 classes and a checkpoint of 3"):
        match_classes(["x", "y"], None, 3)


@pytest.mark.parametrize("model", [None, imagenet_classes()])
def test_match_classes_refuses_unknown_folders(model):
    with pytest.raises(UserError, match=r"unknown classes 'n00000000', 'my cat' in the data"):
        match_classes(["n01440764", "n00000000", "my cat"], model, 1000)


def test_match_classes_goes_by_position_for_1000_other_classes():
    data = [f"c{i}" for i in range(1000)]
    assert match_classes(data, None, 1000) == (data, list(range(1000)))
    with pytest.raises(UserError, match="data of 2 classes and a checkpoint of 1000"):
        match_classes(["c1", "c2"], None, 1000)


def test_match_classes_refuses_two_names_for_one_output():
    with pytest.raises(UserError, match="both mean 'n01443537'"):
        match_classes(["goldfish", "n01443537"], imagenet_classes(), 1000)


def test_model_classes_falls_back_to_imagenet_or_numbers():
    assert model_classes(None, 1000) == imagenet_classes()
    assert model_classes(None, 3) == ["0", "1", "2"]
    assert model_classes(["a", "b"], 2) == ["a", "b"]
    with pytest.raises(UserError, match="2 class names for a model with 3"):
        model_classes(["a", "b"], 3)
