"""Which words mean what? Synonyms of findings, evidence and leads; phrases found longest first."""

import itertools
import re
from functools import lru_cache

from ..findings import EVIDENCE, NAMES
from ..leads import LEADS

# --- Words for findings and their evidence: tables only. `lexicon` puts every entry through the word rules of texts.
#
# An entry is in plain lower case. Articles, "wave", "segment", "is" and the like are dropped on both sides; plurals
# and British and American spelling are made one. `|` separates wordings, {name} stands for an entry of `PARTS`.

FINDINGS = {
    "SR": "sinus rhythm|nsr|rhythm is sinus|rhythm sinus rhythm|regular sinus rhythm|normal sinus|sinusrhythm",
    "SBRAD": "sinus bradycardia|sinus brady|slow sinus rhythm|rhythm sinus bradycardia|sinus bradyarrhythmia",
    "STACH": "sinus tachycardia|sinus tach|fast sinus rhythm|rapid sinus rhythm|rhythm sinus tachycardia",
    "SARRH": "sinus arrhythmia|irregular sinus rhythm|rhythm sinus arrhythmia|sinus dysrhythmia",
    "AFIB": "atrial fibrillation|auricular fibrillation|af|afib|a fib|a f|atrial fib|fibrillation of the atria",
    "AFLT": "atrial flutter|flutter|afl|aflutter|a flutter|auricular flutter",
    "JUNC": "junctional rhythm|nodal rhythm|junctional escape|junctional escape rhythm|junctional bradycardia"
    "|av nodal rhythm"
    "|rhythm of junctional origin|rhythm is junctional|accelerated junctional rhythm|av junctional rhythm"
    "|nodal escape rhythm",
    "SVTAC": "supraventricular tachycardia|svt|psvt|paroxysmal supraventricular tachycardia|avnrt"
    "|narrow complex tachycardia"
    "|av nodal reentrant tachycardia|av nodal re entrant tachycardia|supraventricular tach",
    "VT": "ventricular tachycardia|vt|v tach|vtach|monomorphic ventricular tachycardia|ventricular tach",
    "PACE": "ventricular paced rhythm|paced rhythm|paced|v paced|ventricular pacing|pacemaker rhythm|pacemaker ecg"
    "|ventricular pacemaker|electronic pacemaker|electronic ventricular pacemaker|ventricular paced|pacemaker|pacing",
    "WENCK": "{2nd} type i {avb}|{2nd} type 1 {avb}|{2nd} mobitz i {avb}|wenckebach av block|wenckebach|mobitz i"
    "|mobitz 1|mobitz type i|mobitz type 1|mobitz i av block"
    "|{2nd} {avb} type i|{2nd} {avb} type 1|{2nd} {avb} , type i|{2nd} {avb} , type 1|{2nd} {avb} wenckebach"
    "|{2nd} {avb} , wenckebach|{2nd} {avb} mobitz i|{2nd} {avb} , mobitz i|{2nd} {avb} , mobitz type i",
    "MOB2": "{2nd} type ii {avb}|{2nd} type 2 {avb}|{2nd} mobitz ii {avb}|mobitz ii av block|mobitz ii|mobitz 2"
    "|mobitz type ii|mobitz type 2|{2nd} {avb} type ii|{2nd} {avb} type 2"
    "|{2nd} {avb} , type ii|{2nd} {avb} , type 2|{2nd} {avb} mobitz ii|{2nd} {avb} , mobitz ii"
    "|{2nd} {avb} , mobitz type ii",
    "3AVB": "complete {avb}|{3rd} {avb}|chb|complete av dissociation|complete atrioventricular dissociation"
    "|{3rd} block|{3rd}"
    "|total av block",
    "1AVB": "{1st} {avb}|{1st} block|{pr} prolonged|prolonged {pr}|{pr} prolongation|prolongation of {pr}|long {pr}"
    "|{pr} long|lengthened {pr}|{pr} lengthened|av block i|av block 1",
    "PAC": "{apb}|pac|apb|apc|{svpb}|supraventricular extrasystole|atrial extrasystole|atrial ectopic"
    "|atrial ectopic beat"
    "|atrial ectopy|supraventricular ectopic|supraventricular ectopy|svpb|sve|ectopic atrial beat|atrial ectopics",
    "PVC": "{vpb}|pvc|vpb|vpc|ventricular extrasystole|ventricular ectopic|ventricular ectopic beat"
    "|ventricular ectopy|ves"
    "|ventricular ectopics|ectopic ventricular beat",
    "BIGU": "ventricular bigeminy|bigeminy|bigeminal|bigeminus|bigeminal rhythm",
    "CLBBB": "complete {lbbb}|{lbbb}|clbbb",
    "CRBBB": "complete {rbbb}|{rbbb}|crbbb",
    "LAFB": "left anterior fascicular block|left anterior hemiblock|lafb|lahb|left anterior fascicle block|lah",
    "LPFB": "left posterior fascicular block|left posterior hemiblock|lpfb|lphb|left posterior fascicle block|lph",
    "IVCD": "{nonspecific} {ivcd}|{nonspecific} intraventricular block|ivcd|nivcd|{ivcd}|niv cd",
    "WPW": "ventricular pre excitation|ventricular preexcitation|pre excitation|preexcitation|wpw"
    "|wolff parkinson white"
    "|wpw syndrome|accessory pathway",
    "LAD": "left axis deviation|left axis|leftward axis|axis deviated to the left|axis deviation to the left|lad"
    "|leftaxis"
    "|axis leftward|left superior axis deviation",
    "RAD": "right axis deviation|right axis|rightward axis|axis deviated to the right|axis deviation to the right|rad"
    "|axis rightward",
    "LVH": "left ventricular hypertrophy|lvh|hypertrophy of the left ventricle|lv hypertrophy"
    "|hypertrophied left ventricle",
    "RVH": "right ventricular hypertrophy|rvh|hypertrophy of the right ventricle|rv hypertrophy",
    "LAE": "left atrial {size}|lae|p mitrale|enlarged left atrium|dilated left atrium"
    "|enlargement of the left atrium|lao",
    "RAE": "right atrial {size}|rae|p pulmonale|enlarged right atrium|dilated right atrium"
    "|enlargement of the right atrium|rao",
    "HYPT": "hyperacute t|t hyperacute|t hyperacute change",
    "HYPERK": "hyperkalaemia|hyperkalaemic|high potassium|raised potassium",
    "HYPOK": "hypokalaemia|hypokalaemic|low potassium",
    "LQT": "long qt|long qtc|{qt} prolonged|prolonged {qt}|{qt} prolongation|prolongation of {qt}|long qt syndrome"
    "|{qt} lengthened|{qt} long",
    "PERI": "pericarditis|perimyocarditis|pericardial inflammation",
    "EREP": "early repolarisation|benign early repolarisation|ber",
    "LOWV": "low qrs voltage|low voltage|low limb lead voltage|reduced qrs amplitude|low qrs amplitude"
    "|low amplitude qrs"
    "|low amplitude|microvoltage|small qrs|voltage low|qrs voltage low|low chest lead voltage|reduced voltage",
    "BRUG": "brugada type 1|type 1 brugada|brugada|brugada type i|type i brugada|brugada syndrome",
    "NORM": "normal ecg|ecg normal|normal tracing|tracing normal|unremarkable ecg|ecg unremarkable"
    "|tracing unremarkable"
    "|unremarkable tracing|ecg within normal limit|tracing within normal limit|normal electrocardiogram"
    "|normal 12 lead ecg|normal ekg"
    "|normal 12 lead electrocardiogram|no abnormality detected|no abnormalities|no abnormality|normal record"
    "|normal study"
    "|electrocardiogram normal|normal 12 lead tracing|unremarkable electrocardiogram",
}
PARTS = {  # what stands for {..} above
    "1st": "1st degree|first degree|1 degree|i degree|grade 1|grade i",
    "2nd": "2nd degree|second degree|2 degree",
    "3rd": "3rd degree|third degree|3 degree",
    "avb": "av block|heart block|atrioventricular block|av conduction block|a v block",
    "pr": "pr|pr interval|pq|pq interval|p r|p r interval|p q interval",
    "qt": "qt|qt interval|qtc|qtc interval|q t|q t interval|corrected qt|corrected qt interval|qt qtc",
    "apb": "atrial premature beat|atrial premature complex|atrial premature contraction|premature atrial beat"
    "|premature atrial complex|premature atrial contraction|atrial premature depolarisation",
    "svpb": "supraventricular premature beat|supraventricular premature complex|premature supraventricular beat"
    "|premature supraventricular complex|supraventricular premature contraction",
    "vpb": "ventricular premature beat|ventricular premature complex|ventricular premature contraction"
    "|premature ventricular beat|premature ventricular complex|premature ventricular contraction"
    "|ventricular premature depolarisation",
    "lbbb": "left bundle branch block|lbbb|block left bundle branch|left bundle block|left bundle branch blockage",
    "rbbb": "right bundle branch block|rbbb|block right bundle branch|right bundle block|right bundle branch blockage",
    "nonspecific": "nonspecific|non specific|unspecific",
    "ivcd": "intraventricular conduction delay|intraventricular conduction defect"
    "|intraventricular conduction disturbance"
    "|intraventricular delay|iv conduction delay",
    "size": "enlargement|abnormality|hypertrophy|dilatation|overload|dilation",
    "half": "incomplete|partial|partly",
}
NOTHING = (  # read whole, so that no part of it is taken for a finding
    "{half} {lbbb}|{half} {rbbb}|irbbb|ilbbb|{lbbb} , incomplete|{rbbb} , incomplete|{half} bundle branch block"
    "|{lbbb} incomplete|{rbbb} incomplete|abnormal ecg|ecg abnormal|borderline ecg|otherwise normal ecg"
    "|otherwise normal"
    "|borderline normal ecg|abnormal tracing|otherwise normal tracing|abnormal electrocardiogram"
    "|otherwise unremarkable"
    "|atrial rate|p axis|t axis|12 lead|non st elevation|nstemi|normal variant|ventricular fibrillation|v fib|vf"
    "|broad complex tachycardia|wide complex tachycardia|otherwise within normal limit|ectopic atrial rhythm"
    "|poor r progression"
    "|normal for age|progressive prolongation of {pr}|progressive {pr} prolongation|not conducted|small q"
    "|septal q|narrow q|insignificant q|physiological q|ischaemia|ischaemic|injury|strain|lower limit|upper limit"
    "|limit of normal|ventricular escape|qt dispersion|normal range|normal value"
)
SEVERAL = {  # wording -> findings
    "biatrial {size}|bi atrial {size}|both atria enlarged|enlargement of both atria": "LAE RAE",
    "biventricular hypertrophy|hypertrophy of both ventricles": "LVH RVH",
}
GROUPS = {  # they say something only when they are denied: wording -> findings
    "bundle branch block|bbb|bundle block": "CLBBB CRBBB",
    "{avb}|conduction block|heart block": "1AVB WENCK MOB2 3AVB",
    "{2nd} {avb}": "WENCK MOB2",
    "hypertrophy|ventricular hypertrophy|chamber hypertrophy": "LVH RVH",
    "axis deviation": "LAD RAD",
    "atrial enlargement|atrial abnormality": "LAE RAE",
    "ectopy|ectopics|ectopic|ectopic beat|premature beat|extrasystole|extrasystoles|premature complex|extra beat": ""
    "PAC PVC",
    "fascicular block|hemiblock": "LAFB LPFB",
}
SIGNS = {  # further wordings of the evidence of findings that have no number or lead of their own
    "AFIB": "irregularly irregular rr without p|irregularly irregular without p|irregularly irregular with no p"
    "|irregularly irregular rr and no p|irregular rr and no p|irregular rr , no p|no p and irregular rr"
    "|no p , irregular rr",
    "AFLT": "sawtooth flutter|sawtooth|saw tooth|flutter waves in ii iii avf|sawtooth flutter in inferior lead",
    "JUNC": "no p before slow regular qrs|slow regular qrs with no p before",
    "SVTAC": "fast regular narrow qrs with no p|regular narrow qrs without p|regular narrow complexes without p",
    "VT": "fast regular broad qrs with no p|regular broad qrs without p|regular broad complexes without p",
    "PACE": "pacing spike before each qrs|pacing spike before each broad qrs|spike before each qrs|pacing spike",
    "WENCK": "progressive pr prolongation until p not conducted|pr grows until beat dropped"
    "|pr lengthens until p without qrs"
    "|pr lengthens until beat dropped|progressive pr lengthening",
    "MOB2": "constant pr with dropped beat|dropped beat with constant pr|constant pr with a p without qrs",
    "3AVB": "p and qrs dissociated|av dissociation|p dissociated from qrs|p independent of qrs",
    "PAC": "early p before early narrow qrs|premature p before early qrs|early p with early qrs",
    "PVC": "premature broad qrs without p|early wide qrs without p|early broad qrs with no p",
    "BIGU": "every second qrs early , broad|each second beat broad and early|every other beat early and broad",
    "CLBBB": "broad r in i and v6 , rs in v1|broad r in v6 , rs in v1",
    "CRBBB": "rsr in v1 , broad s in i and v6|rsr in v1 , broad s in i v6|rsr in v1",
    "LVH": "deep s in v1 and tall r in v5 v6|tall r in v5 v6 , deep s in v1|tall r in v5 v6",
    "RVH": "tall r in v1 and deep s in v5 v6|deep s in v5 v6 , tall r in v1|tall r in v1",
    "LAE": "broad p in ii|broad notched p in ii|broad p in ii and deep p in v1",
    "RAE": "tall p in ii|tall peaked p in ii|tall p in ii , iii and avf",
    "WPW": "delta wave|delta|short pr and delta|short pr with delta",
    "HYPOK": "flat t and tall u|tall u|prominent u|flat t with tall u in v2 v3 v4",
    "EREP": "j point notch|j notch|notched j point",
    "LOWV": "qrs under 0.5 mv in limb lead|qrs below 0.5 mv in limb lead",
    "PERI": "widespread st elevation with pr depression|pr depression",
    "BRUG": "coved st in v1|coved st in v1 v2|coved st elevation in v1 v2",
    "SARRH": "irregular rr with p before each qrs|p before each qrs with irregular rr",
}


