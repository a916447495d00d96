use super::{ChannelBindings, SaslError, Step, prepare};
use crate::base64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// The fewest iterations that RFC 7677 §4 allows.
pub const MIN_ITERATIONS: u32 = 4096;
/// Iterations for new keys: a login costs the server one HMAC whatever their number, a stolen key its guesser this many.
pub const DEFAULT_ITERATIONS: u32 = 15_000;
/// Bytes of salt in keys that are made here.
const SALT_BYTES: usize = 16;

type Key = [u8; 32];

/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3): nobody can log in with it, but it can be guessed
/// against.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Mixed into the password; at most 64 bytes.
    pub salt: Vec<u8>,
    /// Rounds of the key derivation.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// What the server proves itself with.
    pub server_key: [u8; 32],
}

impl ScramKeys {
    /// From a password; fails on what [`prepare`] refuses. Takes `iterations` times two blocks of SHA-256.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Self, super::PrepareError> {
        let salted = salted_password(prepare(password)?.as_bytes(), salt, iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        Ok(ScramKeys {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        })
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Makes up a salt for a user that does not exist, the same one each time, so that asking twice tells nothing.
#[derive(Clone)]
pub struct DecoyKey {
    key: Key,
    iterations: u32,
}

impl DecoyKey {
    /// With the number of iterations that real users have.
    pub fn new(key: [u8; 32], iterations: u32) -> Self {
        DecoyKey { key, iterations }
    }

    fn keys(&self, user: &str) -> ScramKeys {
        let salt = hmac(&self.key, &[b"salt", user.as_bytes()]);
        ScramKeys {
            salt: salt[..SALT_BYTES].to_vec(),
            iterations: self.iterations,
            stored_key: hmac(&self.key, &[b"stored", user.as_bytes()]),
            server_key: hmac(&self.key, &[b"server", user.as_bytes()]),
        }
    }
}

impl fmt::Debug for DecoyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecoyKey(..)")
    }
}

/// The server's side of SCRAM-SHA-256, with channel binding where the connection has it.
#[derive(Debug)]
pub(super) struct Scram {
    state: State,
    server_nonce: String,
    decoy: DecoyKey,
    client: ClientFirst,
    /// What the connection has; empty when no binding was offered.
    bindings: ChannelBindings,
    /// The client chose the mechanism with binding.
    plus: bool,
}

#[derive(Debug)]
enum State {
    ClientFirst,
    Keys,
    ClientFinal {
        server_first: String,
        keys: ScramKeys,
        known: bool,
    },
    Acknowledged,
    Over,
}

/// What a client says about channel binding.
#[derive(Debug, Default, PartialEq, Eq)]
enum Flag {
    /// `n`: it has none.
    #[default]
    No,
    /// `y`: it has, and believes that we do not.
    NotOffered,
    /// `p=name`
    Wanted(String),
}

/// The client's first message, taken apart.
#[derive(Debug, Default)]
struct ClientFirst {
    gs2_header: String,
    flag: Flag,
    bare: String,
    authzid: Option<String>,
    user: String,
    nonce: String,
}

impl Scram {
    pub(super) fn new(server_nonce: String, decoy: DecoyKey) -> Self {
        Scram {
            state: State::ClientFirst,
            server_nonce,
            decoy,
            client: ClientFirst::default(),
            bindings: ChannelBindings::default(),
            plus: false,
        }
    }

    pub(super) fn bind(&mut self, bindings: ChannelBindings, plus: bool) {
        self.bindings = bindings;
        self.plus = plus;
    }

    /// The data that the client must have bound itself to.
    //= https://www.rfc-editor.org/rfc/rfc5802#section-6
    fn binding_data(&self) -> Result<&[u8], SaslError> {
        match &self.client.flag {
            Flag::Wanted(name) if self.plus => self.bindings.of(name).ok_or(SaslError::ChannelBinding),
            Flag::No if !self.plus => Ok(&[]),
            // Somebody has taken our offer away.
            Flag::NotOffered if !self.plus && self.bindings.is_empty() => Ok(&[]),
            _ => Err(SaslError::ChannelBinding),
        }
    }

