//! Base64 (RFC 4648 §4) as SASL uses it: canonical, padded, no white space, bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Why a text is not taken as base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It would decode to more bytes than the limit.
    #[error("expected base64 of at most {limit_bytes} bytes")]
    TooLong {
        /// The limit that was given.
        limit_bytes: usize,
    },
    /// A character outside the alphabet, wrong padding, or bits set behind the last byte.
    #[error("expected canonical base64 with padding")]
    Malformed,
}

/// `bytes` as base64 with padding.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes that `text` stands for, if they are at most `limit_bytes`.
pub fn decode(text: &[u8], limit_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    if text.len().div_ceil(4) > limit_bytes.div_ceil(3) {
        return Err(DecodeError::TooLong { limit_bytes });
    }
    let bytes = STANDARD.decode(text).map_err(|_| DecodeError::Malformed)?;
    if bytes.len() > limit_bytes {
        Err(DecodeError::TooLong { limit_bytes })
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_taken() {
        assert_eq!(decode(b"Zm9v", 3), Ok(b"foo".to_vec()));
        assert_eq!(decode(b"Zm8=", 3), Ok(b"fo".to_vec()));
        assert_eq!(decode(b"", 3), Ok(vec![]));
        for bad in ["Zm8", "Zm9=", "Zm 9v", "Zm9v\r\n", "=", "Zm9v====", "Zm-_"] {
            assert_eq!(decode(bad.as_bytes(), 30), Err(DecodeError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        assert_eq!(decode(b"Zm9v", 2), Err(DecodeError::TooLong { limit_bytes: 2 }));
        assert_eq!(decode(b"Zm8=", 2), Ok(b"fo".to_vec()));
        assert_eq!(
            decode(&[b'A'; 4000], 100),
            Err(DecodeError::TooLong { limit_bytes: 100 })
        );
    }
}
