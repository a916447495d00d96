use thiserror::Error;

/// A reader over bytes in network order that never reads past their end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The bytes ended before what was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {needed} more bytes at offset {offset}, found {found}")]
pub struct CursorError {
    /// Where the read began, in bytes from the start.
    pub offset: usize,
    /// How many bytes it needed.
    pub needed: usize,
    /// How many there were.
    pub found: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], CursorError> {
        let rest = self.rest();
        match rest.get(..n) {
            Some(taken) => {
                self.at += n;
                Ok(taken)
            }
            None => Err(CursorError {
                offset: self.at,
                needed: n,
                found: rest.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CursorError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, CursorError> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes, the most significant first.
    pub fn u16(&mut self) -> Result<u16, CursorError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, the most significant first.
    pub fn u32(&mut self) -> Result<u32, CursorError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, the most significant first.
    pub fn u64(&mut self) -> Result<u64, CursorError> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_network_order_and_stops_at_the_end() {
        let mut c = Cursor::new(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(c.u8(), Ok(1));
        assert_eq!(c.u16(), Ok(0x0203));
        assert_eq!(c.u32(), Ok(0x0405_0607));
        assert!(c.is_empty());
        assert_eq!(
            c.u8(),
            Err(CursorError {
                offset: 7,
                needed: 1,
                found: 0
            })
        );
        let mut c = Cursor::new(&[1, 2]);
        assert!(c.take(usize::MAX).is_err());
        assert_eq!(c.rest(), &[1, 2]);
    }
}
