"""Which heart is this? Its intervals in s, and its waves as Gaussians in time with one amplitude in each lead.

`textbook` draws every wave as one dipole sees it. Real beats differ in three ways that a small classifier finds at once
(`metrics.realism`), and `as_recorded` changes them: P and T lie further to the left and vary far more from person to
person, T peaks later and falls steeper; the QRS is one sharp complex instead of three bumps; and each lead sees its own
detail, because no heart is a single dipole. Each change was measured on real sinus beats and is drawn for each heart.
"""

from dataclasses import dataclass, replace

import torch

from ..findings import INJURY, column
from . import hashing, waves
from .disease import HEARTS, Draws, Patients, draw, put
from .waves import BASAL, LATE, MAIN, NOTCH, PLACES, SEPTAL, SIZES, lead_field


@dataclass
class Hearts:
    """B hearts. Times in s from QRS onset (P: from P onset), amplitudes in mV in the leads I, II, V1..V6."""

    who: Patients
    rr: torch.Tensor  # (B,) mean RR interval; between P waves where the block drops beats
    pr: torch.Tensor  # (B,) P onset to QRS onset, of the first beat of a cycle where it grows
    p_duration: torch.Tensor  # (B,)
    qrs: torch.Tensor  # (B,) QRS duration
    qt: torch.Tensor  # (B,) QRS onset to T end
    t_width: torch.Tensor  # (B,) standard deviation of the falling limb of T
    centre: torch.Tensor  # (B, W) of the parts of the QRS complex
    width: torch.Tensor  # (B, W) their standard deviations
    qrs_mv: torch.Tensor  # (B, 8, W)
    st_mv: torch.Tensor  # (B, 8) plateau
    t_mv: torch.Tensor  # (B, 8)
    u_mv: torch.Tensor  # (B, 8)
    p_mv: torch.Tensor  # (B, 8, 3) right atrium, left atrium, PR segment
    p_centre: torch.Tensor  # (B, 3)
    p_width: torch.Tensor  # (B, 3)
    early_p_mv: torch.Tensor  # (B, 8) of an atrial premature or a retrograde beat
    ventricular_mv: torch.Tensor  # (B, 8, W) parts of a beat that starts in a ventricle
    flutter_mv: torch.Tensor  # (B, 8) of f or flutter waves

    def has(self, *codes: str) -> torch.Tensor:
        """(B,) True where any of these was drawn."""
        return self.who.has(*codes)

    def float(self) -> "Hearts":
        """In single precision. Parameters are drawn in double, so that they round to the same floats in any batch."""
        return replace(self, **{key: value.float() for key, value in vars(self).items() if key != "who"})


def textbook(seed: int, index: torch.Tensor, visit: int = 0) -> Hearts:
    """Hearts as a textbook draws them, before `as_recorded`, in double precision: (B,) int64 -> Hearts."""
    who = draw(seed, index, visit)
    own = Draws(hashing.uniform(seed, index, stream=31, n=64))  # this chest, the same at every visit
    now = Draws(hashing.uniform(seed, index, stream=41 + 100 * visit, n=64))
    rr = 60 / _rate(who, now)
    times = _intervals(who, now, rr)
    field = lead_field(hashing.normal(seed, index, stream=2, n=24).view(-1, 8, 3))
    size = who.usual("size")
    beat = waves.own_beat(who, own, now, field, size, times["qrs"])
    beat |= waves.st_and_t(who, own, now, field, size, times["qt"], beat["qrs_mv"])
    early = waves.early_beat(who, now, field)
    centre, width = PLACES["ventricular"][:, None] * times["qrs"][:, None]  # (B, W)
    ectopic = {"centre": centre, "width": width, "qrs_mv": early, "st_mv": -0.06 * early.sum(2)}
    for key, value in (ectopic | {"t_mv": -0.21 * early.sum(2)}).items():
        beat[key] = who.override(beat[key], {"VT": value})
    beat |= times | waves.p_wave(who, own, now, field, times["p_duration"], times["pr"])
    beat |= {"u_mv": waves.u_wave(who, now, beat["t_mv"]), "early_p_mv": waves.early_p(who, now, field)}
    return Hearts(who, rr, **beat, ventricular_mv=early, flutter_mv=waves.flutter(who, now, field))


