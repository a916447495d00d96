use crate::clients::{Child, client, spawn, wait_for};
use crate::{DOMAIN, Device, Server, Wav, tone_wav};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// A baresip with no sound card: it speaks a tone from a file, and records what it hears.
#[derive(Debug)]
pub struct Baresip {
    child: Child,
    folder: PathBuf,
    control: (Ipv4Addr, u16),
}

/// How a baresip behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// The tone that it speaks.
    pub tone_hz: f64,
    /// Whether it answers each call at once; else it rings until it is told otherwise.
    pub answers: bool,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// The codecs that it has, by name or as `opus/48000/2`, with commas between them.
    pub codec: &'static str,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            tone_hz: 440.0,
            answers: true,
            transport: "udp",
            codec: "PCMU",
        }
    }
}

/// Where Debian's packages put the modules.
const MODULES: &[&str] = &[
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
];
/// How long a thing may take that a person would wait for.
const LIMIT: Duration = Duration::from_secs(15);
impl Baresip {
    /// Starts one for a device, and waits until it is registered. It takes commands at a port of the server's address,
    /// ten above `port`. None when it is not installed.
    pub fn start(server: &Server, device: &Device, port: u16, behaviour: Behaviour) -> Option<Baresip> {
        let program = client("baresip")?;
        let folder = server.folder().join(format!("baresip-{port}"));
        std::fs::create_dir_all(&folder).expect("the test's folder can be written");
        write_configuration(&folder, server, port, behaviour);
        let mut command = Command::new(&program);
        command.arg("-f").arg(&folder).args(["-v", "-s"]);
        let mut baresip = Baresip {
            child: spawn(&folder, "baresip", &mut command),
            folder,
            control: (server.address(), port + 10),
        };
        baresip.register(&account(server, device, behaviour));
        Some(baresip)
    }

    /// Gives it its account once it runs. From its file it would register while it starts, and its `mwi` module, a
    /// millisecond after the start, goes through its list of subscriptions and appends to it for each that it finds:
    /// version 1.0.0 never comes out of there when the 200 was faster.
    fn register(&mut self, account: &str) {
        let runs = wait_for(LIMIT, || TcpStream::connect(self.control).is_ok());
        assert!(runs, "baresip does not listen for commands:\n{}", self.output());
        // The connection was taken in one turn of its loop; that its timer is due by the next is what it waits for.
        std::thread::sleep(Duration::from_millis(20));
        self.command("uanew", &account.replace('"', r#"\""#));
        self.child.wait_for_output("200 OK", LIMIT);
    }

    /// Calls somebody.
    pub fn dial(&self, whom: &str) {
        self.command("dial", &format!("sip:{whom}@{DOMAIN}"));
    }

    /// Answers the call that rings.
    pub fn answer(&self) {
        self.command("accept", "");
    }

    /// Hangs up.
    pub fn hang_up(&self) {
        self.command("hangup", "");
    }

    /// Types a key during a call.
    pub fn press(&self, key: char) {
        self.command("sndcode", &key.to_string());
    }

    /// Waits until it has said `text` in its log.
    pub fn wait_for(&mut self, text: &str) {
        self.child.wait_for_output(text, LIMIT);
    }

    /// Its log so far.
    pub fn output(&self) -> String {
        self.child.output()
    }

    /// What it heard in the last call that it took part in, once at least `seconds` of it are there.
    ///
    /// # Panics
    /// When they are not there in time.
    pub fn heard(&self, seconds: f64) -> Wav {
        let mut heard = None;
        wait_for(LIMIT, || {
            heard = self.last_recording().filter(|wav| wav.seconds() >= seconds);
            heard.is_some()
        });
        heard.unwrap_or_else(|| panic!("not {seconds} s of sound were heard:\n{}", self.output()))
    }

    fn last_recording(&self) -> Option<Wav> {
        let entries = std::fs::read_dir(&self.folder)
            .ok()?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let last = entries
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .max()?;
        Wav::read(&last)
    }

    /// A command over its control socket: a netstring with JSON.
    fn command(&self, command: &str, parameters: &str) {
        let json = format!(r#"{{"command":"{command}","params":"{parameters}","token":"x"}}"#);
        let mut stream = TcpStream::connect(self.control).expect("baresip listens for commands");
        write!(stream, "{}:{json},", json.len()).expect("and takes them");
        // It reads what has arrived when the connection closes.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Twenty ports that nobody else has: two for SIP, the others for RTP, which it opens on every address.
fn own_ports() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id() as u16 % 16;
    let is_free = |first: &u16| {
        let mut all = *first..*first + 20;
        TcpListener::bind((Ipv4Addr::LOCALHOST, *first)).is_ok()
            && all.all(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
    };
    let next = || 10_000 + process * 400 + COUNT.fetch_add(1, Ordering::Relaxed) % 20 * 20;
    let mut tried = std::iter::repeat_with(next).take(20);
    tried.find(is_free).expect("twenty ports in a row are free")
}

fn write_configuration(folder: &Path, server: &Server, port: u16, behaviour: Behaviour) {
    let tone = folder.join("tone.wav");
    tone_wav(&tone, behaviour.tone_hz, 8_000, 60);
    let modules = MODULES
        .iter()
        .find(|path| Path::new(path).is_dir())
        .expect("baresip has its modules");
    let (address, folder_name) = (server.address(), folder.display());
    // Its packets leave from 127.0.0.1, whatever it writes into its session descriptions; so its signalling must too.
    let (ports, control) = (own_ports(), port + 10);
    // Opus is 48,000 samples a second of two channels to it, whatever is in its file.
    let sound = match behaviour.codec {
        codec if codec.contains("opus") => {
            "audio_srate 8000-48000\naudio_channels 1-2\nausrc_srate 8000\nausrc_channels 1\nmodule opus.so\n"
        }
        codec if codec.contains("G722") => {
            "audio_srate 8000-16000\naudio_channels 1-1\nausrc_srate 8000\nmodule g722.so\n"
        }
        "GSM" => "audio_srate 8000-8000\naudio_channels 1-1\nmodule gsm.so\n",
        _ => "audio_srate 8000-8000\naudio_channels 1-1\n",
    };
    let config = format!(
        "sip_listen 127.0.0.1:{ports}\nsip_verify_server no\naudio_player aubridge,x\naudio_source aufile,{tone}\n\
         audio_alert aubridge,x\n{sound}rtp_ports {}-{}\n\
         module_path {modules}\nmodule_app menu.so\nmodule_app mwi.so\n\
         module_app ctrl_tcp.so\nctrl_tcp_listen {address}:{control}\nmodule g711.so\nmodule aufile.so\n\
         module aubridge.so\nmodule sndfile.so\nsnd_path {folder_name}\n",
        ports + 2,
        ports + 19,
        tone = tone.display(),
    );
    for (name, text) in [("config", config.as_str()), ("accounts", ""), ("contacts", "")] {
        std::fs::write(folder.join(name), text).expect("the test's folder can be written");
    }
}

/// An account as a line of its file of accounts.
fn account(server: &Server, device: &Device, behaviour: Behaviour) -> String {
    let Behaviour {
        transport,
        codec,
        answers,
        ..
    } = behaviour;
    let (address, port) = (server.address(), if transport == "tls" { 5061 } else { 5060 });
    let mode = if answers { "auto" } else { "manual" };
    format!(
        "<sip:{}@{DOMAIN};transport={transport}>;auth_user={};auth_pass={};\
         outbound=\"sip:{address}:{port};transport={transport}\";regint=60;answermode={mode};audio_codecs={codec}",
        device.account, device.username, device.secret
    )
}
