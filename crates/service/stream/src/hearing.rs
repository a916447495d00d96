//! What a telephone hears of a track: its packets as linear samples at 8,000 a second in one channel.

use crate::file::{Encoding, Format as FileFormat, Latm, latm};
use ringpost_base::limits;
use ringpost_codec::{Coding, Ear, Heard, Law};
use ringpost_rtp::Packet;
use ringpost_rtp::payload::{Depacketizer, Format};
use ringpost_sdp::Codec;
use std::collections::VecDeque;

/// Decodes one track for a telephone.
///
/// It is fed the packets of the track in their order. What it gives stands on one timeline of its own: sound that follows
/// without a gap is without a seam, and a gap is as long as the publisher's timestamps say.
#[derive(Debug)]
pub struct Hearing {
    payload_type: u8,
    depacketizer: Depacketizer,
    clock_rate_hz: u32,
    /// `None` until its configuration has come.
    ear: Option<Ear>,
    /// What takes elements apart that have their configuration in the band, and the one that the ear has.
    latm: Option<(Latm, Option<FileFormat>)>,
    /// Where the ear began on the timeline, and the end of what was heard.
    began: u32,
    end: u32,
    heard: VecDeque<Heard>,
}

impl Hearing {
    /// For a codec; `None` where it cannot be decoded.
    pub fn new(codec: &Codec) -> Option<Self> {
        let channels = codec.channels.max(1);
        let (coding, format) = match codec.name.to_ascii_uppercase().as_str() {
            "PCMU" => (Coding::G711(Law::Mu, channels), Format::Whole),
            "PCMA" => (Coding::G711(Law::A, channels), Format::Whole),
            "L16" => (Coding::L16(channels), Format::Whole),
            "G722" if channels == 1 => (Coding::G722, Format::Whole),
            "OPUS" => (Coding::Opus, Format::Whole),
            // Their descriptions are read as those of what is recorded are.
            _ => {
                let encoding = Encoding::of(codec)?;
                if encoding.payload == (Format::Latm { in_band: true }) {
                    return Some(Hearing {
                        ear: None,
                        latm: Some((latm(codec), None)),
                        ..Hearing::with(codec, encoding.payload, None)
                    });
                }
                let FileFormat::Aac { config, .. } = encoding.format? else {
                    return None;
                };
                (Coding::Aac(config.to_vec().into()), encoding.payload)
            }
        };
        let ear = Ear::new(&coding, codec.clock_rate_hz)?;
        Some(Hearing::with(codec, format, Some(ear)))
    }

    fn with(codec: &Codec, format: Format, ear: Option<Ear>) -> Self {
        Hearing {
            payload_type: codec.payload_type,
            depacketizer: Depacketizer::new(format),
            clock_rate_hz: codec.clock_rate_hz,
            ear,
            latm: None,
            began: 0,
            end: 0,
            heard: VecDeque::new(),
        }
    }

    /// The next packet of the track, whole; nothing is heard of one that is no RTP, or of another payload type.
    pub fn handle_packet(&mut self, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else {
            return;
        };
        if packet.payload_type() != self.payload_type || packet.payload().len() > limits::HEARD_PACKET_BYTES {
            return;
        }
        self.depacketizer.handle_packet(&packet);
        while let Some(unit) = self.depacketizer.poll() {
            for piece in &unit.pieces {
                self.hear(unit.timestamp, piece);
            }
        }
    }

    fn hear(&mut self, timestamp: u32, piece: &[u8]) {
        let Some((latm, known)) = &mut self.latm else {
            return self.hear_frame(timestamp, piece);
        };
        let frames = latm.frames(piece);
        let (format, units) = (latm.format(), latm.frame_units(self.clock_rate_hz));
        if format.is_some() && format != *known {
            if let Some(FileFormat::Aac { config, .. }) = &format {
                self.ear = Ear::new(&Coding::Aac(config.to_vec().into()), self.clock_rate_hz);
                self.began = self.end;
            }
            *known = format;
        }
        for (n, frame) in (0u32..).zip(frames) {
            self.hear_frame(timestamp.wrapping_add(n.wrapping_mul(units)), &frame);
        }
    }