# --- Words that findings, waves, leads and numbers are told with, and what they mean together: tables only.
#
# Entries are written as in `wordings`.

DROPPED = (  # words that change nothing
    "a|an|the|of|in|its|it|is|are|was|were|be|been|being|has|have|had|there|that|these|those|which|wave|segment|pattern"
    "|sign|present|seen|noted|observed|visible|evident|found|approximately|about|slightly|mildly|mild|significant"
    "|significantly|pathological|pathologic|(|)"
)
BEFORE_I = "in lead leads , and or & / ( - from over limb both"  # beside these the letter I is a lead
AFTER_I = "ii iii avr avl avf and or , . ; : / - ) & to plus with show shows has have is"
NEXT_TO_I = "ii avr avl avf , /"
NORMAL = {  # wording -> findings that it denies
    "normal axis|normal qrs axis|normal frontal axis|normal electrical axis": "LAD RAD",
    "normal {pr}|{pr} not prolonged": "1AVB",
    "normal {qt}|{qt} not prolonged": "LQT",
    "normal interval|interval normal": "1AVB LQT",
}
NORMAL_NUMBER = {
    "pr_ms": ("1AVB",),
    "qt_ms": ("LQT",),
    "qtc_ms": ("LQT",),
    "axis_deg": ("LAD", "RAD"),
}  # "axis: normal"
LIMITS = "within normal limit|wnl|within limit|within normal"  # of a number or a wave; else of the whole ECG
SUBJECTS = {"st": "st", "t": "t", "q": "q", "qs": "q", "qs complex": "q", "j point": "st"}
OTHER_SUBJECTS = "p|r|s|u|qrs|rs|rsr|qr|delta|pr|pq"  # what follows "ST" or "T" no longer speaks of them
STATES = {
    "elevation|elevated|elevate|raised": "up",
    "depression|depressed|depress|lowered": "down",
    "inversion|inverted|invert|negative|flipped|flip": "inverted",
    "tall|peaked|tented|peaking": "tall",
    "level|isoelectric|upright|normal|unremarkable": "plain",
    "low|flat|flattened|flattening|biphasic|diphasic|notched|tiny": "other",
}
FEATURES = {("st", "up"): "st_up", ("st", "down"): "st_down", ("t", "inverted"): "t_inverted", ("t", "tall"): "t_tall"}
SHORT = {"ste": "st_up", "std": "st_down", "twi": "t_inverted"}
PLAIN = {"st": ("st_up", "st_down"), "t": ("t_inverted",)}
CHANGES = {  # they say something only when they are denied: wording -> features
    "st change|st abnormality|st deviation|acute st change|st t change|st t abnormality|acute st t change|st shift": ""
    "st_up st_down",
    "t change|t abnormality": "t_inverted",
}
KEYS = {
    "rate_bpm": "rate|heart rate|hr|ventricular rate|pulse|vr|mean rate|ventricular response",
    "pr_ms": "{pr}|pr duration",
    "qrs_ms": "qrs|qrs duration|qrsd|qrs width|qrs interval|qrs complex",
    "qt_ms": "qt|qt interval|q t|q t interval|uncorrected qt",
    "qtc_ms": "qtc|qtc interval|corrected qt|corrected qt interval|qtcb|bazett corrected qt|qtc bazett|bazett qtc|qtcf",
    "axis_deg": "axis|qrs axis|electrical axis|frontal axis|frontal qrs axis|mean qrs axis|mean axis",
}
AXES = "p r t axis|p qrs t axis|prt axis"  # three angles: the second is the QRS axis
UNITS = {
    "ms": "ms|msec|millisecond|msecs",
    "s": "s|sec|second",
    "bpm": "bpm|/ min|per minute|beat per minute|beat / min|beat a minute|/ minute|beat minute|b / min",
    "degree": "degree|deg",
    "other": "mm|mv|year|yr|yo|cm|hz|percent|day|month|mm / s|mm / mv|y",
}
UNMEASURED = "none|not measurable|unmeasurable|cannot be measured|cannot be determined|not measured|undefined"
NO_PR = "no measurable {pr}|no {pr} can be measured|no {pr} measured|no defined {pr}|no {pr} measurable"
BOUNDS = (
    "over|above|below|under|beyond|exceeding|exceed|exceeds|more|less|greater|longer|shorter|than|<|>|least"
    "|most|between|within"
)
NOT_AHEAD = (
    "no|without|absence|rules out|ruling out|negative for|free|neither|rather than|instead|never|lack|lacks|excludes"
)
NOT_BEHIND = "ruled out|excluded|absent|not fulfilled|unlikely|not likely|improbable"
NOT_EITHER = "not"  # reaches ahead, or back when nothing follows
PERHAPS_AHEAD = (
    "possibly|probably|may|might|could|could this|consider|suspect|suspicious|suggest|suggesting|suggestive|query"
    "|concern for|concern|concerning for|cannot exclude|cannot rule out|can not exclude|rule out|r / o|maybe"
    "|perhaps|could represent|raises suspicion|exclude"
)
PERHAPS_BEHIND = (
    "cannot be excluded|can not be excluded|not excluded|not ruled out|cannot be ruled out|should be excluded"
    "|must be excluded|to be excluded|should be ruled out|considered|should be considered"
)
PERHAPS_EITHER = "possible|probable|likely|suspected|questionable|equivocal|uncertain|presumed|borderline"
REGIONS = {
    "inferior": "II III aVF",
    "anterior": "V3 V4",
    "septal": "V1 V2",
    "lateral": "I aVL V5 V6",
    "high lateral": "I aVL",
    "low lateral": "V5 V6",
    "anteroseptal": "V1 V2 V3 V4",
    "anterolateral": "I aVL V3 V4 V5 V6",
    "inferolateral": "I II III aVL aVF V5 V6",
    "posterior": "",
    "inferoposterior": "II III aVF",
}
LEAD_SETS = {  # wording (always with the word lead) -> leads
    **{name: leads for name, leads in REGIONS.items() if leads},
    "limb": "I II III aVR aVL aVF",
    "extremity": "I II III aVR aVL aVF",
    "frontal": "I II III aVR aVL aVF",
    "precordial": "V1 V2 V3 V4 V5 V6",
    "chest": "V1 V2 V3 V4 V5 V6",
    "v": "V1 V2 V3 V4 V5 V6",
    "right precordial": "V1 V2 V3",
    "left precordial": "V4 V5 V6",
    "mid precordial": "V3 V4",
    "all": " ".join(LEADS),
    "every": " ".join(LEADS),
    "all 12": " ".join(LEADS),
    "all twelve": " ".join(LEADS),
}
ADVERBS = {f"{name}ly": leads for name, leads in REGIONS.items() if leads}
_STE = {
    "inferior": "STE_INF",
    "anterior": "STE_ANT",
    "septal": "STE_SEP",
    "lateral": "STE_LAT",
    "high lateral": "STE_LAT",
}
_STE |= {"low lateral": "STE_LAT", "anteroseptal": "STE_ANT STE_SEP", "anterolateral": "STE_ANT STE_LAT"}
_STE |= {"inferolateral": "STE_INF STE_LAT", "posterior": "STE_POST", "inferoposterior": "STE_INF STE_POST"}
_OLD = {"inferior": "Q_INF", "anterior": "Q_ANT", "septal": "Q_ANT", "lateral": "Q_LAT", "high lateral": "Q_LAT"}
_OLD |= {
    "low lateral": "Q_LAT",
    "anteroseptal": "Q_ANT",
    "anterolateral": "Q_ANT Q_LAT",
    "inferolateral": "Q_INF Q_LAT",
}
_OLD |= {"posterior": "STE_POST", "inferoposterior": "Q_INF STE_POST"}
WHERE = {"st_up": _STE, "q_waves": _OLD}  # feature, region -> findings
INFARCTS = {"acute": _STE, "old": _OLD}  # age, region -> findings
ALONE = {"st_down": ("STD",), "t_inverted": ("TINV",)}  # feature that names no lead -> findings
DENIED_ALONE = ALONE | {"st_up": ("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF"), "q_waves": ("Q_ANT", "Q_INF", "Q_LAT")}
INFARCT = (
    "infarct|infarction|myocardial infarct|myocardial infarction|mi|wall infarct|wall infarction|wall mi"
    "|wall myocardial infarction"
)
STEMI = "stemi|st elevation myocardial infarction|st elevation mi|st elevation infarction|wall stemi"
NO_INFARCT = (
    "STE_ANT",
    "STE_SEP",
    "STE_LAT",
    "STE_INF",
    "STE_POST",
    "Q_ANT",
    "Q_INF",
    "Q_LAT",
)  # "no infarct" denies them
AGES = {"acute|recent|evolving|fresh|new": "acute", "old|previous|prior|remote|healed|former|age|indeterminate": "old"}
MARKS = {
    ".|;|!|but|however|although|though|except|whereas|while|yet": "break",
    "?": "question",
    ",": "comma",
    ":": "colon",
    "and|&|plus": "and",
    "or|nor": "or",
    "/": "slash",
    "-|to|through|thru": "dash",
    "with|this|because|due": "with",
    "at": "at",
}
SECTIONS = {"conclusion|impression|diagnosis|diagnoses|summary|assessment": "conclusion", "finding|description": "body"}


