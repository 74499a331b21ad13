import pytest

from fieldmark import errors


def test_every_error_is_a_fieldmark_error():
    for name in ("UsageError", "DataError", "PictureError", "BundleError", "WeightsError", "MissingExtraError"):
        assert issubclass(getattr(errors, name), errors.FieldmarkError)


def test_a_missing_extra_names_the_install_command():
    assert "pip install 'fieldmark[train]'" in str(errors.MissingExtraError("training", "train"))


def test_an_unknown_name_lists_the_near_ones():
    sentence = errors.unknown_name("task", "clasify", ["detect", "classify"])
    assert sentence == "unknown task 'clasify'; did you mean classify?"


def test_an_unknown_name_near_to_none_lists_what_is_known():
    assert errors.unknown_name("task", "zzz", ["detect", "classify"]).endswith("known are: classify, detect")


@pytest.mark.parametrize(("count", "ending"), [(20, "n19"), (21, "n19, ...")])
def test_a_long_list_of_known_names_is_cut_at_twenty(count, ending):
    sentence = errors.unknown_name("thing", "@", [f"n{i:02d}" for i in range(count)])
    assert sentence.endswith(ending)


def test_what_was_given_is_repeated_in_part_only():
    assert errors.short("x" * 80) == "x" * 80
    assert len(errors.unknown_name("task", "x" * 100_000, ["detect"])) < 200
