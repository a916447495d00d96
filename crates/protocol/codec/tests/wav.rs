//! WAV files, as we write them and as others do.

use proptest::prelude::*;
use ringpost_codec::{Law, Tone, Wav, WavEncoding, WavError, WavWriter, dominant_tone, fuzz};

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
    out.extend(vec![0; content.len() % 2]);
    out
}

fn format(format: u16, channels: u16, rate_hz: u32, bits: u16) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut out = Vec::new();
    out.extend(format.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate_hz.to_le_bytes());
    out.extend((rate_hz * u32::from(frame)).to_le_bytes());
    out.extend(frame.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let content = [b"WAVE".to_vec(), chunks.concat()].concat();
    chunk(b"RIFF", &content)
}

fn pcm(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn written(encoding: WavEncoding, samples: &[i16]) -> Vec<u8> {
    let mut writer = WavWriter::new(encoding);
    let mut file = writer.header();
    for piece in samples.chunks(160) {
        writer.write(piece, &mut file);
    }
    let end = writer.finish();
    file.extend(end.padding);
    file[..end.header.len()].copy_from_slice(&end.header);
    file
}

#[test]
fn a_written_file_has_the_lengths_of_the_format() {
    let file = written(WavEncoding::Pcm16, &[1, -2, 3]);
    assert_eq!(
        file,
        riff(&[
            chunk(b"fmt ", &format(1, 1, 8000, 16)),
            chunk(b"data", &pcm(&[1, -2, 3]))
        ])
    );
    let file = written(WavEncoding::G711(Law::Mu), &[0, 0, 0]);
    let extended = [format(7, 1, 8000, 8), vec![0, 0]].concat();
    let facts = chunk(b"fact", &3u32.to_le_bytes());
    assert_eq!(
        file,
        riff(&[chunk(b"fmt ", &extended), facts, chunk(b"data", &[0xff; 3])])
    );
    assert_eq!(file.len() % 2, 0, "odd data are padded");
}

#[test]
fn a_recording_that_lost_its_end_still_plays() {
    let mut writer = WavWriter::new(WavEncoding::Pcm16);
    let mut file = writer.header();
    writer.write(&[5; 800], &mut file);
    assert_eq!(writer.duration_ms(), 100);
    assert_eq!(Wav::parse(&file).expect("read").to_telephone(), [5; 800]);
}

#[test]
fn stereo_at_44100_becomes_a_telephones_mono() {
    let tone = |hz: f64| {
        (0..44_100)
            .map(move |i| (8000.0 * (std::f64::consts::TAU * hz * f64::from(i) / 44_100.0).sin()) as i16)
    };
    let samples: Vec<i16> = tone(500.0)
        .zip(tone(500.0))
        .flat_map(|(left, right)| [left, right])
        .collect();
    let file = riff(&[
        chunk(b"LIST", b"INFOodd"),
        chunk(b"fmt ", &format(1, 2, 44_100, 16)),
        chunk(b"data", &pcm(&samples)),
    ]);
    let wav = Wav::parse(&file).expect("read");
    assert_eq!(
        (wav.channels(), wav.rate_hz(), wav.duration_ms()),
        (2, 44_100, 1000)
    );
    let found = dominant_tone(&wav.to_telephone()).expect("sound");
    assert!(
        (found.frequency_hz - 500.0).abs() < 1.0 && found.purity > 0.99,
        "{found:?}"
    );
}

#[test]
fn g711_8_bit_and_extensible_formats_are_read() {
    let mut samples = vec![0; 801];
    Tone::sine(700.0, -10.0).fill(&mut samples);
    for encoding in [
        WavEncoding::G711(Law::Mu),
        WavEncoding::G711(Law::A),
        WavEncoding::Pcm8,
    ] {
        let file = written(encoding, &samples);
        let wav = Wav::parse(&file).expect("read");
        assert_eq!(wav.encoding(), encoding);
        assert_eq!(wav.data().len(), 801);
        let found = dominant_tone(&wav.to_telephone()).expect("sound");
        assert!(
            (found.frequency_hz - 700.0).abs() < 2.0 && found.purity > 0.97,
            "{encoding:?} {found:?}"
        );
    }
    let mut extensible = format(0xfffe, 1, 8000, 16);
    extensible.extend([
        22, 0, 16, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71,
    ]);
    let file = riff(&[chunk(b"fmt ", &extensible), chunk(b"data", &pcm(&[7, 8]))]);
    assert_eq!(Wav::parse(&file).expect("read").to_telephone(), [7, 8]);
}

#[test]
fn samples_of_24_bits_and_floating_point_are_played_with_16() {
    let samples = [0, 1, -1, 1_000, i16::MAX, i16::MIN];
    for encoding in [WavEncoding::Pcm24, WavEncoding::Float32] {
        let file = written(encoding, &samples);
        let wav = Wav::parse(&file).expect("read");
        assert_eq!(wav.encoding(), encoding);
        assert_eq!(wav.to_telephone(), samples, "{encoding:?}");
    }
    let loud: Vec<u8> = [2.0, -2.0, f32::NAN]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let file = riff(&[chunk(b"fmt ", &format(3, 1, 8000, 32)), chunk(b"data", &loud)]);
    let wav = Wav::parse(&file).expect("read");
    assert_eq!(wav.to_telephone(), [i16::MAX, i16::MIN, 0]);
}

#[test]
fn what_is_not_taken_is_named() {
    let refused = |file: &[u8]| Wav::parse(file).expect_err("refused");
    let with = |format: &[u8]| refused(&riff(&[chunk(b"fmt ", format), chunk(b"data", &[0; 4])]));
    assert_eq!(refused(b"RIFX"), WavError::NotWave);
    assert_eq!(refused(b"RIFF\0\0\0\0WAVX"), WavError::NotWave);
    assert_eq!(refused(&riff(&[])), WavError::NoData);
    assert_eq!(refused(&riff(&[chunk(b"data", &[0; 4])])), WavError::NoFormat);
    assert_eq!(with(&[1, 0, 1, 0]), WavError::NoFormat);
    assert_eq!(
        with(&format(1, 1, 8000, 20)),
        WavError::Encoding { format: 1, bits: 20 }
    );
    assert_eq!(
        with(&format(3, 1, 8000, 64)),
        WavError::Encoding { format: 3, bits: 64 }
    );
    assert_eq!(with(&format(1, 6, 8000, 16)), WavError::Channels(6));
    assert_eq!(with(&format(1, 1, 1, 16)), WavError::Rate(1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_file_is_read_or_refused(kind in 0u16..8, channels in 1u16..3, rate in 3000u32..50_000, bits in 1u16..3,
                                   length in 0u32..900, data in prop::collection::vec(any::<u8>(), 0..800)) {
        let mut file = riff(&[chunk(b"fmt ", &format(kind, channels, rate, bits * 8)), chunk(b"data", &data)]);
        let at = file.len() - data.len() - data.len() % 2 - 4;
        file[at..at + 4].copy_from_slice(&length.to_le_bytes());
        fuzz::wav(&file);
    }
}