def _rate(who: Patients, u: Draws) -> torch.Tensor:
    """(B,) mean ventricular rate in bpm (atrial where a block drops beats), in the range of each rhythm."""
    spread, usual = u.next(), who.usual("rate_bpm").clamp(45, 104)
    cases = {"1AVB": usual.clamp(max=82)}  # P stays behind T
    cases |= {code: low + (high - low) * spread for code, (low, high) in column("drawn_bpm").items()}
    cases["AFLT"] = u.between(255, 325) / (2 + (u.next() * 3).floor())  # of the atria; one beat in two to four
    cases |= {"LQT HYPOK": lambda rate: rate.clamp(max=85), "HYPERK": lambda rate: rate.clamp(max=80)}
    rate = who.override(usual, cases)
    slow = who.has(*INJURY, "STD", "CLBBB", "CRBBB") & who.has("STACH")
    return torch.where(slow, rate.clamp(max=110), rate)  # ST and T stay apart from the next beat


def _intervals(who: Patients, u: Draws, rr: torch.Tensor) -> dict[str, torch.Tensor]:
    """PR, P, QRS and QT in s. QT follows the rate between Bazett's and Fridericia's powers of RR."""
    p_duration = who.override(who.usual("p_ms") / 1000, {"LAE": u.between(0.118, 0.150), "WPW": lambda p: 0.84 * p})
    p_duration = who.override(p_duration, {"WENCK MOB2 3AVB": p_duration.clamp(max=0.112)})  # each stands for itself
    pr = who.usual("pr_ms") / 1000 - 0.02 * (0.8 - rr).clamp(0, 0.4) / 0.4  # shorter when fast
    cases = {"LAE": lambda pr: pr.clamp(min=0.176), "PERI": lambda pr: pr.clamp(min=0.160)}
    cases |= {"1AVB": u.between(0.194, 0.30), "WPW": u.between(0.094, 0.116), "WENCK": u.between(0.16, 0.21)}
    pr = who.override(pr, cases)
    wide = {codes: u.between(*span) for codes, span in HEARTS["qrs_s"].items()}
    qrs = who.override((who.usual("qrs_ms") / 1000).clamp(0.068, 0.118), wide)
    qtc = who.usual("qtc_ms") / 1000
    qtc = torch.where(rr < 0.6, qtc.clamp(max=0.44), qtc)  # P is not lost in the T before it
    cases = {"CLBBB CRBBB IVCD WPW PACE": lambda qtc: qtc + 0.03, "LQT": u.between(0.470, 0.570)}
    qtc = who.override(qtc, cases | {"HYPERK": lambda qtc: qtc - 0.02})
    qtc = qtc * 0.92**0.05  # Bazett's QTc at a usual RR of 0.92 s is the drawn one
    qt = torch.minimum(qtc * who.override(rr, {"3AVB": rr.clamp(max=1.5)}) ** 0.45, 0.86 * rr)
    qt = torch.maximum(qt, qrs + torch.where(who.has("VT", "SVTAC"), 0.12, 0.16))
    room = (rr - qt + 0.06).clamp(min=0.11)  # P may meet the end of T, not its peak
    pr = torch.where(who.has("3AVB"), pr, torch.minimum(pr, room))
    p_duration = torch.minimum(p_duration, pr - 0.012)  # P ends before QRS
    return {"pr": pr, "p_duration": p_duration, "qrs": qrs, "qt": qt}


def as_recorded(hearts: Hearts) -> Hearts:
    """All three changes to hearts of `textbook`, the same at every visit."""
    return qrs(t_wave(p_wave(hearts)))


def _changed(hearts: Hearts, wave: str, **waves: torch.Tensor) -> Hearts:
    """Hearts with these waves, but for those that have a finding that shapes P, T or QRS in a way of its own."""
    keep = hearts.has(*(code for code, own in column("shapes").items() if wave in own))
    return replace(hearts, **{key: put(keep, new, getattr(hearts, key)) for key, new in waves.items()})


def p_wave(hearts: Hearts) -> Hearts:
    """P as high in I as real ones, flatter in the chest leads, and of a size of its own."""
    n = hashing.normal(hearts.who.seed, hearts.who.index, stream=301, n=18)
    size = torch.exp(0.3 * n[:, :1]).clamp(min=0.75)
    right = SIZES["right_p_mv"] * size * (1 + 0.25 * n[:, 1:9])
    left = SIZES["left_p_mv"] * size * (1 + 0.25 * n[:, 9:17])
    left[:, 2] += 0.02 * n[:, 17]
    return _changed(hearts, "P", p_mv=torch.stack([right, left, hearts.p_mv[..., 2]], -1))  # (B, 8, 3)


