"""The data sets of the catalogue: public files at a pinned commit, or where and how to ask their owners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktnet_lite.data.catalogue.download import MANY, RawFile


@dataclass(frozen=True)
class Entry:
    """A data set of the catalogue.

    Parameters
    ----------
    name, about : str
        ``about`` is a line for ``ktnet-lite data list``.
    source : str
        Where the owners distribute it.
    licence : str
        The owners' terms of use.
    reader : str
        The format of its raw files, as :func:`ktnet_lite.data.readers.open_source` names it.
    files : tuple of RawFile
        Empty for a folder whose files differ between users (csd).
    recipe : int
        Version of the conversion from the raw files; a new one makes every built file stale.
    """

    name: str
    about: str
    source: str
    licence: str
    reader: str
    files: tuple[RawFile, ...] = ()
    recipe: int = 1

    @property
    def public(self) -> bool:
        """Whether every raw file has a public link."""
        return bool(self.files) and all(file.url for file in self.files)

    @property
    def remedy(self) -> str:
        """Instructions for getting the raw files: source, licence, command."""
        names = [file.name for file in self.files]
        files = f"{names[0]} and the other {len(names) - 1} files" if len(names) > MANY else ", ".join(names)
        files = files or "its .csd files"
        return (
            f"source: {self.source}\nlicence: {self.licence}\n"
            f"then run, with {files} in FOLDER: ktnet-lite data fetch {self.name} --from FOLDER"
        )


def _github(repository: str, commit: str, listing: str) -> tuple[RawFile, ...]:
    """List raw files of a public repository at a commit; each line of ``listing`` is SHA-256, size, path."""
    rows = (line.split() for line in listing.strip().splitlines())
    base = f"https://raw.githubusercontent.com/{repository}/{commit}"
    return tuple(RawFile(path.rpartition("/")[2], sha256, f"{base}/{path}", int(size)) for sha256, size, path in rows)


CMU = "CMU MultiComp Lab's, for research; cite Zadeh et al. 2016 (MOSI), 2018 (MOSEI)"
MULT = "the Dropbox folder that github.com/yaohungt/Multimodal-Transformer names"
MMSA = "the cloud folders that github.com/thuiar/MMSA names"
SDK = "github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK"
DECLARE = "github.com/declare-lab/multimodal-deep-learning"
MIT = "MIT (the features); the videos: " + CMU
MFN = "github.com/pliang279/MFN"
MIT_MMMO = "MIT (MFN's repository); the videos: of their makers, for research; cite Wöllmer et al. 2013 (ICT-MMMO)"
HAZUMI = "github.com/ouktlab (Hazumi), Osaka University"
UNSTATED = (
    "not stated; the owners publish features and transcripts openly and give the videos under contract with NII IDR: "
    "use for research, pass nothing on; cite Komatani and Okada 2021 (Hazumi)"
)
IEMOCAP = "sign the agreement of sail.usc.edu/iemocap first; never pass the files on"

WORDS = _github(
    "Justin1904/CMU-MultimodalSDK-Tutorials",
    "78b3c16cbefdad812e9455cc29b9cc62ae1a2a49",
    "181272eb7ea3654941b7834604d0a61314368f4085668afae9f04c42a4610dee 1628987 "
    "data/CMU_MOSI_ModifiedTimestampedWords.csd",
)
LABELS = _github(
    "worldreboot/audio-text-sentiment-analysis",
    "40df4d8e7ed1b120e2a36286d96b3b6968e00b13",
    "aef5f4617cdb067cc7606bb798eb6452c3de45f0f21cb3427be33c4d8c7fe852 674712 cmumosi/CMU_MOSI_Opinion_Labels.csd",
)
UTTERANCE = _github(
    "declare-lab/multimodal-deep-learning",
    "111b401d867c14a1dcd930fd2b2ab58a5eca3f70",
    """
    ddd17eeefd3d951d51d4e2ef8a0d132652d8161e1886f71eb7262b7a14bffff6  699228 {}/audio/audio_test0.csv
    5435398a54664e7b00304587dc59ae84a438852be033c2a2fba779588624a2a1 1343911 {}/audio/audio_train0.csv
    a343e22272919d1384c2075dbcdd5fef5aa9f9366b0552a83f7c3147b64b047a 1551145 {}/text/text_test0.csv
    cc327045db6cc361a08b4037b97bb24de4ddb5efb381468c4835cc4a60674668 2993906 {}/text/text_train0.csv
    cab836253d81100f59d533fa2ff65cd53c486be3ec9fd82203c5e25a7a77265f  557378 {}/video/video_test0.csv
    b6efc0413132d627efd06f67f1706830e775e90af9a75696f535c48dbc73f12f 1055454 {}/video/video_train0.csv
    f3b735070bf07ceff7a6ef6c8f4c32757e988de484e35bd6d38b2aecef851a59  889325 {}/text_test.csv
    73770b6302ad0f7a51f4eddcae6788efde4d0b6802e09f78249d5b538d1c1d67 1689050 {}/text_train.csv
    e7689e6d70720addd2a6b316419d245a68839c32b014ff426c406063ee777466  201361 {}/transcripts.csv
    """.replace("{}", "contextual-utterance-level-multimodal-sentiment-analysis/data"),
)
MMMO = _github(  # without text_train_emb.h5: its SHA-256 is unknown because it could not be downloaded
    "pliang279/MFN",
    "b0453fb6e21b581c796246a0c32a6551f2028c1b",
    """
    1d701dc193b3e4404e35b97165fd33af19aff50d193a744488ec4c87ea0d6c44  949248 new_data/mmmo/audio_test.h5
    4c37e59d75bf1fe17baf6d607e4e7eef228b9b16a145f64c9624d2fc8fcb1666 2606848 new_data/mmmo/audio_train.h5
    37b39911ee143d712e36d1fcba5b41400d2b40bef9de3da419de7344486eb8e9  475648 new_data/mmmo/audio_valid.h5
    8f3bcab7716c482c209c393098fabe6362fa66b58eb9de5ebd4529c2cb53476b 3842048 new_data/mmmo/text_test_emb.h5
    ff332edc367c23495f0a0194fc5a2b83d217565a6a9ab402f98cbbb60bdc3b95 1922048 new_data/mmmo/text_valid_emb.h5
    d0bfeb4a0ca249ac766b9c426146e4765b783463112e78665231a82c7b02f176  462848 new_data/mmmo/video_test.h5
    2b7d7d442c1ef7aae0c06d19a845baeb5f8685ee844900f30d6cce643da42452 1269248 new_data/mmmo/video_train.h5
    43a44a63e369bca2fc86c54fa42d9b3b30c03657b8f7287bdae60341f4767d8c  232448 new_data/mmmo/video_valid.h5
    17a83a344f15fc751bf10a052ade48d0944959052b30f33bc2c5216a31ea59ee    2688 new_data/mmmo/y_test.h5
    872872ba80f2076a2f5287ace2e3cb72dff7abaa01e1906073c1d50a15a84d6e    3808 new_data/mmmo/y_train.h5
    e164e98d53b01e558af6eb232fdc0ca8660f8bd3e76469ca12bef124688a4c8f    2368 new_data/mmmo/y_valid.h5
    """,
)


def _hazumi(year: int, commit: str) -> tuple[RawFile, ...]:
    listing = Path(__file__).with_name("hazumi") / f"{year}.txt"  # SHA-256, size, path
    return _github(f"ouktlab/Hazumi{year}", commit, listing.read_text(encoding="utf-8"))


def _mult(name: str, about: str, file: str, licence: str = CMU) -> Entry:
    return Entry(name, f"{about} (MulT's file)", MULT, licence, "mult", (RawFile(file),))


def _mmsa(name: str, about: str, file: str, sha256: str) -> Entry:
    return Entry(name, f"{about} (MMSA's file)", MMSA, CMU, "mmsa", (RawFile(file, sha256),))


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("mosi-words", "MOSI: words and speech rhythm; official split", SDK, CMU, "mosi-words", WORDS + LABELS),
        Entry(
            "mosi-utterance",
            "MOSI: one vector per clip; its own split",
            DECLARE,
            MIT,
            "mosi-utterance",
            UTTERANCE + LABELS,
        ),
        Entry("mmmo", "ICT-MMMO: 340 film reviews; no words in train", MFN, MIT_MMMO, "mfn", MMMO),
        Entry(
            "hazumi",
            "Hazumi 2010 and 2012: 8,132 exchanges online; voice, face and words carry the score",
            HAZUMI,
            UNSTATED,
            "hazumi",
            _hazumi(2010, "a81b91527e109ec7d9e6657aefcd8491eb29acff")
            + _hazumi(2012, "5785cb482e7469919020d71354c9f4e28e123c39"),
        ),
        Entry(
            "hazumi-face",
            "Hazumi 1902: 2,337 exchanges face to face",
            HAZUMI,
            UNSTATED,
            "hazumi",
            _hazumi(1902, "ec71365d439914f93459aa0ec0c6a32240844228"),
        ),
        _mult("mosi", "MOSI, aligned, 147 MB", "mosi_data.pkl"),
        _mult("mosi-unaligned", "MOSI, unaligned, 326 MB", "mosi_data_noalign.pkl"),
        _mult("mosei", "MOSEI, aligned, 3.5 GB", "mosei_senti_data.pkl"),
        _mult("mosei-unaligned", "MOSEI, unaligned, 12 GB", "mosei_senti_data_noalign.pkl"),
        _mult("iemocap", "IEMOCAP, aligned, 279 MB", "iemocap_data.pkl", IEMOCAP),
        _mult("iemocap-unaligned", "IEMOCAP, unaligned, 1.8 GB", "iemocap_data_noalign.pkl", IEMOCAP),
        _mmsa(
            "mosi-mmsa",
            "MOSI, aligned",
            "aligned_50.pkl",
            "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9",
        ),
        _mmsa(
            "mosi-mmsa-unaligned",
            "MOSI, unaligned",
            "unaligned_50.pkl",
            "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524",
        ),
        _mmsa(
            "mosei-mmsa",
            "MOSEI, aligned",
            "aligned_50.pkl",
            "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791",
        ),
        _mmsa(
            "mosei-mmsa-unaligned",
            "MOSEI, unaligned",
            "unaligned_50.pkl",
            "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f",
        ),
        Entry("mosi-csd", "MOSI, a folder of .csd files", SDK, CMU, "csd", recipe=2),
        Entry("mosei-csd", "MOSEI, a folder of .csd files", SDK, CMU, "csd", recipe=2),
    )
}
