"""What happens to ECG files: changes of what is stated, of bytes and of pictures, each drawn at random.

A change of what is stated takes a `File` before it is written, one of bytes after. The truth stays what it was, and may
be read or be refused, unless the change says otherwise: `truth`, `slack` and `warned` of the file. So a change whose
result nobody can tell from a true file (an unmarked exchange of V1 and V2, another gain) is not among them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from fuzz_files import BITS, SUFFIXES, File, other_patient, write
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from uniecg_lite.leads import INDEPENDENT, LEADS, LIMB

TABLES = ("wfdb", "mat", "csv", "npz")
ARRAYS = ("npy", "npz")
OTHERS = ("dicom", "edf", "muse", "aecg", "scp")
FILTER = 22  # values of the standard form that one sample reaches through the filter of `ECG.resample`
FOREIGN_LEADS = ("V7", "V3R", "MLII", "-V1", "VI", "X", "lead", "V1 V2", "V1-V2", "?", "aV", "V")
SPELLINGS = ("{}", "{}", "Lead {}", "ECG {}", "ecg_{}", "MDC_ECG_LEAD_{}", "ECG Lead {}")
UNITS = {"uV": "uV", "UV": "uV", "µV": "uV", "V": "V", "nV": "nV", "mv": "mV", "MV": "mV"}
FOREIGN_UNITS = ("mmHg", "adu", "counts", "kV", "mA", "NU", "m", "mV/mm", "V/V", "0")
RATES = (
    "fast",
    "nan",
    "-500",
    "0",
    "inf",
    "1e9",
    "5OO",
    "0x1F4",
    "500:500",
    "{khz:g} kHz",
    "{hz:g}.",
    "{hz:g}Hz",
    "+{hz:g}",
)
AGES = {  # text -> years, None: unknown
    "6 months": 0.5, "3 (months)": 0.25, "3/12": 0.25, "3 days": 0, "40 weeks": 0.8, "05/03/1960": None, "300": None,
    "-3": None, "NaN": None, "0": 0, "63.5": 63.5, "063Y": 63, "six": None, ">89": None, "": None, "1960-03-05": None,
    "5-months": 0.4, "7_days": 0, "63 years": 63, "P63Y": 63, "6,5": 6.5, "1e2": 100,
}  # fmt: skip
SEXES = {
    "F": "female", "W": "female", "Male": "male", "0": None, "1": None, "unknown": None, "other": None, "M/F": None,
    "F/M": None, "male or female": None, "Missing": None, "": None, "not male": None, "X": None, "Mujer": "female",
}  # fmt: skip
Change = Callable[[File, np.random.Generator], None]
STATED: dict[str, tuple[tuple[str, ...], Change]] = {}
BYTES: dict[str, tuple[tuple[str, ...], Change]] = {}
PICTURES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {}


def _stated(*forms: str):
    return lambda change: STATED.setdefault(change.__name__, (forms, change))[1]


def _bytes(*forms: str):
    return lambda change: BYTES.setdefault(change.__name__, (forms, change))[1]


def _picture(change):
    return PICTURES.setdefault(change.__name__, change)


# --- leads


@_stated(*TABLES, "npy", *OTHERS)
def unchanged(file, rng):
    pass


@_stated(*TABLES)
def leads_shuffled(file, rng):
    _keep(file, rng.permutation(len(file.names)))


@_stated(*TABLES)
def leads_spelled_otherwise(file, rng):
    cases = (str, str.upper, str.lower)
    file.names = [cases[rng.integers(3)](SPELLINGS[rng.integers(len(SPELLINGS))].format(name)) for name in file.names]
    if file.form in ("wfdb", "mat"):
        file.names = [name.replace(" ", "_") for name in file.names]


@_stated(*TABLES)
def limb_leads_misnamed(file, rng):
    a, b = rng.choice(6, 2, replace=False)
    file.names[a], file.names[b] = file.names[b], file.names[a]


@_stated(*TABLES)
def lead_with_a_foreign_name(file, rng):
    file.names[rng.integers(12)] = str(rng.choice(FOREIGN_LEADS))


@_stated(*TABLES)
def lead_named_twice(file, rng):
    a, b = rng.choice(12, 2, replace=False)
    file.names[a] = file.names[b]


@_stated(*TABLES)
def leads_missing(file, rng):
    _keep(file, np.sort(rng.permutation(12)[: rng.integers(6, 12)]))


@_stated(*TABLES)
def limb_leads_missing(file, rng):
    _keep(file, np.sort([*rng.permutation(6)[: rng.integers(2, 6)], *range(6, 12)]))


@_stated(*TABLES)
def eight_leads(file, rng):
    _keep(file, [LEADS.index(name) for name in INDEPENDENT])


@_stated(*TABLES)
def other_signals_beside(file, rng):
    file.names = [*file.names, str(rng.choice(["RESP", "HR", "MCL1", "Unnamed: 0", "index", "-aVR", ""])) or "x"]
    file.signal = np.vstack([file.signal, rng.normal(size=file.signal.shape[1])])


@_stated(*TABLES)
def inverted_leads_named_so(file, rng):
    k = rng.integers(6)
    file.names[k], file.signal[k] = f"-{LIMB[k]}", -file.signal[k]


@_stated(*TABLES, "npy")
def dead_chest_lead(file, rng):
    file.signal[6 + rng.integers(6)] = rng.choice([0.0, 1.0])


def _keep(file, rows):
    file.names, file.signal = [file.names[k] for k in rows], file.signal[rows]


# --- units, rates, people


@_stated(*TABLES, "npy")
def other_unit(file, rng):
    file.unit = str(rng.choice(list(UNITS)))
    file.stored = UNITS[file.unit]


@_stated(*TABLES, "npy")
def foreign_unit(file, rng):
    file.unit, file.stored = str(rng.choice(FOREIGN_UNITS)), str(rng.choice(["mV", "uV"]))


@_stated(*TABLES, "npy")
def unstated_unit(file, rng):
    file.unit, file.stored = None, str(rng.choice(["mV", "uV", "V"]))


@_stated(*TABLES, "npy")
def wrong_unit(file, rng):
    file.unit, file.stored = (str(unit) for unit in rng.choice(["mV", "uV", "V", "nV"], 2, replace=False))


@_stated(*TABLES)
def odd_rate(file, rng):
    hz = file.truth.hz
    file.hz = str(rng.choice(RATES)).format(hz=hz, khz=hz / 1000)


@_stated(*TABLES)
def unstated_rate(file, rng):
    file.hz = None
    file.options = {"hz": file.truth.hz} if rng.random() < 0.5 else {}


@_stated(*TABLES)
def other_rate_passed(file, rng):
    file.options = {"hz": file.truth.hz * rng.choice([0.5, 0.9, 1.1, 2, -1, 0, np.nan, np.inf])}


@_stated("csv")
def second_rate_in_the_notes(file, rng):
    file.notes.append(f"{rng.choice(['hz', 'fs', 'sampling rate'])} = {file.truth.hz * rng.choice([0.5, 2]):g}")


@_stated("csv")
def rate_against_times(file, rng):
    file.stamps = _stamps(file)
    file.hz = f"{file.truth.hz * rng.choice([0.5, 1, 2]):g}"


@_stated(*TABLES)
def odd_age(file, rng):
    file.age = str(rng.choice(list(AGES)))
    file.truth = replace(file.truth, age=AGES[file.age])


@_stated(*TABLES)
def odd_sex(file, rng):
    file.sex = str(rng.choice(list(SEXES)))
    file.truth = replace(file.truth, sex=SEXES[file.sex])


@_stated("wfdb", "mat", "csv")
def second_person_in_the_notes(file, rng):
    file.notes += ["Age: 31", "Sex: male"]


# --- samples


@_stated(*TABLES, "npy")
def gap(file, rng):
    """NaN; what lay there is lost."""
    count = int(rng.integers(1, round(0.06 * file.truth.hz) + 1))
    _lose(file, rng, count, np.nan)


@_stated("csv", "npy", "npz")
def mark_of_missing_samples(file, rng):
    """The number -32768 in whole microvolts, as recorders have it."""
    file.unit = file.stored = "uV"
    _lose(file, rng, int(rng.integers(1, 4)), -32.768)


@_stated("csv", "npy", "npz")
def infinite_value(file, rng):
    _lose(file, rng, 1, rng.choice([np.inf, -np.inf]))


@_stated("csv")
def rows_doubled(file, rng):
    """Their times double, too."""
    first = int(rng.integers(1, 700))
    _rows(file, np.insert(np.arange(file.signal.shape[1]), first, np.arange(first, first + rng.integers(1, 50))))


@_stated("csv")
def rows_lost(file, rng):
    first = int(rng.integers(1, 600))
    _rows(file, np.delete(np.arange(file.signal.shape[1]), np.arange(first, first + rng.integers(1, 200))))


@_stated("csv")
def rows_shuffled(file, rng):
    _rows(file, rng.permutation(file.signal.shape[1]))


def _lose(file, rng, count, value):
    first = int(rng.integers(5, file.signal.shape[1] - count - 5))
    file.signal[rng.integers(len(file.signal)), first : first + count] = value
    file.slack, file.warned = 12 * (round(count * 100 / file.truth.hz) + FILTER), True


def _rows(file, rows):
    file.signal, file.stamps = file.signal[:, rows], _stamps(file)[rows]


def _stamps(file):
    return np.arange(file.signal.shape[1]) / file.truth.hz


# --- arrays


@_stated(*ARRAYS)
def other_numbers(file, rng):
    """Other types; whole numbers are microvolts."""
    file.dtype = str(rng.choice(["<f2", "<f4", ">f4", ">f8", "<c16", "U32", "O", "?", "<i2", ">i2", "<i4", "<i8"]))
    if file.dtype[1:2] == "i":
        file.unit = file.stored = "uV"


@_stated(*ARRAYS)
def unsigned_numbers(file, rng):
    """Whole microvolts of 16 bits, of which the sign was forgotten."""
    file.unit = file.stored = "uV"
    file.signal = np.rint(file.signal * 1000).astype("<i2").astype("<u2") / 1000


@_stated(*ARRAYS)
def other_shape(file, rng):
    x = file.signal
    shapes = (
        x.T,
        x[None],
        x.ravel(),
        x.T.reshape(x.shape),
        x.reshape(x.shape[::-1]),
        np.vstack([x, x[:1]]),
        x[..., None],
    )
    file.signal = shapes[rng.integers(len(shapes))]


# --- bytes


def _payload(file):
    """The file that holds the samples."""
    return file.folder / f"rec{SUFFIXES[file.form]}"


def _text(file):
    """The file that holds the words."""
    return file.folder / "rec.hea" if file.form in ("wfdb", "mat") else _payload(file)


def _edit(path, rng, change):
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))


@_bytes(*TABLES, "npy", *OTHERS)
def cut_short(file, rng):
    size = _payload(file).stat().st_size
    _edit(_payload(file), rng, lambda data: data[: int(rng.integers(0, size))])
    file.slack = _tail(file, _payload(file).stat().st_size / size)


@_bytes(*TABLES, "npy", *OTHERS)
def end_cut_off(file, rng):
    _edit(_payload(file), rng, lambda data: data[: -int(rng.integers(1, 60))])
    file.slack = _tail(file, 1.0)


def _tail(file, part):
    """A table does not state its length, so that its last samples may be missing."""
    return 12 * (12 + FILTER) if file.form == "csv" and part > 0.985 else 0


@_bytes(*TABLES, "npy", *OTHERS)
def grown(file, rng):
    _edit(_payload(file), rng, lambda data: data + rng.bytes(int(rng.integers(1, 2000))))


@_bytes(*TABLES, "npy", *OTHERS, "page")
def emptied(file, rng):
    (file.path if file.form == "page" else _payload(file)).write_bytes(b"")


@_bytes("wfdb", "npz", "scp")
def block_of_zeros(file, rng):
    """Forms with checksums alone."""

    def change(data):
        first, count = int(rng.integers(len(data) // 4, len(data) // 2)), int(rng.integers(500, 4000))
        data[first : first + count] = bytes(len(data[first : first + count]))
        return data

    _edit(_payload(file), rng, change)


@_bytes("wfdb", "npz", "scp", "mat", "npy", "dicom", "edf")
def bytes_flipped(file, rng):
    """In the second half, so among the samples; without a checksum nobody can tell, and as many values may differ."""
    count = int(rng.integers(1, 6))

    def change(data):
        for place in rng.integers(len(data) // 2, len(data) - (len(data) // 4), count):
            data[place] ^= int(rng.integers(1, 256))
        return data

    _edit(_payload(file), rng, change)
    blind = file.form == "wfdb" and file.packing[0] in BITS and file.packing[0] != "212"  # sums of 16 bits, modulo
    summed = file.form in ("wfdb", "npz", "scp") and not blind
    file.slack = 0 if summed else 12 * count * FILTER


@_bytes("wfdb", "mat", "csv", "muse", "aecg", "edf", "dicom")
def letters_garbled(file, rng):
    """The highest bit of some letters at the beginning is turned over."""

    def change(data):
        for place in rng.integers(0, min(len(data), 1500), int(rng.integers(1, 4))):
            data[place] ^= 128
        return data

    _edit(_text(file), rng, change)


@_bytes(*TABLES, "npy", *OTHERS, "page")
def other_suffix(file, rng):
    new = file.path.with_suffix(
        str(rng.choice([*SUFFIXES.values(), ".txt", ".tsv", ".jpg", ".hea", ".pdf", "", ".xyz"]))
    )
    file.path = _payload(file) if file.form in ("wfdb", "mat") else file.path
    if new != file.path and not new.exists():
        file.path = file.path.rename(new)


@_bytes("wfdb", "mat")
def one_file_missing(file, rng):
    (_text(file) if rng.random() < 0.5 else _payload(file)).unlink()


@_bytes("wfdb")
def signals_of_another(file, rng):
    """The header stays, with its checksums."""
    words = _text(file).read_bytes()
    other = replace(file, signal=other_patient(file).signal.astype(float))
    write(other, rng)
    _text(file).write_bytes(words)


@_bytes("wfdb", "mat", "csv", "muse", "aecg")
def other_encoding(file, rng):
    data = _text(file).read_bytes()
    words = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    codes = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252", "cp500", "utf-7"]
    _text(file).write_bytes(words.encode(str(rng.choice(codes)), "replace"))


@_bytes("wfdb", "mat", "csv")
def other_line_ends(file, rng):
    end = [b"\r", b"\r\n", b"\n\n", b" \n", b"\t\n", b"\x0c", b"\n\x00", b""][rng.integers(8)]
    _edit(_text(file), rng, lambda data: data.replace(b"\n", end))


@_bytes("wfdb", "mat")
def line_lost_or_doubled(file, rng):
    lines = _text(file).read_text().splitlines()
    k = int(rng.integers(len(lines)))
    lines[k : k + 1] = [lines[k]] * int(rng.choice([0, 2]))
    _text(file).write_text("\n".join(lines))


# --- pictures of a page; read as it was, or refused


@_picture
def scaled(image, rng):
    width = int(rng.integers(300, 2600))
    return image.resize((width, round(width * image.height / image.width)), Image.Resampling.LANCZOS)


@_picture
def squeezed(image, rng):
    return image.resize((1080, round(592 * rng.uniform(0.95, 1.05))), Image.Resampling.LANCZOS)


@_picture
def quarter_turned(image, rng):
    return image.rotate(90 * int(rng.integers(1, 4)), expand=bool(rng.random() < 0.5))


@_picture
def mirrored(image, rng):
    return ImageOps.mirror(image) if rng.random() < 0.5 else ImageOps.flip(image)


@_picture
def tilted(image, rng):
    return image.rotate(rng.uniform(0.1, 3) * rng.choice([-1, 1]), Image.Resampling.BICUBIC, fillcolor="white")


@_picture
def cropped(image, rng):
    share = rng.uniform(0, 0.06, 4) if rng.random() < 0.5 else [rng.uniform(0, 0.06)] * 4
    w, h = image.size
    return image.crop((round(w * share[0]), round(h * share[1]), round(w * (1 - share[2])), round(h * (1 - share[3]))))


@_picture
def bordered(image, rng):
    share, (w, h) = rng.uniform(0.002, 0.06), image.size
    wide = Image.new("RGB", (round(w * (1 + 2 * share)), round(h * (1 + 2 * share))), "white")
    wide.paste(image, (round(w * share), round(h * share)))
    return wide


@_picture
def moved(image, rng):
    place = [int(step) for step in rng.integers(-40, 41, 2)]
    sheet = Image.new("RGB", image.size, "white")
    sheet.paste(image, place)
    return sheet


@_picture
def recoloured(image, rng):
    how = (
        ImageOps.grayscale,
        ImageOps.invert,
        lambda im: Image.merge("RGB", im.split()[::-1]),
        lambda im: im.convert("1"),
    )
    return how[rng.integers(len(how))](image)


@_picture
def brighter_or_darker(image, rng):
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.3, 2))
    return ImageEnhance.Contrast(image).enhance(rng.uniform(0.3, 2))


@_picture
def blurred(image, rng):
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 6)))


@_picture
def noisy(image, rng):
    noise = rng.normal(0, rng.uniform(1, 90), (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype("u1"))


@_picture
def blank_or_noise(image, rng):
    blank = Image.new("RGB", image.size, str(rng.choice(["white", "#fbdde2", "black", "#7090d8"])))
    return blank if rng.random() < 0.5 else noisy(blank, rng)


@_picture
def turned_and_paler(image, rng):
    return ImageEnhance.Color(quarter_turned(image, rng)).enhance(rng.uniform(0.05, 0.6))
