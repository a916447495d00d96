//! SMTP and IMAP typed by hand, for tests that must know which answer came and which did not.

use crate::{Account, Server};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn connect(server: &Server, port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((server.address(), port)))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tls_over(server: &Server, stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::from(std::net::IpAddr::V4(server.address()));
    let connection = ClientConnection::new(Arc::new(config), name).map_err(Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// A connection under TLS from the start, of which the bytes are somebody else's matter.
pub fn open_tls(server: &Server, port: u16) -> Result<impl Read + Write + Send + use<>> {
    tls_over(server, connect(server, port)?)
}

/// A connection on which lines come and go.
struct Talk(BufReader<Box<dyn Stream>>);

impl Talk {
    fn plain(server: &Server, port: u16) -> Result<Talk> {
        let stream = connect(server, port)?;
        Ok(Talk(BufReader::new(Box::new(stream))))
    }

    /// Under TLS from the start. The certificate is the test's server's own, and is not looked at.
    fn tls(server: &Server, port: u16) -> Result<Talk> {
        let stream = tls_over(server, connect(server, port)?)?;
        Ok(Talk(BufReader::new(Box::new(stream))))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next line, without its end; an error when the other side has closed.
    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A mail server from elsewhere that delivers to us.
pub struct SmtpClient(Talk);

impl SmtpClient {
    /// Connects to the port for other servers, and says EHLO.
    pub fn open(server: &Server) -> Result<SmtpClient> {
        let mut client = SmtpClient(Talk::plain(server, 2525)?);
        client.reply()?;
        client.say("EHLO client.test\r\n")?;
        Ok(client)
    }

    /// Sends, and gives the last line of the reply.
    pub fn say(&mut self, text: &str) -> Result<String> {
        self.0.send(text.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> Result<String> {
        loop {
            let line = self.0.line()?;
            if line.get(3) != Some(&b'-') {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
        }
    }

    /// Delivers one message, whose lines end with CRLF and have no dot in front; gives the reply that decided: the first
    /// that is not positive, or the one to the message.
    pub fn deliver(&mut self, to: &[&Account], message: &str) -> Result<String> {
        let recipients = to
            .iter()
            .map(|account| format!("RCPT TO:<{}>\r\n", account.address));
        let envelope = std::iter::once("MAIL FROM:<x@elsewhere.test>\r\n".to_string()).chain(recipients);
        for command in envelope.chain(["DATA\r\n".to_string()]) {
            let reply = self.say(&command)?;
            if !reply.starts_with(['2', '3']) {
                self.say("RSET\r\n")?;
                return Ok(reply);
            }
        }
        self.say(&format!("{message}.\r\n"))
    }
}

/// A connection to the server's IMAP of which the bytes are somebody else's matter.
pub struct ImapSocket {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came before TLS was on: the greeting.
    greeting: Vec<u8>,
}

impl ImapSocket {
    /// Connects under TLS from the start, or asks for it.
    pub fn open(server: &Server, starttls: bool) -> Result<ImapSocket> {
        let mut greeting = Vec::new();
        let mut stream = connect(server, if starttls { 1430 } else { 9930 })?;
        if starttls {
            greeting = line_of(&mut stream)?;
            stream.write_all(b"s STARTTLS\r\n")?;
            let answer = line_of(&mut stream)?;
            if !answer.starts_with(b"s OK") {
                return Err(Error::other(String::from_utf8_lossy(&answer)));
            }
        }
        let stream = tls_over(server, stream)?;
        Ok(ImapSocket { stream, greeting })
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// What has come; nothing when nothing comes within `wait`, and an error when the server has closed.
    pub fn receive(&mut self, wait: Duration) -> Result<Vec<u8>> {
        if !self.greeting.is_empty() {
            return Ok(std::mem::take(&mut self.greeting));
        }
        self.stream.sock.set_read_timeout(Some(wait))?;
        let mut bytes = vec![0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                bytes.truncate(length);
                Ok(bytes)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// A line with its end, and not a byte that comes behind it.
fn line_of(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(line)
}

/// An IMAP client that has logged in.
pub struct ImapClient {
    talk: Talk,
    last_tag: u32,
}

/// The answer to an IMAP command.
#[derive(Clone, Debug)]
pub struct ImapReply {
    /// The untagged responses, each with its literals in it.
    pub untagged: Vec<Vec<u8>>,
    /// The tagged line without its tag: `OK …`, `NO …` or `BAD …`.
    pub tagged: String,
}

impl ImapReply {
    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        self.tagged.starts_with("OK ")
    }

    /// The two numbers of the response code APPENDUID: UIDVALIDITY and UID.
    pub fn append_uid(&self) -> Option<(u32, u32)> {
        let code = self.tagged.split("[APPENDUID ").nth(1)?.split(']').next()?;
        let (validity, uid) = code.split_once(' ')?;
        Some((validity.parse().ok()?, uid.parse().ok()?))
    }

    /// All untagged responses as text.
    pub fn text(&self) -> String {
        let lines = self.untagged.iter().map(|line| String::from_utf8_lossy(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl ImapClient {
    /// Connects under TLS and logs in.
    pub fn login(server: &Server, account: &Account) -> Result<ImapClient> {
        let mut talk = Talk::tls(server, 9930)?;
        talk.line()?;
        let mut client = ImapClient { talk, last_tag: 0 };
        let reply = client.command(&format!("LOGIN {} {}", account.address, account.password))?;
        match reply.is_ok() {
            true => Ok(client),
            false => Err(Error::other(reply.tagged)),
        }
    }

    /// Sends a command without waiting; gives its tag.
    pub fn send(&mut self, command: &str) -> Result<String> {
        self.last_tag += 1;
        let tag = format!("t{}", self.last_tag);
        self.talk.send(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Reads up to the answer of this tag.
    pub fn finish(&mut self, tag: &str) -> Result<ImapReply> {
        let mut untagged = Vec::new();
        loop {
            let line = self.response()?;
            let text = String::from_utf8_lossy(&line);
            match text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                Some(tagged) => {
                    let tagged = tagged.to_string();
                    return Ok(ImapReply { untagged, tagged });
                }
                None => untagged.push(line),
            }
        }
    }

    /// Sends a command and reads its answer.
    pub fn command(&mut self, command: &str) -> Result<ImapReply> {
        let tag = self.send(command)?;
        self.finish(&tag)
    }

    /// APPEND to INBOX, waiting for the server's go-ahead before the message.
    pub fn append(&mut self, message: &str) -> Result<ImapReply> {
        let tag = self.send(&format!("APPEND INBOX {{{}}}", message.len()))?;
        loop {
            let line = self.response()?;
            if line.starts_with(b"+") {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(tagged) = text.strip_prefix(&format!("{tag} ")) {
                return Ok(ImapReply {
                    untagged: Vec::new(),
                    tagged: tagged.to_string(),
                });
            }
        }
        self.talk.send(format!("{message}\r\n").as_bytes())?;
        self.finish(&tag)
    }

    /// APPEND to INBOX with a literal that is not waited for (RFC 7888: at most 4,096 octets), sent and not answered yet.
    pub fn send_append(&mut self, message: &str) -> Result<String> {
        self.send(&format!("APPEND INBOX {{{}+}}\r\n{message}", message.len()))
    }

    /// One response with its literals.
    fn response(&mut self) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let line = self.talk.line()?;
            let literal = literal_length(&line);
            whole.extend_from_slice(&line);
            let Some(length) = literal else { return Ok(whole) };
            whole.extend_from_slice(b"\r\n");
            whole.extend(self.talk.exactly(length)?);
        }
    }
}

/// The length of the literal that a line announces at its end.
fn literal_length(line: &[u8]) -> Option<usize> {
    let open = line.strip_suffix(b"}")?;
    let at = open.iter().rposition(|b| *b == b'{')?;
    std::str::from_utf8(&open[at + 1..]).ok()?.parse().ok()
}
