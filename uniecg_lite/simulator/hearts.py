"""Which heart is this? Intervals in s, and every wave as a Gaussian in time with one amplitude in each lead."""

from dataclasses import dataclass, fields

import torch

from . import atria, random, repolarisation, ventricles
from .disease import INJURY, RHYTHMS, Draws, Patients, draw
from .shapes import lead_field


@dataclass
class Hearts:
    """B hearts. Times in s from QRS onset (P: from P onset), amplitudes in mV in the leads I, II, V1..V6."""

    who: Patients
    rhythm: torch.Tensor  # (B,) place in RHYTHMS
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

    def in_rhythm(self, *codes: str) -> torch.Tensor:
        """(B,) True in one of these rhythms."""
        return self.has(*codes)  # every heart was drawn exactly one

    def float(self) -> "Hearts":
        """In single precision. Parameters are drawn in double, so that they round to the same floats in any batch."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "who"}
        return Hearts(self.who, **{k: v.float() if v.is_floating_point() else v for k, v in rest.items()})


def textbook(seed: int, index: torch.Tensor, visit: int = 0) -> Hearts:
    """Hearts as a textbook draws them, before `lifelike`, in double precision: (B,) int64 -> Hearts."""
    who = draw(seed, index, visit)
    own = Draws(random.uniform(seed, index, stream=31, n=64))  # this chest, the same at every visit
    now = Draws(random.uniform(seed, index, stream=41 + 100 * visit, n=64))
    rr = 60 / _rate(who, now)
    pr, p_duration, qrs, qt = _intervals(who, now, rr)
    field = lead_field(random.normal(seed, index, stream=2, n=24).view(-1, 8, 3))
    size = (1.0 - 0.12 * who.female.double()) * (1.12 - 0.003 * who.age)  # amplitudes fall with age and in women
    centre, width, qrs_mv = ventricles.own_beat(who, own, now, field, size, qrs)
    st, t, t_share = repolarisation.st_and_t(who, own, now, field, size, qrs_mv)
    early = ventricles.early_beat(who, now, field)
    ectopic = who.has("VT")
    st = torch.where(ectopic[:, None], -0.06 * early.sum(2), st)
    t = torch.where(ectopic[:, None], -0.21 * early.sum(2), t)
    qrs_mv = torch.where(ectopic[:, None, None], early, qrs_mv)
    p, p_centre, p_width = atria.p_wave(who, own, now, field, p_duration, pr)
    return Hearts(
        who,
        who.plan[:, : len(RHYTHMS)].int().argmax(1),
        rr,
        pr,
        p_duration,
        qrs,
        qt,
        t_share * qt,
        torch.where(ectopic[:, None], ventricles.VENTRICULAR_CENTRE * qrs[:, None], centre),
        torch.where(ectopic[:, None], ventricles.VENTRICULAR_WIDTH * qrs[:, None], width),
        qrs_mv,
        st,
        t,
        repolarisation.u_wave(who, now, t),
        p,
        p_centre,
        p_width,
        atria.early_p(who, now, field),
        early,
        atria.flutter(who, now, field),
    )


def _rate(who: Patients, u: Draws) -> torch.Tensor:
    """(B,) mean ventricular rate in bpm (atrial where a block drops beats), in the range of each rhythm."""
    spread = u.next()
    rate = 62.5 + 35.5 * spread
    ranges = {
        "SBRAD": (37, 57),
        "STACH": (103, 138),
        "SARRH": (56, 84),
        "AFIB": (62, 150),
        "JUNC": (38, 58),
        "SVTAC": (152, 205),
        "VT": (130, 190),
        "PACE": (58, 82),
        "WENCK": (58, 80),
        "MOB2": (56, 80),
        "3AVB": (32, 46),
    }
    for code, (low, high) in ranges.items():
        rate = torch.where(who.has(code), low + (high - low) * spread, rate)
    atria, conducted = u.between(255, 325), 2 + (u.next() * 3).floor()  # flutter: one beat in two to four
    rate = torch.where(who.has("AFLT"), atria / conducted, rate)
    rate = torch.where(who.has("LQT", "HYPOK"), rate.clamp(max=85), rate)
    rate = torch.where(who.has("HYPERK"), rate.clamp(max=80), rate)
    rate = torch.where(who.has("1AVB") & ~who.has("SBRAD"), 63 + 19 * spread, rate)  # P stays behind T
    slow = who.has(*INJURY, "STD", "CLBBB", "CRBBB") & who.has("STACH")
    return torch.where(slow, rate.clamp(max=110), rate)  # ST and T stay apart from the next beat


def _intervals(who: Patients, u: Draws, rr: torch.Tensor):
    """PR, P, QRS and QT in s. QT follows the rate between Bazett's and Fridericia's powers of RR."""
    p_duration = torch.where(who.has("LAE"), u.between(0.130, 0.150), u.between(0.088, 0.110))
    pr = u.between(0.136, 0.180) + 0.0002 * (who.age - 50)
    pr = pr - 0.02 * (0.8 - rr).clamp(0, 0.4) / 0.4  # shorter when fast
    pr = torch.where(who.has("LAE"), pr.clamp(min=0.176), pr)
    pr = torch.where(who.has("PERI"), pr.clamp(min=0.160), pr)
    pr = torch.where(who.has("1AVB"), u.between(0.218, 0.30), pr)
    pr = torch.where(who.has("WPW"), u.between(0.094, 0.110), pr)
    p_duration = torch.where(who.has("WPW"), 0.84 * p_duration, p_duration)  # it ends before the delta wave
    pr = torch.where(who.has("WENCK"), u.between(0.16, 0.21), pr)
    qrs = u.between(0.076, 0.106)
    wide = who.has("CLBBB", "CRBBB", "VT", "PACE")
    qrs = torch.where(wide, u.between(0.132, 0.168), qrs)
    qrs = torch.where(who.has("IVCD", "WPW"), u.between(0.130, 0.154), qrs)
    qrs = torch.where(who.has("HYPERK") & ~wide, u.between(0.100, 0.107), qrs)
    qtc = u.between(0.380, 0.430) + 0.008 * who.female.double()
    qtc = torch.where(who.has("CLBBB", "CRBBB", "IVCD", "WPW", "PACE"), qtc + 0.03, qtc)
    qtc = torch.where(who.has("LQT"), u.between(0.495, 0.570), qtc)
    qtc = torch.where(who.has("HYPERK"), qtc - 0.02, qtc)
    beat = torch.where(who.has("3AVB"), rr.clamp(max=1.5), rr)
    qt = qtc * beat**0.45
    qt = torch.minimum(qt, 0.86 * rr)
    qt = torch.maximum(qt, qrs + torch.where(who.has("VT", "SVTAC"), 0.12, 0.16))
    room = (rr - qt + 0.06).clamp(min=0.11)  # P may meet the end of T, not its peak
    return torch.where(who.has("3AVB"), pr, torch.minimum(pr, room)), p_duration, qrs, qt
