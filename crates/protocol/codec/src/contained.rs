//! Decoders that others wrote, kept from taking the server with them.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// So often a decoder may panic; then nothing more is decoded with it.
const PANICS: u8 = 4;

/// A decoder that may panic at what a stranger sends: it is made anew then, and given up when that happens again and again.
pub(crate) struct Contained<D> {
    decoder: Option<D>,
    panics: u8,
}

impl<D> Contained<D> {
    pub(crate) fn new(decoder: D) -> Self {
        Contained {
            decoder: Some(decoder),
            panics: 0,
        }
    }

    /// Does something with the decoder; `None` if it has panicked, now or too often. `make` makes another.
    pub(crate) fn run<T>(
        &mut self,
        make: impl FnOnce() -> Option<D>,
        act: impl FnOnce(&mut D) -> T,
    ) -> Option<T> {
        // What it leaves behind is never looked at again.
        let mut decoder = self.decoder.take()?;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let done = act(&mut decoder);
            (decoder, done)
        }));
        match done {
            Ok((decoder, done)) => {
                self.decoder = Some(decoder);
                Some(done)
            }
            Err(_) => {
                self.panics += 1;
                self.decoder = make().filter(|_| self.panics < PANICS);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_made_anew_a_few_times_and_then_given_up() {
        let mut contained = Contained::new(0u32);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        for n in 1..PANICS {
            let broken: Option<()> = contained.run(|| Some(u32::from(n)), |_| panic!("at what came"));
            assert_eq!(broken, None);
            assert_eq!(contained.run(|| None, |decoder| *decoder), Some(u32::from(n)));
        }
        let broken: Option<()> = contained.run(|| Some(9), |_| panic!("at what came"));
        std::panic::set_hook(hook);
        assert_eq!(broken, None);
        assert_eq!(contained.run(|| Some(9), |decoder| *decoder), None);
    }
}