    fn hear_frame(&mut self, timestamp: u32, frame: &[u8]) {
        let heard = self.ear.as_mut().and_then(|ear| ear.hear(timestamp, frame));
        if let Some(mut heard) = heard {
            heard.timestamp = heard.timestamp.wrapping_add(self.began);
            self.end = heard.timestamp.wrapping_add(heard.samples.len() as u32);
            self.heard.push_back(heard);
        }
    }

    /// What is heard next of the packets so far.
    pub fn poll(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_codec::dominant_tone;
    use ringpost_rtp::Header;
    use std::f64::consts::TAU;

    fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            marker: true,
            payload_type,
            sequence,
            timestamp,
            ssrc: 1,
        };
        let mut bytes = Vec::new();
        header.write(payload, &mut bytes);
        bytes
    }

    /// What is heard of packets of 20 ms with a tone of 700 Hz in all channels, coded by `code`.
    fn hear(codec: &Codec, code: impl Fn(i16, &mut Vec<u8>)) -> Vec<i16> {
        let mut hearing = Hearing::new(codec).unwrap();
        let rate = codec.clock_rate_hz;
        let mut heard = Vec::new();
        for n in 0..50u32 {
            let mut payload = Vec::new();
            for i in 0..rate / 50 {
                let at = f64::from(n * (rate / 50) + i) / f64::from(rate);
                let sample = (8_000.0 * (TAU * 700.0 * at).sin()) as i16;
                (0..codec.channels.max(1)).for_each(|_| code(sample, &mut payload));
            }
            let timestamp = (u32::MAX - 5_000).wrapping_add(n * (rate / 50));
            hearing.handle_packet(&packet(codec.payload_type, n as u16, timestamp, &payload));
            let part = hearing.poll().unwrap();
            assert_eq!(part.timestamp as usize, heard.len());
            heard.extend(part.samples);
        }
        heard
    }

    #[test]
    fn a_tone_is_heard_in_every_encoding_at_every_rate() {
        let l16 = |rate, channels| Codec {
            channels,
            ..Codec::new(97, "L16", rate)
        };
        let be = |sample: i16, out: &mut Vec<u8>| out.extend(sample.to_be_bytes());
        let heard = [
            hear(&Codec::pcmu(), |s, out| out.push(Law::Mu.encode(s))),
            hear(&Codec::pcma(), |s, out| out.push(Law::A.encode(s))),
            hear(&Codec::new(98, "PCMU", 16_000), |s, out| {
                out.push(Law::Mu.encode(s))
            }),
            hear(&l16(44_100, 2), be),
            hear(&l16(48_000, 1), be),
        ];
        for (n, sound) in heard.iter().enumerate() {
            assert!((7_900..=8_000).contains(&sound.len()), "{n}: {}", sound.len());
            let found = dominant_tone(&sound[400..]).expect("a tone");
            assert!(
                (found.frequency_hz - 700.0).abs() < 1.0 && found.purity > 0.998,
                "{n}: {found:?}"
            );
        }
    }

    #[test]
    fn a_gap_is_as_long_as_the_timestamps_say_and_a_shake_is_none() {
        let mut hearing = Hearing::new(&Codec::pcmu()).unwrap();
        let mut sequence = 0;
        let mut at = |timestamp| {
            sequence += 1;
            hearing.handle_packet(&packet(0, sequence, timestamp, &[0xff; 160]));
            hearing.poll().unwrap().timestamp
        };
        assert_eq!(
            [at(1_000), at(1_160), at(1_323), at(1_963), at(1_803)],
            [0, 160, 320, 960, 800]
        );
    }

    #[test]
    fn what_is_not_of_the_track_is_not_heard() {
        let mut hearing = Hearing::new(&Codec::pcmu()).unwrap();
        for bytes in [
            &packet(13, 1, 0, &[1; 4])[..],
            &packet(0, 2, 0, &[]),
            &[],
            &packet(0, 3, 0, &vec![0; limits::HEARD_PACKET_BYTES + 1]),
        ] {
            hearing.handle_packet(bytes);
            assert_eq!(hearing.poll(), None);
        }
        assert!(Hearing::new(&Codec::new(96, "H264", 90_000)).is_none());
        for rate in [0, 1, 3_999, 192_001, u32::MAX] {
            assert!(Hearing::new(&Codec::new(96, "L16", rate)).is_none());
        }
    }

    /// What is heard of these pieces, whose units each are so long, in packets made by `pack`.
    fn hear_pieces(codec: &Codec, pieces: &[u8], units: u32, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<i16> {
        let mut hearing = Hearing::new(codec).unwrap();
        let mut heard = Vec::new();
        for (n, piece) in ringpost_codec::pieces::packets(pieces).enumerate() {
            let bytes = packet(codec.payload_type, n as u16, n as u32 * units, &pack(piece));
            hearing.handle_packet(&bytes);
            while let Some(part) = hearing.poll() {
                heard.extend(part.samples);
            }
        }
        heard
    }

    #[test]
    fn opus_and_aac_are_heard_as_their_publishers_pack_them() {
        const AAC: &[u8] =
            include_bytes!("../../../protocol/codec/tests/data/tone_1000hz_48000_stereo.aac_frames");
        const OPUS: &[u8] =
            include_bytes!("../../../protocol/codec/tests/data/tone_1000hz_speech.opus_packets");
        let of = |name, rate, fmtp: &str| Codec {
            channels: 2,
            fmtp: Some(fmtp.into()),
            ..Codec::new(96, name, rate)
        };
        let headed = |frame: &[u8]| {
            let mut payload = vec![0, 16];
            payload.extend(((frame.len() as u16) << 3).to_be_bytes());
            payload.extend(frame);
            payload
        };
        let mpeg4 = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190";
        let elements = std::cell::Cell::new(0u32);
        let in_band = |frame: &[u8]| {
            let number = elements.replace(elements.get() + 1);
            // Of three elements one has the configuration: one program of one layer, AAC-LC at 48,000 Hz in two channels.
            let mut bits = match number % 3 {
                0 => "0010000000000000000100011001000000011111111".to_owned() + "00",
                _ => "1".to_owned(),
            };
            let mut octets = vec![255; frame.len() / 255];
            octets.push((frame.len() % 255) as u8);
            octets.extend(frame);
            octets.iter().for_each(|octet| bits += &format!("{octet:08b}"));
            let whole = bits.as_bytes().chunks(8);
            let octet =
                |bits: &[u8]| (0..8).fold(0, |sum, n| sum << 1 | u8::from(bits.get(n) == Some(&b'1')));
            whole.map(octet).collect()
        };
        let heard = [
            hear_pieces(&of("MP4A-LATM", 48_000, "cpresent=1"), AAC, 1_024, in_band),
            hear_pieces(&of("MPEG4-GENERIC", 48_000, mpeg4), AAC, 1_024, headed),
            hear_pieces(&of("opus", 48_000, "sprop-stereo=0"), OPUS, 2_880, <[u8]>::to_vec),
        ];
        for (n, sound) in heard.iter().enumerate() {
            assert!((7_900..=8_200).contains(&sound.len()), "{n}: {}", sound.len());
            let found = dominant_tone(&sound[4_000..7_600]).expect("a tone");
            assert!((found.frequency_hz - 1_000.0).abs() < 1.0, "{n}: {found:?}");
            assert!((found.level_dbfs + 18.06).abs() < 0.7, "{n}: {found:?}");
        }
        // Without its configuration it is not known what a frame is.
        assert!(Hearing::new(&of("MPEG4-GENERIC", 48_000, "mode=AAC-hbr;sizelength=13")).is_none());
    }
}