    pub(super) fn handle_response(&mut self, response: &[u8]) -> Result<Step, SaslError> {
        let message = super::text(response)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::ClientFirst => {
                self.client = ClientFirst::parse(message)?;
                self.binding_data()?;
                self.state = State::Keys;
                Ok(Step::FetchKeys {
                    user: self.client.user.clone(),
                })
            }
            State::ClientFinal {
                server_first,
                keys,
                known,
            } => {
                let last = self.verify(message, &server_first, &keys, known)?;
                self.state = State::Acknowledged;
                Ok(Step::Challenge(last.into_bytes()))
            }
            State::Acknowledged if message.is_empty() => Ok(Step::Authenticated {
                authzid: self.client.authzid.take(),
                user: std::mem::take(&mut self.client.user),
            }),
            State::Acknowledged => Err(SaslError::Malformed("an empty response")),
            State::Keys | State::Over => Err(SaslError::OutOfTurn),
        }
    }

    pub(super) fn handle_keys(&mut self, keys: Option<&ScramKeys>) -> Result<Step, SaslError> {
        if !matches!(self.state, State::Keys) {
            return Err(SaslError::OutOfTurn);
        }
        let known = keys.is_some();
        let decoy = self.decoy.keys(&self.client.user);
        let keys = keys.cloned().unwrap_or(decoy);
        let server_first = format!(
            "r={}{},s={},i={}",
            self.client.nonce,
            self.server_nonce,
            base64::encode(&keys.salt),
            keys.iterations
        );
        let challenge = server_first.clone().into_bytes();
        self.state = State::ClientFinal {
            server_first,
            keys,
            known,
        };
        Ok(Step::Challenge(challenge))
    }

    /// Checks the client's final message; returns the server's.
    fn verify(
        &self,
        message: &str,
        server_first: &str,
        keys: &ScramKeys,
        known: bool,
    ) -> Result<String, SaslError> {
        let wants = SaslError::Malformed("c=…,r=…,p=…");
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(wants)?;
        let rest = without_proof.strip_prefix("c=").ok_or(wants)?;
        let (binding, nonce) = rest.split_once(",r=").ok_or(wants)?;
        let (nonce, extensions) = nonce.split_once(',').map_or((nonce, None), |(n, e)| (n, Some(e)));
        check_extensions(extensions)?;
        //= https://www.rfc-editor.org/rfc/rfc5802#section-5.1
        let bound = [self.client.gs2_header.as_bytes(), self.binding_data()?].concat();
        if binding != base64::encode(&bound) {
            return Err(SaslError::ChannelBinding);
        }
        if nonce.strip_prefix(&self.client.nonce[..]) != Some(&self.server_nonce[..]) {
            return Err(SaslError::Malformed("the nonce of this exchange"));
        }
        let proof: Key = base64::decode(proof.as_bytes(), 32)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(SaslError::Malformed("a proof of 32 bytes"))?;
        let auth_message: [&[u8]; 5] = [
            self.client.bare.as_bytes(),
            b",",
            server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let signature = hmac(&keys.stored_key, &auth_message);
        let client_key: Key = std::array::from_fn(|i| proof[i] ^ signature[i]);
        let proven: bool = Sha256::digest(client_key)[..].ct_eq(&keys.stored_key).into();
        if !(proven & known) {
            return Err(SaslError::Refused);
        }
        Ok(format!(
            "v={}",
            base64::encode(&hmac(&keys.server_key, &auth_message))
        ))
    }
}

impl ClientFirst {
    /// `n,,n=user,r=nonce` (RFC 5802 §7, client-first-message).
    fn parse(message: &str) -> Result<Self, SaslError> {
        let wants = SaslError::Malformed("n,,n=…,r=…");
        let mut fields = message.splitn(3, ',');
        let (flag, authzid, bare) = (fields.next(), fields.next(), fields.next());
        let (Some(flag), Some(authzid), Some(bare)) = (flag, authzid, bare) else {
            return Err(wants);
        };
        let flag = match (flag, flag.strip_prefix("p=")) {
            ("n", _) => Flag::No,
            ("y", _) => Flag::NotOffered,
            (_, Some(name)) => Flag::Wanted(name.to_owned()),
            _ => return Err(wants),
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(saslname(authzid.strip_prefix("a=").ok_or(wants)?)?),
        };
        //= https://www.rfc-editor.org/rfc/rfc5802#section-5.1
        // An extension that must be understood (`m=`) is none that we understand, so the user comes first.
        let rest = bare.strip_prefix("n=").ok_or(wants)?;
        let (user, nonce) = rest.split_once(",r=").ok_or(wants)?;
        let (nonce, extensions) = nonce.split_once(',').map_or((nonce, None), |(n, e)| (n, Some(e)));
        check_extensions(extensions)?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SaslError::Malformed("a printable nonce"));
        }
        Ok(ClientFirst {
            flag,
            gs2_header: message[..message.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
            authzid,
            user: saslname(user)?,
            nonce: nonce.to_owned(),
        })
    }
}

