//! What must hold for any bytes.

use crate::{DtmfDetector, SAMPLE_RATE_HZ, Wav, WavEncoding, WavWriter};

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
        if encoding == WavEncoding::Pcm16 {
            assert_eq!(again.to_telephone(), samples);
        } else {
            assert_eq!(again.to_telephone().len(), samples.len());
        }
    }
    let most = samples.len() / 320 + 1;
    assert!(DtmfDetector::default().push(&samples).len() <= most);
}
