"""Sets that are folders of class folders (Caltech 101, EuroSAT, ImageNet, LFW) and folders of frames (UCF101)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fieldmark.data.index import Index, Skipped
from fieldmark.data.sources.folder import open_folder
from fieldmark.errors import DataError
from fieldmark.files import is_folder
from fieldmark.pictures import SUFFIXES, list_folder
from fieldmark.types import Sample

from .facts import DataSet
from .lists import listed, read_lines, read_mat
from .place import Progress

DEVKIT = "ILSVRC2012_devkit_t12/data"


def open_caltech(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Caltech 101 (Fei-Fei et al. 2004) without its background folder; no official split."""
    index = _class_folders(facts, root / "101_ObjectCategories")
    return index.with_samples(s for s in index.samples if s.label != "BACKGROUND_Google")


def open_eurosat(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """EuroSAT's RGB pictures (Helber et al. 2019); no official split."""
    return _class_folders(facts, root / "EuroSAT_RGB")


def open_lfw(facts: DataSet, root: Path, _progress: Progress | None, least: int = 20) -> Index:
    """Labeled Faces in the Wild, funneled (Huang et al. 2007): people with at least `least` pictures; no split."""
    index = _class_folders(facts, root / "lfw_funneled")
    counts = Counter(s.label for s in index.samples)
    kept = [s for s in index.samples if counts[s.label] >= least]
    return index.with_samples(replace(s, labels=(s.label.replace("_", " "),)) for s in kept)


def _class_folders(facts: DataSet, folder: Path) -> Index:
    return replace(open_folder(folder), source=facts.name)


def open_imagenet(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """ILSVRC 2012 (Russakovsky et al. 2015): folders of synsets, named as the development kit says where it is there.

    `val` may be without folders; its labels are the kit's then.
    """
    index = replace(open_folder(root), source=facts.name)
    if not any(is_folder(path) for path in list_folder(root / "val")):
        index = _with_flat_val(index, root)
    names = _synset_names(root)
    return index.with_samples(replace(s, labels=(names.get(s.label, s.label),)) for s in index.samples)


def _with_flat_val(index: Index, root: Path) -> Index:
    truth = root / DEVKIT / "ILSVRC2012_validation_ground_truth.txt"
    if not truth.is_file():
        raise DataError(
            f"{root / 'val'} has no folders of synsets and {truth} is missing, so its pictures have no labels; unpack "
            f"ILSVRC2012_devkit_t12.tar.gz into {root}"
        )
    synsets = dict(_synsets(root))
    samples, skipped = [], list(index.skipped)
    for number, line in enumerate(read_lines(truth), start=1):
        name = f"val/ILSVRC2012_val_{number:08d}.JPEG"
        wnid = synsets.get(int(line)) if line.isdecimal() else None
        if wnid is None:
            skipped.append(Skipped(name, f"the development kit has no class {line[:20]!r}"))
        else:
            samples.append(Sample(root / name, name, (wnid[0],), "val"))
    found = listed(index.source, root, samples, skipped)
    return replace(found, samples=index.samples + found.samples)


def _synsets(root: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Number, WordNet id and words of every synset of the development kit."""
    path = root / DEVKIT / "meta.mat"
    rows = read_mat(path, "synsets")["synsets"]
    if not {"ILSVRC2012_ID", "WNID", "words"} <= set(rows.dtype.names or ()):
        raise DataError(f"{path} is not the development kit's; get it again")
    for row in rows:
        yield int(row["ILSVRC2012_ID"]), (str(row["WNID"]), str(row["words"]))


def _synset_names(root: Path) -> dict[str, str]:
    """The first word of each synset by its WordNet id, which follows in brackets where the word is not the only one."""
    if not (root / DEVKIT / "meta.mat").is_file():
        return {}
    firsts = {wnid: words.split(",")[0].strip() for number, (wnid, words) in _synsets(root) if number <= 1000}
    counts = Counter(word.casefold() for word in firsts.values())
    return {wnid: word if counts[word.casefold()] == 1 else f"{word} ({wnid})" for wnid, word in firsts.items()}


def open_ucf(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """UCF101 (Soomro et al. 2012) as frames: the first official split, the frames of a scene, which is in several
    clips, as one group."""
    samples, skipped = [], []
    for part, name in (("train", "trainlist01.txt"), ("test", "testlist01.txt")):
        for line in read_lines(root / "ucfTrainTestlist" / name):
            label, slash, file = line.split()[0].partition("/")
            clip = file.removesuffix(".avi")
            if not slash or not clip or "/" in clip or ".." in (label, clip):
                skipped.append(Skipped(f"{name}: {line[:60]}", "not class/clip"))
                continue
            folder = next((f for f in (root / "frames" / label / clip, root / "frames" / clip) if is_folder(f)), None)
            frames = [p for p in list_folder(folder) if p.suffix.lower() in SUFFIXES] if folder else []
            if not frames:
                skipped.append(Skipped(f"{label}/{clip}", "there is no folder of its frames"))
            scene = clip.rpartition("_c")[0] or clip
            samples += [Sample(p, p.relative_to(root).as_posix(), (label,), part, group=scene) for p in frames]
    return Index(facts.name, tuple(samples), tuple(skipped))