def t_wave(hearts: Hearts) -> Hearts:
    """T of a real size, axis and spread, later and narrower; ST a little up in V1 to V3, as sex and age have it."""
    n, who = hashing.normal(hearts.who.seed, hearts.who.index, stream=302, n=20), hearts.who
    t = who.by_lead("t_mv") * torch.exp(0.3 * n[:, :1]) * (1 + 0.1 * n[:, 1:9]) + n[:, 9:10] * SIZES["t_turn_mv"]
    st = hearts.st_mv + who.by_lead("j_mv") * torch.exp(0.45 * n[:, 10:11])
    st = st + n[:, 11:12] * SIZES["j_turn_mv"] + 0.008 * n[:, 12:20]
    return _changed(hearts, "T", t_mv=t, st_mv=st, t_width=0.86 * hearts.t_width)


def qrs(hearts: Hearts) -> Hearts:
    """One sharp complex: its parts closer together, each of its own width, with fine detail in every lead."""
    n, duration = hashing.normal(hearts.who.seed, hearts.who.index, stream=303, n=96), hearts.qrs[:, None]
    parts = [SEPTAL, MAIN, BASAL]
    mv, centre, width = hearts.qrs_mv.clone(), hearts.centre.clone(), hearts.width.clone()
    centre[:, parts] = duration * mv.new_tensor((0.265, 0.44, 0.66)) + 0.04 * duration * n[:, 80:83]
    width[:, parts] = duration * mv.new_tensor((0.095, 0.097, 0.089)) * torch.exp(0.2 * n[:, :3].clamp(min=-0.8))
    mv[:, 3:5, SEPTAL] *= mv.new_tensor((1.15, 1.55))  # r in V2 and V3
    mv *= (SIZES["gain"] * hearts.who.by_lead("gain") * torch.exp(SIZES["gain_spread"] * n[:, 71:72]))[..., None]
    mv[..., parts] *= 1 + SIZES["share"][:, None] * n[:, 3:27].unflatten(1, (8, 3))
    peak = mv[..., parts].abs().amax(2)  # (B, 8)
    for part, at, k in ((NOTCH, 0.52, 27), (LATE, 0.36, 51)):
        mv[..., part] += SIZES["detail"] * (0.08 * peak * n[:, k : k + 8] + 0.014 * n[:, k + 8 : k + 16])
        centre[:, part] = hearts.qrs * (at + 0.05 * n[:, k + 16])
        width[:, part] = 0.077 * hearts.qrs
    return _changed(hearts, "QRS", qrs_mv=mv, centre=centre, width=width)


# --- The waves of one beat in time: QRS, ST, T and U as sums of Gaussians and a plateau.

FAR = -80.0  # exponents below make numbers too small for a fast exp, and nothing to be seen


def gauss(time: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, out: torch.Tensor) -> None:
    """exp(-((time - centre) / width)^2 / 2) into `out`; all broadcast to its shape."""
    scale = 0.5**0.5 / width
    torch.addcmul(-centre * scale, time, scale, out=out)
    torch.mul(out, out, out=out).neg_().clamp_(min=FAR).exp_()


def beat_signal(hearts: Hearts, since: torch.Tensor, late: torch.Tensor | None = None) -> torch.Tensor:
    """The own beat at times since QRS onset, (B, L) s -> (B, 8, L) mV; `late` is the time that ST, T and U see."""
    late = since if late is None else late
    parts = hearts.centre.shape[1]
    basis = since.new_empty(len(since), parts + 3, since.shape[1])
    gauss(since[:, None], hearts.centre[..., None], hearts.width[..., None], out=basis[:, :parts])
    j, width, qt = hearts.qrs[:, None], hearts.t_width[:, None], hearts.qt[:, None]
    top = qt - 2 * width
    falls = torch.sigmoid((top - late) / (0.35 * width))
    torch.mul(torch.sigmoid((since - (j - 0.008)) / 0.006), falls, out=basis[:, parts])
    gauss(late, top, torch.where(late < top, 1.25 * width, width), out=basis[:, parts + 1])
    gauss(late, qt + 0.055, torch.full_like(qt, 0.028), out=basis[:, parts + 2])
    mv = torch.cat([hearts.qrs_mv, hearts.st_mv[..., None], hearts.t_mv[..., None], hearts.u_mv[..., None]], 2)
    return torch.bmm(mv, basis)  # (B, 8, L)


def ventricular_beat(parts: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
    """A premature beat from a ventricle: (B, 8, W) mV and (B, L) s -> (B, 8, L), wide, T against QRS."""
    n = 3
    centre, width = PLACES["ventricular"][:, :n, None].float() * 0.155  # s, as long as its QRS
    basis = since.new_empty(len(since), n + 1, since.shape[1])
    gauss(since[:, None], centre, width, out=basis[:, :n])
    top = torch.tensor(0.32)
    gauss(since, top, torch.where(since < top, 0.065, 0.05), out=basis[:, n])
    return torch.bmm(torch.cat([parts[..., :n], -0.21 * parts.sum(2, keepdim=True)], 2), basis)
