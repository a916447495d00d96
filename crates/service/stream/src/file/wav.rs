use super::{FileTrack, Format};
use ringpost_codec::{Law, Wav, WavEncoding, WavError};
use std::ops::Range;

/// The samples of a WAV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WavIndex {
    pub(crate) track: FileTrack,
    pub(crate) encoding: WavEncoding,
    /// Where they lie in the file.
    pub(crate) data: Range<u64>,
}

/// Finds the samples of a WAV file by reading the headers of its chunks.
#[derive(Debug)]
pub(crate) struct WavScanner {
    length: u64,
    /// Where the next chunk begins; 0 before the file's own header.
    at: u64,
    /// The format's chunk, once its header has been read: where its octets lie.
    pending: Option<Range<u64>>,
    format: Option<Vec<u8>>,
    chunks: usize,
    found: Option<WavIndex>,
}

/// Octets of the format's chunk that say something.
const FORMAT_BYTES: u64 = 40;
/// Chunks before the samples; with more it is no file that anybody made.
const CHUNKS: usize = 1_024;
const FILE_HEADER: u64 = 12;
const CHUNK_HEADER: u64 = 8;

impl WavScanner {
    pub(crate) fn new(length: u64) -> Self {
        WavScanner {
            length,
            at: 0,
            pending: None,
            format: None,
            chunks: 0,
            found: None,
        }
    }

    /// Which octets to read next; `None` when the samples are found, or cannot be.
    pub(crate) fn wanted(&self) -> Option<Range<u64>> {
        if self.found.is_some() {
            return None;
        }
        let header = if self.at == 0 { FILE_HEADER } else { CHUNK_HEADER };
        let range = self
            .pending
            .clone()
            .unwrap_or(self.at..self.at.saturating_add(header));
        (range.end <= self.length).then_some(range)
    }

    pub(crate) fn handle(&mut self, octets: &[u8]) -> Result<(), WavError> {
        if self.pending.take().is_some() {
            self.format = Some(octets.to_vec());
            return Ok(());
        }
        if self.at == 0 {
            self.at = FILE_HEADER;
            let is_wave = octets.starts_with(b"RIFF") && octets.get(8..12) == Some(b"WAVE");
            return if is_wave { Ok(()) } else { Err(WavError::NotWave) };
        }
        self.chunks += 1;
        let Some((name, length)) = octets.split_first_chunk::<4>() else {
            return Err(WavError::NoData);
        };
        let told = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        let begin = self.at + CHUNK_HEADER;
        let length = told.min(self.length - begin);
        self.at = begin + length + length % 2;
        match name {
            b"fmt " => self.pending = Some(begin..begin + length.min(FORMAT_BYTES)),
            b"data" => {
                let end = if told == 0 { self.length } else { begin + length };
                self.found = Some(self.index(begin..end)?);
            }
            _ if self.chunks == CHUNKS => return Err(WavError::NoData),
            _ => {}
        }
        Ok(())
    }

    /// What was found.
    pub(crate) fn finish(self) -> Result<WavIndex, WavError> {
        self.found.ok_or(WavError::NoData)
    }

    fn index(&self, data: Range<u64>) -> Result<WavIndex, WavError> {
        // A file of nothing but the format tells what it says.
        let format = self.format.as_deref().ok_or(WavError::NoFormat)?;
        let length = (format.len() as u32).to_le_bytes();
        let head = [b"RIFF\0\0\0\0WAVEfmt ", &length[..], format, b"data\0\0\0\0"].concat();
        let read = Wav::parse(&head)?;
        let channels = read.channels() as u8;
        let encoding = read.encoding();
        let format = match encoding {
            WavEncoding::G711(Law::Mu) => Format::Pcmu { channels },
            WavEncoding::G711(Law::A) => Format::Pcma { channels },
            WavEncoding::Pcm16 | WavEncoding::Pcm24 | WavEncoding::Float32 | WavEncoding::Pcm8 => {
                Format::L16 { channels }
            }
        };
        let track = FileTrack {
            format,
            clock_rate_hz: read.rate_hz(),
        };
        Ok(WavIndex {
            track,
            encoding,
            data,
        })
    }
}

impl WavIndex {
    /// Octets in the file of one sample of each channel.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let channels = match &self.track.format {
            Format::Pcmu { channels } | Format::Pcma { channels } | Format::L16 { channels } => *channels,
            _ => 1,
        };
        u64::from(channels) * self.encoding.bytes() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_codec::WavWriter;

    fn scan(file: &[u8]) -> Result<WavIndex, WavError> {
        let mut scanner = WavScanner::new(file.len() as u64);
        while let Some(range) = scanner.wanted() {
            scanner.handle(&file[range.start as usize..range.end as usize])?;
        }
        scanner.finish()
    }

    fn file(encoding: WavEncoding, samples: &[i16]) -> Vec<u8> {
        let mut writer = WavWriter::new(encoding);
        let mut file = writer.header();
        writer.write(samples, &mut file);
        let end = writer.finish();
        file.extend(end.padding);
        file[..end.header.len()].copy_from_slice(&end.header);
        file
    }

    #[test]
    fn samples_are_found_where_the_whole_file_has_them() {
        for encoding in [WavEncoding::Pcm16, WavEncoding::Pcm8, WavEncoding::G711(Law::A)] {
            let file = file(encoding, &[5; 333]);
            let found = scan(&file).expect("samples");
            let whole = Wav::parse(&file).expect("samples");
            assert_eq!(
                &file[found.data.start as usize..found.data.end as usize],
                whole.data()
            );
            assert_eq!((found.encoding, found.track.clock_rate_hz), (encoding, 8_000));
        }
    }

    #[test]
    fn other_chunks_are_passed_over_and_an_open_end_is_taken() {
        let plain = file(WavEncoding::Pcm16, &[5; 100]);
        let mut file = [&plain[..12], b"LIST\x03\0\0\0abc\0", &plain[12..]].concat();
        let length = file.len() - 200 - 4;
        file[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let found = scan(&file).expect("samples");
        assert_eq!(found.data, file.len() as u64 - 200..file.len() as u64);
        for (cut, expected) in [
            (&file[..11], WavError::NoData),
            (&file[..30], WavError::NoData),
            (b"RIFX\0\0\0\0WAVE", WavError::NotWave),
            (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", WavError::NoFormat),
        ] {
            assert_eq!(scan(cut), Err(expected));
        }
    }
}
