use crate::header::Via;
use crate::method::Method;
use ringpost_base::Rng;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// What a transaction is found by: 128 bits of a hash over the identifying fields, keyed with a secret so that a peer
/// cannot aim at somebody else's. Sixteen bytes stay of each transaction instead of its branch, host and tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key([u64; 2]);

impl Key {
    pub(crate) fn bits(self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

/// A table by [`Key`], which is its own hash.
pub(crate) type KeyMap<V> = std::collections::HashMap<Key, V, BuildHasherDefault<Truncate>>;

/// Takes one half of a key as the hash.
#[derive(Default)]
pub(crate) struct Truncate(u64);

impl Hasher for Truncate {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

/// Makes keys.
#[derive(Debug)]
pub(crate) struct Keyring {
    secrets: [u128; 2],
}

/// The methods that a branch stands for apart from each other: ACK belongs to its INVITE's transaction, CANCEL has its
/// own under the same branch (RFC 3261 §17.2.3).
fn class(method: &Method) -> &str {
    match method {
        Method::Ack => "INVITE",
        other => other.as_str(),
    }
}

impl Keyring {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut secret = || u128::from(rng.u64()) << 64 | u128::from(rng.u64());
        Keyring {
            secrets: [secret(), secret()],
        }
    }

    /// The key of a request of ours, or of a response to it.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.3
    pub(crate) fn client(&self, via: &Via, branch: &str, method: &Method) -> Key {
        self.key(&("client", branch, SentBy(via), class(method)))
    }

    /// The key of a request with a branch of RFC 3261.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.3
    pub(crate) fn server(&self, via: &Via, branch: &str, method: &Method) -> Key {
        self.key(&("server", branch, SentBy(via), class(method)))
    }

    /// The key of a request without such a branch: the rules of RFC 2543. `to_tag` is the request's own.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-17.2.3
    pub(crate) fn legacy(&self, fields: &LegacyFields<'_>, to_tag: Option<&str>, method: &Method) -> Key {
        self.key(&("legacy", fields, to_tag, class(method)))
    }

    /// The key under which two ways of one request meet.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-8.2.2.2
    pub(crate) fn merged(&self, call_id: &str, from_tag: Option<&str>, cseq: u32, method: &Method) -> Key {
        self.key(&("merged", call_id, from_tag, cseq, method.as_str()))
    }

    /// The key of a dialog, or of all dialogs that one request of ours may begin: Call-ID and our tag.
    pub(crate) fn dialog(&self, call_id: &str, local_tag: &str) -> Key {
        self.key(&("dialog", call_id, local_tag))
    }

    fn key(&self, fields: &impl Hash) -> Key {
        Key(self.secrets.map(|secret| {
            let mut hasher = DefaultHasher::new();
            secret.hash(&mut hasher);
            fields.hash(&mut hasher);
            hasher.finish()
        }))
    }
}

/// What identifies a request of RFC 2543, beside its To tag and method.
#[derive(Hash)]
pub(crate) struct LegacyFields<'a> {
    pub(crate) uri: &'a str,
    pub(crate) from_tag: Option<&'a str>,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    pub(crate) via: &'a str,
}

struct SentBy<'a>(&'a Via);

impl Hash for SentBy<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let sent_by = self.0.sent_by();
        match sent_by.host.ip() {
            Some(ip) => ip.hash(state),
            None => sent_by.host.to_string().to_ascii_lowercase().hash(state),
        }
        sent_by.port.hash(state);
    }
}