# --- From letters to phrases: words made alike, and the tables in which runs of words are looked up.

_DROPPED = set(DROPPED.split("|"))
_KEPT = ("rules", "lacks", "excludes")  # a plural would make another word of them
_SPELLING = (("aemi", "emi"), ("isation", "ization"), ("haem", "hem"))
_TOKEN = re.compile(r"(?<![\w.)])-\d+(?:\.\d+)?|\d+(?:\.\d+)?(?:(?:st|nd|rd)\b)?|[a-z]+\d*|[.,;:()/?!<>&-]")
_CLEAN = [
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"[\u2010-\u2015\u2212]", "-"),
        (r"[°º]", " degree "),
        (r"\((?:s|es)\)|(?<=rsr)['´’]", ""),
        (r"(?<=[a-z])-(?=[a-z1-9])", " "),  # st-t, but v1-v4
        (r"\bminus (?=\d)", "-"),
        (r"(\baxis:?) - ?(?=\d)", r"\1 -"),
        (r"(?<![a-z\d.])\d+ ?[:x] ?\d+(?![\d.])", " "),  # 2:1 block
        (r"(?<=\d)-(?=year|yr|day|month|lead)", " "),
    )
]
_NEW_LINE = re.compile(r"\n\s*(?=[-*•#\n]|\d+[.)]|[A-Z][a-z])")  # a list or a new sentence, not a wrapped line
_BEFORE_I, _AFTER_I, _NEXT_TO_I = (set(some.split()) for some in (BEFORE_I, AFTER_I, NEXT_TO_I))
_V = re.compile(r"v[1-6]")


