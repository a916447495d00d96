//! What must hold for any bytes.

use crate::pieces::packets;
use crate::{Aac, DtmfDetector, Opus, SAMPLE_RATE_HZ, Wav, WavEncoding, WavWriter};

/// Reads `data` as a WAV file; what can be read is of the length it says, and is written and read back equal.
///
/// # Panics
///
/// When an invariant breaks.
pub fn wav(data: &[u8]) {
    let Ok(wav) = Wav::parse(data) else { return };
    // At the lowest rate a byte becomes two samples.
    let samples = wav.to_telephone();
    assert!(samples.len() <= 2 * data.len() + 1);
    let told = wav.duration_ms();
    let found = samples.len() as u64 * 1000 / u64::from(SAMPLE_RATE_HZ);
    assert!(found.abs_diff(told) <= 1, "told {told} ms, found {found} ms");

    for encoding in [
        WavEncoding::Pcm16,
        WavEncoding::Pcm24,
        WavEncoding::Float32,
        WavEncoding::Pcm8,
        WavEncoding::G711(crate::Law::A),
    ] {
        let mut writer = WavWriter::new(encoding);
        let mut file = writer.header();
        writer.write(&samples, &mut file);
        let end = writer.finish();
        file.extend(end.padding);
        file[..end.header.len()].copy_from_slice(&end.header);
        let again = Wav::parse(&file).expect("our own file is read");
        assert_eq!(again.encoding(), encoding);
        if encoding.bytes() > 1 {
            assert_eq!(again.to_telephone(), samples);
        } else {
            assert_eq!(again.to_telephone().len(), samples.len());
        }
    }
    let most = samples.len() / 320 + 1;
    assert!(DtmfDetector::default().push(&samples).len() <= most);
}

/// Takes `data` as packets of Opus and frames of AAC, each behind its length in two octets: whatever they hold, it is so much
/// sound at most.
///
/// # Panics
///
/// When an invariant breaks.
pub fn compressed(data: &[u8]) {
    let config = data.get(..2).unwrap_or_default();
    let (mut opus, mut aac) = (Opus::new(), Aac::new(config));
    for packet in packets(data.get(2..).unwrap_or_default()) {
        let mut sound = Vec::new();
        if let Some(opus) = &mut opus {
            opus.decode_into(packet, &mut sound);
        }
        assert!(sound.len() <= Opus::RATE_HZ as usize * 120 / 1_000);
        let mut sound = Vec::new();
        if let Some(aac) = &mut aac {
            aac.decode_into(packet, &mut sound);
        }
        assert!(sound.len() <= 4 * 2_048, "{}", sound.len());
    }
}
