use crate::header::BRANCH_COOKIE;
use ringpost_base::Rng;

/// Makes the tags, branches and Call-IDs of one shard. Each begins with the shard's number, so that whatever a peer sends
/// back is handed to its owner without a lookup.
///
/// Behind the number stand 100 random bits, more than RFC 3261 §19.3 asks of a tag.
#[derive(Debug)]
pub struct Mint {
    shard: u16,
    rng: Rng,
}

/// Letters of the random part, 5 bits each.
const RANDOM_LETTERS: usize = 20;

impl Mint {
    /// A mint for the shard of that number.
    pub fn new(shard: u16, rng: Rng) -> Self {
        Mint { shard, rng }
    }

    /// A tag for From or To.
    pub fn tag(&mut self) -> String {
        format!("s{:x}.{}", self.shard, self.rng.token(RANDOM_LETTERS))
    }

    /// A Call-ID. It names no host, which would tell ours to whoever sees it.
    pub fn call_id(&mut self) -> String {
        self.tag()
    }

    /// A branch with the cookie of RFC 3261 §8.1.1.7.
    pub fn branch(&mut self) -> String {
        format!(
            "{BRANCH_COOKIE}s{:x}.{}",
            self.shard,
            self.rng.token(RANDOM_LETTERS)
        )
    }

    /// A tag that follows from `seed`: for answers that must be the same each time (RFC 3261 §8.2.7).
    pub(crate) fn tag_from(&self, seed: u128) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let random = (0..RANDOM_LETTERS).map(|i| char::from(LETTERS[(seed >> (5 * i)) as usize & 31]));
        format!("s{:x}.{}", self.shard, random.collect::<String>())
    }
}

/// The number of the shard that minted a tag, branch or Call-ID; `None` for a stranger's.
pub fn owner(minted: &str) -> Option<u16> {
    let rest = minted.strip_prefix(BRANCH_COOKIE).unwrap_or(minted);
    let (number, random) = rest.strip_prefix('s')?.split_once('.')?;
    (random.len() == RANDOM_LETTERS)
        .then(|| u16::from_str_radix(number, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_names_its_owner() {
        let mut mint = Mint::new(0x2a, Rng::from_number(1));
        for minted in [
            mint.tag(),
            mint.call_id(),
            mint.branch(),
            mint.tag_from(u128::MAX / 3),
        ] {
            assert_eq!(owner(&minted), Some(0x2a), "{minted}");
        }
        for foreign in [
            "",
            "z9hG4bK776asdhds",
            "s.abc",
            "s1.abc",
            "1928301774",
            "sg.aaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}