@lru_cache(maxsize=20_000)
def _alike(word: str) -> str:
    """One word without plural and British spelling; "" if it says nothing here."""
    for british, american in _SPELLING:
        word = word.replace(british, american)
    if word.endswith(("xes", "axes")):
        word = "axis" if word == "axes" else word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in _KEPT:
        word = word[:-1]
    return "" if word in _DROPPED else word


def words(text: str) -> list[str]:
    """Text to words that are alike for like meanings. Lead I is "lead_i", so that it is no pronoun and no "type I"."""
    text = _NEW_LINE.sub(". ", text).lower()
    for pattern, instead in _CLEAN:
        text = pattern.sub(instead, text)
    raw = _TOKEN.findall(text)
    for k in (k for k, word in enumerate(raw) if word == "i"):
        if _is_lead_i(raw[k - 1] if k else "", raw[k + 1] if k + 1 < len(raw) else "."):
            raw[k] = "lead_i"
    return [word for word in map(_alike, raw) if word]


def _is_lead_i(before: str, after: str) -> bool:
    if before in ("type", "mobitz", "grade") or not (after in _AFTER_I or _V.fullmatch(after)):
        return False
    begins = after == ":" and before in ("", ".", ";")  # "I: Q waves"
    return begins or before in _BEFORE_I or after in _NEXT_TO_I or bool(_V.fullmatch(after))