/// Extensions behind what a message must hold. None is known here, so none is heeded; one that must be understood fails.
//= https://www.rfc-editor.org/rfc/rfc5802#section-5.1
fn check_extensions(extensions: Option<&str>) -> Result<(), SaslError> {
    for extension in extensions.into_iter().flat_map(|all| all.split(',')) {
        match extension.as_bytes() {
            [b'm', b'=', ..] => return Err(SaslError::Malformed("no extension that must be understood")),
            [name, b'=', _, ..] if name.is_ascii_alphabetic() => {}
            _ => return Err(SaslError::Malformed("extensions as x=value")),
        }
    }
    Ok(())
}

/// A name in which `,` and `=` are written `=2C` and `=3D`.
fn saslname(coded: &str) -> Result<String, SaslError> {
    let mut parts = coded.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed("=2C or =3D")),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    let name = prepare(&name).map_err(|_| SaslError::Malformed("a name without control characters"))?;
    if name.is_empty() || name.contains(',') && !coded.contains("=2C") {
        return Err(SaslError::Malformed("a name"));
    }
    Ok(name.into_owned())
}

/// `Hi` of RFC 5802 §2.2, which is PBKDF2 with one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password);
    let mut round = keyed.clone();
    round.update(salt);
    round.update(&1u32.to_be_bytes());
    let mut u: Key = round.finalize().into_bytes().into();
    let mut out = u;
    for _ in 1..iterations {
        let mut round = keyed.clone();
        round.update(&u);
        u = round.finalize().into_bytes().into();
        for (o, u) in out.iter_mut().zip(u) {
            *o ^= u;
        }
    }
    out
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A client, for the tests of the server.
#[cfg(test)]
pub(super) fn client_final(
    password: &str,
    bare: &str,
    gs2_header: &[u8],
    server_first: &str,
) -> (String, String) {
    let field = |name: &str| {
        let found = server_first.split(',').find_map(|f| f.strip_prefix(name));
        found.expect("the server's message has it").to_owned()
    };
    let salt = base64::decode(field("s=").as_bytes(), 64).expect("the salt is base64");
    let iterations = field("i=").parse().expect("a number");
    // The nonce may have extensions behind it.
    let nonce = bare.split_once(",r=").map_or("", |(_, nonce)| nonce);
    let extensions = nonce
        .split_once(',')
        .map_or(String::new(), |(_, all)| format!(",{all}"));
    let without_proof = format!("c={},r={}{extensions}", base64::encode(gs2_header), field("r="));
    let auth = format!("{bare},{server_first},{without_proof}");
    let salted = salted_password(password.as_bytes(), &salt, iterations);
    let client_key = hmac(&salted, &[b"Client Key"]);
    let signature = hmac(&Sha256::digest(client_key), &[auth.as_bytes()]);
    let proof: Key = std::array::from_fn(|i| client_key[i] ^ signature[i]);
    let server_key = hmac(&salted, &[b"Server Key"]);
    let v = format!("v={}", base64::encode(&hmac(&server_key, &[auth.as_bytes()])));
    (format!("{without_proof},p={}", base64::encode(&proof)), v)
}

#[cfg(test)]
impl super::Server {
    pub(super) fn scram_with_nonce(server_nonce: &str) -> Self {
        let scram = Scram::new(server_nonce.to_owned(), DecoyKey::new([0; 32], MIN_ITERATIONS));
        super::Server(super::State::Scram(Box::new(scram)))
    }
}
