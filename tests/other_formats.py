"""Writers of the formats that the extra `files` reads: DICOM, EDF, MUSE XML, HL7 aECG and SCP-ECG, for tests.

Each writes an ECG at 2 uV a unit to a path and returns the path; all but plain EDF state 63 years and female.
"""

import base64
import binascii
import struct

import numpy as np

from uniecg_lite.leads import LEADS


def dicom(path, ecg, named=True, unit="uV"):
    """A 12-lead waveform as DICOM has it (PS3.3 C.10.9)."""
    import pydicom

    data = pydicom.Dataset()

    def code(value, scheme, meaning):
        item = pydicom.Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return pydicom.Sequence([item])

    group, channels = pydicom.Dataset(), []
    for name in LEADS:
        channel = pydicom.Dataset()
        channel.ChannelSourceSequence = code("x", "MDC", f"Lead {name}" if named else "Resp")
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "2", "1", "0"
        channel.ChannelSensitivityUnitsSequence = code(unit, "UCUM", unit)
        channel.WaveformBitsStored = 16
        channels.append(channel)
    group.ChannelDefinitionSequence = pydicom.Sequence(channels)
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 12, ecg.signal.shape[1]
    group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = f"{ecg.hz:g}", 16, "SS"
    group.WaveformOriginality = "ORIGINAL"
    group.add_new("WaveformData", "OW", np.rint(ecg.signal.T * 500).astype("<i2").tobytes())
    data.WaveformSequence = pydicom.Sequence([group])
    data.PatientAge, data.PatientSex = "063Y", "F"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.3"
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    return path


def edf(path, ecg, onsets=None, seconds=1, label="ECG {}", unit="uV"):
    """EDF, or EDF+ where records begin at `onsets`; 2 uV a unit."""
    count = round(ecg.hz * seconds)
    records = ecg.signal.shape[1] // count
    kinds = [("EDF Annotations", "", 16)] * (onsets is not None)
    rows = [(label.format(name), unit, count) for name in LEADS] + kinds
    head = f"{'0':<8}{'X F 02-MAY-1950 X':<80}{'Startdate 02-MAY-2013 X X X':<80}02.05.1310.00.00"
    head += f"{256 * (len(rows) + 1):<8}{'' if onsets is None else 'EDF+D':<44}{records:<8}{seconds:<8}{len(rows):<4}"
    for width, values in (
        (16, [r[0] for r in rows]), (80, [""] * len(rows)), (8, [r[1] for r in rows]), (8, [-60000] * len(rows)),
        (8, [60000] * len(rows)), (8, [-30000] * len(rows)), (8, [30000] * len(rows)), (80, [""] * len(rows)),
        (8, [r[2] for r in rows]), (32, [""] * len(rows)),
    ):  # fmt: skip
        head += "".join(f"{value:<{width}}" for value in values)
    body, samples = b"", np.rint(ecg.signal * 500).astype("<i2")
    for k in range(records):
        body += samples[:, k * count : (k + 1) * count].tobytes()
        body += b"" if onsets is None else f"+{onsets[k]}\x14\x14".encode().ljust(32, b"\0")
    path.write_bytes(head.encode("latin-1") + body)
    return path


def muse(path, ecg, names=("I", "II", *LEADS[6:]), unit="MICROVOLTS"):
    """The eight leads of a MUSE export, 2 uV a unit."""
    leads = "".join(
        f"<LeadData><LeadID>{name}</LeadID><LeadAmplitudeUnitsPerBit>2</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits><WaveFormData>"
        f"{base64.b64encode(np.rint(ecg[name] * 500).astype('<i2').tobytes()).decode()}</WaveFormData></LeadData>"
        for name in names
    )
    path.write_text(
        "<RestingECG><PatientDemographics><PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>FEMALE</Gender>"
        f"</PatientDemographics><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>{ecg.hz:g}</SampleBase>"
        f"{leads}</Waveform></RestingECG>"
    )
    return path


def aecg(path, ecg):
    """HL7 aECG, 2 uV a unit."""
    leads = "".join(
        f"<component><sequence><code code='MDC_ECG_LEAD_{name.upper()}'/><value><origin value='0' unit='uV'/>"
        f"<scale value='2' unit='uV'/><digits>{' '.join(map(str, np.rint(ecg[name] * 500).astype(int)))}</digits>"
        "</value></sequence></component>"
        for name in LEADS
    )
    path.write_text(
        "<AnnotatedECG xmlns='urn:hl7-org:v3'><effectiveTime><low value='20130502100000'/>"
        "<high value='20130502100009'/></effectiveTime>"
        "<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>"
        "<subjectDemographicPerson><administrativeGenderCode code='F'/><birthTime value='19500502'/>"
        "</subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf></timepointEvent>"
        "</componentOf><component><series><code code='RHYTHM'/><component><sequenceSet><component><sequence>"
        f"<code code='TIME_ABSOLUTE'/><value><head value='20130502100000'/><increment value='{1 / ecg.hz!r}' unit='s'/>"
        f"</value></sequence></component>{leads}</sequenceSet></component></series></component></AnnotatedECG>"
    )
    return path


def scp(path, ecg, late=()):
    """SCP-ECG, plain samples of 2 uV; leads in `late` begin a sample later."""

    def section(number, body):
        head = struct.pack("<HIBB6x", number, 16 + len(body), 20, 20) + body
        return struct.pack("<H", binascii.crc_hqx(head, 0xFFFF)) + head

    codes, count = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), ecg.signal.shape[1]
    samples = np.rint(ecg.signal * 500).astype("<i2")
    bodies = {
        1: struct.pack("<BHHB", 4, 3, 63, 1) + struct.pack("<BHB", 8, 1, 2) + struct.pack("<BH", 255, 0),
        3: struct.pack("<BB", 12, 0x64)
        + b"".join(struct.pack("<IIB", 1 + (n in late), count + (n in late), c) for n, c in zip(LEADS, codes)),
        6: struct.pack("<HHBB", 2000, round(1e6 / ecg.hz), 0, 0)
        + struct.pack("<12H", *[2 * count] * 12)
        + samples.tobytes(),
    }
    sections = {number: section(number, body) for number, body in bodies.items()}
    place, pointers = 6 + 16 + 10 * 12, b""
    for number in range(12):
        size = len(sections.get(number, b"")) if number else 16 + 10 * 12
        pointers += struct.pack("<HII", number, size, (place if number else 6) + 1 if size else 0)
        place += size if number else 0
    whole = section(0, pointers) + b"".join(sections.values())
    whole = struct.pack("<I", 6 + len(whole)) + whole
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(whole, 0xFFFF)) + whole)
    return path