def expand(wording: str) -> list[tuple[str, ...]]:
    """Every wording of a table entry as words: `|` separates, {name} stands for each of its parts."""
    out = []
    for one in wording.split("|"):
        names = re.findall(r"\{(\w+)\}", one)
        for parts in itertools.product(*(PARTS[name].split("|") for name in names)):
            out.append(tuple(words(re.sub(r"\{\w+\}", "%s", one) % parts)))
    return out


def _number_in(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """The number that a finding's wording names on the way: "PR prolonged" names the PR."""
    named = {"pr": "pr_ms", "pq": "pr_ms", "qtc": "qtc_ms", "corrected": "qtc_ms", "qt": "qt_ms", "axis": "axis_deg"}
    return next(((key,) for word, key in named.items() if word in phrase), ())


def _entries():
    """(wording, kind, value) of every phrase; of two alike the later one holds."""
    yield from ((wording, "state", state) for wording, state in STATES.items())
    yield OTHER_SUBJECTS, "subject", "other"
    yield from ((wording, "subject", subject) for wording, subject in SUBJECTS.items())
    yield from ((wording, "feature", (feature,)) for wording, feature in SHORT.items())
    yield from ((wording, "change", tuple(features.split())) for wording, features in CHANGES.items())
    yield from ((wording, "key", (key,)) for key, wording in KEYS.items())
    yield AXES, "key", (None, "axis_deg", None)
    yield from ((wording, "unit", unit) for unit, wording in UNITS.items())
    yield from ((wording, kind, None) for wording, kind in MARKS.items())
    yield from ((BOUNDS, "bound", None), (UNMEASURED, "unmeasured", None), (NO_PR, "unmeasured", "pr_ms"))
    yield from ((NOT_AHEAD, "ahead", 1), (NOT_BEHIND, "behind", 1), (NOT_EITHER, "either", 1))
    yield from ((PERHAPS_AHEAD, "ahead", 2), (PERHAPS_BEHIND, "behind", 2), (PERHAPS_EITHER, "either", 2))
    yield from ((wording, "age", age) for wording, age in AGES.items())
    yield from ((INFARCT, "infarct", "old"), (STEMI, "infarct", "acute"))
    yield from ((name, "region", name) for name in REGIONS)
    yield from _lead_sets()
    yield from ((wording, "group", tuple(codes.split())) for wording, codes in GROUPS.items())
    yield from ((f"{one}:", "section", value) for key, value in SECTIONS.items() for one in key.split("|"))
    yield from ((NOTHING, "nothing", None), (LIMITS, "limits", None))


def _lead_sets():
    sets = {name: leads.split() for name, leads in LEAD_SETS.items()}
    pairs = itertools.permutations(REGIONS, 2)
    both = {f"{a} {joint} {b}": (a, b) for a, b in pairs if a in sets and b in sets for joint in ("and", "or", "/")}
    sets |= {name: sets[a] + sets[b] for name, (a, b) in both.items()}
    for name, leads in sets.items():
        yield f"{name} lead", "leads", tuple(lead for lead in LEADS if lead in leads)
    yield from ((f"{name} wall", "region", name) for name in REGIONS)
    yield from ((name, "leads", tuple(leads.split())) for name, leads in ADVERBS.items())


def _phrases() -> dict[tuple[str, ...], tuple]:
    """Phrase -> (kind, value)."""
    table = {phrase: (kind, value) for wording, kind, value in _entries() for phrase in expand(wording)}
    by_rule = {code for places in WHERE.values() for codes in places.values() for code in codes.split()}
    by_rule |= {code for codes in ALONE.values() for code in codes}
    for code, name in NAMES.items():
        for phrase in expand(f"{name}|{FINDINGS[code]}") if code not in by_rule else ():
            table[phrase] = ("finding", ((code,), _number_in(phrase)))
    for wording, codes in SEVERAL.items():
        table |= {phrase: ("finding", (tuple(codes.split()), ())) for phrase in expand(wording)}
    for wording, codes in NORMAL.items():
        table |= {phrase: ("normal", (tuple(codes.split()), _number_in(phrase))) for phrase in expand(wording)}
    return table


def sign_words(some: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Evidence is compared without its commas and joints."""
    return tuple(word for word in some if word not in (",", "and", "with"))


def _signs(codes) -> dict[tuple[str, ...], str]:
    """Words of a finding's evidence -> its code."""
    more = {sign_words(phrase): code for code in codes for phrase in expand(SIGNS.get(code, EVIDENCE[code]))}
    return more | {sign_words(words(EVIDENCE[code])): code for code in codes}


class Phrases:
    """A table of phrases that is asked for the longest one at a place."""

    def __init__(self, table: dict[tuple[str, ...], object]):
        self.table, self.longest = table, {}
        for phrase in table:
            self.longest[phrase[0]] = max(self.longest.get(phrase[0], 0), len(phrase))

    def at(self, some: list[str] | tuple[str, ...], place: int):
        """The longest phrase that begins with this word: (its value, its length), or (None, 1)."""
        for size in range(self.longest.get(some[place], 0), 0, -1):
            hit = self.table.get(tuple(some[place : place + size]))
            if hit is not None:
                return hit, size
        return None, 1


PHRASES = Phrases(_phrases())
SIGN_PHRASES = Phrases(_signs(EVIDENCE))  # for evidence sentences
SIGNS_ANYWHERE = Phrases(_signs(SIGNS))  # what cannot be a sentence about leads or numbers
