"""Words for findings and their evidence: tables only. `lexicon` puts every entry through the word rules of texts.

An entry is in plain lower case. Articles, "wave", "segment", "is" and the like are dropped on both sides; plurals and
British and American spelling are made one. `|` separates wordings, {name} stands for an entry of `PARTS`.
"""

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
