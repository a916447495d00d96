use crate::jitter_buffer::{FRAME, JitterBuffer};
use crate::{Event, LegId, RecordOutcome};
use ringpost_codec::{Heard, SAMPLE_RATE_HZ, SilenceMeter};
use std::time::Duration;

/// A second: what one event carries.
const CHUNK: usize = SAMPLE_RATE_HZ as usize;
/// Below this level it is quiet on a telephone.
const QUIET_DBFS: f64 = -45.0;

/// What one leg says, in time and in order.
#[derive(Debug)]
pub(crate) struct Recorder {
    leg: LegId,
    id: u64,
    buffer: JitterBuffer,
    meter: SilenceMeter,
    chunk: Vec<i16>,
    samples: u64,
    max: Duration,
    silence: Option<Duration>,
}

impl Recorder {
    pub(crate) fn new(leg: LegId, id: u64, max: Duration, silence: Option<Duration>) -> Self {
        Recorder {
            leg,
            id,
            buffer: JitterBuffer::new(),
            meter: SilenceMeter::new(QUIET_DBFS),
            chunk: Vec::with_capacity(CHUNK),
            samples: 0,
            max,
            silence,
        }
    }

    /// Another source speaks from now on.
    pub(crate) fn restart(&mut self) {
        self.buffer.restart();
    }

    /// This was said.
    pub(crate) fn hear(&mut self, heard: &Heard) {
        self.buffer.insert(heard.timestamp, heard.samples.iter().copied());
    }

    /// Another 20 ms have passed: the recording grows by them. Says if it is to end.
    pub(crate) fn tick(&mut self, emit: &mut impl FnMut(Event)) -> Option<RecordOutcome> {
        let frame = self.buffer.take();
        self.append(&frame, emit);
        let silent = Duration::from_millis(self.meter.silent_ms());
        if self.length() >= self.max {
            Some(RecordOutcome::MaxLength)
        } else if self.silence.is_some_and(|limit| silent >= limit) {
            Some(RecordOutcome::Silence)
        } else {
            None
        }
    }

    fn append(&mut self, frame: &[i16; FRAME], emit: &mut impl FnMut(Event)) {
        self.meter.push(frame);
        self.samples += FRAME as u64;
        self.chunk.extend_from_slice(frame);
        if self.chunk.len() >= CHUNK {
            self.flush(emit);
        }
    }

    fn flush(&mut self, emit: &mut impl FnMut(Event)) {
        if !self.chunk.is_empty() {
            emit(Event::Recorded {
                leg: self.leg,
                id: self.id,
                samples: self.chunk.as_slice().into(),
            });
            self.chunk.clear();
        }
    }

    fn length(&self) -> Duration {
        Duration::from_micros(self.samples * 125)
    }

    /// The recording ends: what waits is told, and then that it is over.
    pub(crate) fn finish(mut self, outcome: RecordOutcome, mut emit: impl FnMut(Event)) {
        while !self.buffer.fill().is_zero() && self.length() < self.max {
            let frame = self.buffer.take();
            self.append(&frame, &mut emit);
        }
        self.flush(&mut emit);
        emit(Event::RecordEnded {
            leg: self.leg,
            id: self.id,
            outcome,
            length: self.length(),
            silent_end: Duration::from_millis(self.meter.silent_ms()),
        });
    }
}
