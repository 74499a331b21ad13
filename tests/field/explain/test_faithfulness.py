import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.field.explain import check_maps, explain_picture
from fieldmark.field.explain.faithfulness import (
    FRAMES,
    GAMES,
    ORDERS,
    STEPS,
    area,
    blurred,
    faithfulness,
    orders,
    overlapped,
    pointing_game,
    some_of,
    steps_of,
)
from fieldmark.field.runtime import load
from fieldmark.field.runtime.occlusion import OcclusionMap
from fieldmark.types import Boxes, Sample
from tests.making import CELLS, CLASSES, SIZE, smooth, tiny_bundle, tiny_facts, with_map, write_picture


def test_orders_hold_every_cell_once_the_map_by_value_and_the_centre_by_distance():
    values = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    found = orders(values, 3)
    assert set(found) == set(ORDERS)
    assert all(sorted(cells) == list(range(20)) for cells in found.values())
    assert (np.diff(values.ravel()[found["map"]]) <= 0).all()
    assert set(found["centre"][:2]) == {7, 12}
    assert set(found["centre"][-4:]) == {0, 4, 15, 19}


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 99), st.booleans())
def test_cells_go_or_come_in_order(h, w, seed, insert):
    picture = smooth(30, 26, seed)
    order = np.random.default_rng(seed).permutation(h * w)
    frames = steps_of(picture, blurred(picture), order, (h, w), insert)
    assert frames.shape == (STEPS + 1, *picture.shape)
    there, otherwise = (picture, blurred(picture)) if insert else (blurred(picture), picture)
    assert (frames[0] == otherwise).all()
    assert (frames[-1] == there).all()
    for step, frame in enumerate(frames):
        changed = set(order[: round(step * h * w / STEPS)])
        for y in range(0, 26, 5):
            for x in range(0, 30, 5):
                cell = (y * h // 26) * w + x * w // 30
                assert (frame[y, x] == (there if cell in changed else otherwise)[y, x]).all()


@pytest.mark.parametrize(("curve", "expected"), [([1, 1, 1], 1), ([1, 0], 0.5), ([0, 0, 1], 0.25), ([0.2] * 7, 0.2)])
def test_the_area_below_a_curve(curve, expected):
    assert area(curve) == pytest.approx(expected)


def test_boxes_overlap_the_cells_that_they_touch_and_no_others():
    found = overlapped((3, 4), np.array([[10, 10, 30, 19], [100, 60, 120, 90]]), (120, 90))
    assert found.tolist() == [[True, False, False, False], [False] * 4, [False, False, False, True]]
    assert not overlapped((3, 4), np.zeros((0, 4)), (120, 90)).any()


@pytest.fixture
def samples(tmp_path):
    return [Sample(write_picture(tmp_path / f"{i}.png", i, (40, 30)), f"{i}.png", ("ash",)) for i in range(5)]


def test_the_curves_are_the_probabilities_of_what_is_predicted(recogniser, samples):
    found = faithfulness(recogniser, [samples[0].path])
    picture = np.asarray(recogniser_input(recogniser, samples[0].path))
    explained = explain_picture(recogniser, picture)
    for game in GAMES:
        cells = np.argsort(-explained.evidence.ravel(), kind="stable")
        frames = steps_of(picture, blurred(picture), cells, (CELLS, CELLS), game == "insertion")
        told = [{s.label: s.probability for s in recogniser.predict(f).labels}[explained.label] for f in frames]
        assert found.curves[game]["map"] == pytest.approx(told, abs=1e-5)
        assert found.areas[game]["map"] == pytest.approx([np.trapezoid(told, dx=1 / STEPS)], abs=1e-5)


def recogniser_input(recogniser, path):
    from fieldmark.pictures import load

    return load(path, recogniser.preprocess)


def test_unreadable_pictures_are_passed_by(recogniser, samples, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    found = faithfulness(recogniser, [samples[0].path, tmp_path / "broken.png", tmp_path / "none.png", samples[1].path])
    assert found.n == 2
    assert faithfulness(recogniser, [tmp_path / "broken.png"]) is None


def test_what_is_told_has_intervals_and_all_orders(recogniser, samples):
    told = faithfulness(recogniser, [s.path for s in samples]).to_json()
    assert told["n"] == 5
    for game in GAMES:
        low, high = told[game]["map_ci"]
        assert low <= told[game]["map"] <= high
        for other in ORDERS[1:]:
            low, high = told[game][f"map_minus_{other}_ci"]
            assert low <= told[game]["map"] - told[game][other] + 1e-6 <= high + 1e-6
        assert all(len(told[game]["curves"][order]) == STEPS + 1 for order in ORDERS)


def test_one_picture_costs_what_is_planned_for(recogniser, samples, monkeypatch):
    seen = []
    run = recogniser.run
    monkeypatch.setattr(
        recogniser, "run", lambda sources, *more, **named: seen.extend(sources) or run(sources, *more, **named)
    )
    faithfulness(recogniser, [samples[0].path])
    assert len(seen) == FRAMES


def test_the_pointing_game_counts_peaks_that_touch_a_box(recogniser, samples):
    def boxed(sample, hit):
        peak = explain_picture(recogniser, sample.path).evidence.argmax()
        y, x = divmod(int(peak), CELLS)
        if not hit:
            y, x = (y + 2) % CELLS, x
        w, h = 40 / CELLS, 30 / CELLS
        box = np.array([[x * w + 1, y * h + 1, (x + 1) * w - 1, (y + 1) * h - 1]], np.float32)
        return Sample(sample.path, sample.name, sample.labels, boxes=Boxes(box, ("mark",)))

    wanted = [True, False, True, True, False]
    found = pointing_game(recogniser, [boxed(s, hit) for s, hit in zip(samples, wanted, strict=True)])
    assert found["n"] == 5
    assert found["evidence"] == pytest.approx(0.6)
    assert found["chance"] == pytest.approx(1 / CELLS**2)
    assert found["evidence_ci"][0] <= 0.6 <= found["evidence_ci"][1]


def corner(recogniser, bundle, tmp_path, sample):
    """The recogniser with a map of what covering takes whose peak is a corner where neither evidence nor attention has
    its own, and that corner."""
    found = explain_picture(recogniser, sample.path)
    taken = {int(found.evidence.argmax()), *(int(a.argmax()) for a in found.attention)}
    place = next(c for c in (0, CELLS - 1, CELLS * (CELLS - 1), CELLS**2 - 1) if c not in taken)
    n_features = recogniser.bundle.facts["outputs"]["features"][0]
    kernel, reach = np.zeros((n_features, 2 * CELLS - 1, 2 * CELLS - 1), np.float32), CELLS - 1
    features = next(recogniser.run([sample.path], ("features",))).outputs["features"]
    row, column = divmod(place, CELLS)
    # the features of all positions, as they lie around the corner, seen from there, and less of them from elsewhere
    kernel[:, reach - row : reach - row + CELLS, reach - column : reach - column + CELLS] = features
    made = OcclusionMap(np.zeros(n_features, np.float32), kernel, np.zeros(1, np.float32))
    return with_map(bundle, tmp_path / "with-map", made.to_bytes()), place


def test_peaks_and_curves_are_those_of_the_map_that_is_drawn(bundle, recogniser, samples, tmp_path):
    sample = samples[0]
    mapped, place = corner(recogniser, bundle, tmp_path, sample)
    explained = explain_picture(mapped, sample.path)
    assert explained.occlusion.argmax() == place != explained.evidence.argmax()
    pointed = {name: int(values.argmax()) for name, values in peaks(explained).items()}

    def boxed(cell):
        y, x = divmod(cell, CELLS)
        w, h = 40 / CELLS, 30 / CELLS
        box = np.array([[x * w + 1, y * h + 1, (x + 1) * w - 1, (y + 1) * h - 1]], np.float32)
        return Sample(sample.path, sample.name, sample.labels, boxes=Boxes(box, ("mark",)))

    for cell in set(pointed.values()):
        found = pointing_game(mapped, [boxed(cell)])
        assert {name: found[name] for name in pointed} == {name: float(at == cell) for name, at in pointed.items()}
    picture = recogniser_input(mapped, sample.path)
    cells = np.argsort(-explained.occlusion.ravel(), kind="stable")
    told = [
        {s.label: s.probability for s in mapped.predict(frame).labels}[explained.label]
        for frame in steps_of(picture, blurred(picture), cells, (CELLS, CELLS), False)
    ]
    assert faithfulness(mapped, [sample.path]).curves["deletion"]["map"] == pytest.approx(told, abs=1e-5)


def peaks(explained):
    """The maps that the pointing game asks, by name."""
    attending = [a for a in explained.attention if np.ptp(a) > 1e-6]
    return {"evidence": explained.evidence, "occlusion": explained.occlusion} | (
        {"attention": attending[0]} if attending else {}
    )


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_the_peak_is_looked_for_where_the_network_sees_the_mark(tmp_path, fit):
    """A picture twice as wide as high: the peak cell's own place in it, by hand, is hit, and the next cell's is not."""
    bundle = tiny_bundle(tmp_path / "bundle", preprocess={**tiny_facts()["preprocess"], "fit": fit})
    recogniser, path = load(bundle.path), write_picture(tmp_path / "a.png", 3, (80, 40))
    y, x = divmod(int(explain_picture(recogniser, path).evidence.argmax()), CELLS)
    origin, side = {"squash": ((0, 0), (80, 40)), "crop": ((20, 0), (40, 40)), "pad": ((0, -20), (80, 80))}[fit]

    def boxed(row, column):
        left, top = origin[0] + column * side[0] / CELLS, origin[1] + row * side[1] / CELLS
        box = np.array([[left + 0.5, top + 0.5, left + side[0] / CELLS - 0.5, top + side[1] / CELLS - 0.5]], np.float32)
        return Sample(path, path.name, (CLASSES[0],), boxes=Boxes(box, ("mark",)))

    assert pointing_game(recogniser, [boxed(y, x)])["evidence"] == 1
    assert pointing_game(recogniser, [boxed((y + 1) % CELLS, x)])["evidence"] == 0


def test_without_boxes_there_is_no_pointing_game(recogniser, samples):
    assert pointing_game(recogniser, samples) is None
    found = check_maps(recogniser, samples, most=2)
    assert found["faithfulness"]["n"] == 2
    assert "pointing" not in found


@pytest.mark.parametrize(("n", "most", "taken"), [(5, 24, 5), (5, 2, 2), (5, 1, 1)])
def test_at_most_so_many_pictures_are_checked(recogniser, samples, n, most, taken):
    assert check_maps(recogniser, samples[:n], most=most)["faithfulness"]["n"] == taken
    assert check_maps(recogniser, samples, most=0) is None
    assert check_maps(recogniser, []) is None


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_some_of_many_are_drawn_in_order_and_without_a_rhythm(n, most, seed):
    found = some_of(range(n), most, seed)
    assert len(found) == min(n, most)
    assert found == sorted(set(found))


def test_classes_that_come_in_turn_are_all_drawn():
    assert {place % 10 for place in some_of(range(250), 50)} == set(range(10))


def test_the_network_sees_its_own_size(recogniser, samples):
    assert recogniser_input(recogniser, samples[0].path).shape == (SIZE, SIZE, 3)
