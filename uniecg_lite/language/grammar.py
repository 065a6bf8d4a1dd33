"""Words that findings, waves, leads and numbers are told with, and what they mean together: tables only.

Entries are written as in `wordings`.
"""

from ..ecg import LEADS

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
