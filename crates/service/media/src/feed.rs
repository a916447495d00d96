use crate::jitter_buffer::{FRAME, JitterBuffer};

/// Live sound from elsewhere, played to a leg at a steady pace a little behind its arrival.
#[derive(Debug)]
pub(crate) struct Feed {
    buffer: JitterBuffer,
    begun: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Feed {
            buffer: JitterBuffer::of_stream(),
            begun: false,
        }
    }

    /// More of it came.
    pub(crate) fn push(&mut self, timestamp: u32, samples: &[i16]) {
        self.buffer.insert(timestamp, samples.iter().copied());
    }

    /// Whether the next frame is the first, which is asked once.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// The next 20 ms: silence where nothing came.
    pub(crate) fn frame(&mut self) -> [i16; FRAME] {
        self.buffer.take()
    }
}
