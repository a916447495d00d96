//! Streams from outside: what ffmpeg makes, publishes and reads, compared access unit by access unit.

use crate::Server;
use crate::clients::{Child, Finished, client, run, spawn, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long ffmpeg may take for what takes it no time of the stream's.
const LIMIT: Duration = Duration::from_secs(60);
/// Brings H.264 into one form, whatever it came in: start codes, and coded slices alone. MP4 keeps parameter sets elsewhere.
const SLICES: &str = "h264_mp4toannexb,filter_units=pass_types=1-5";

/// One access unit of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The stream: pictures before sound.
    pub stream: usize,
    /// Its presentation time in seconds.
    pub at_s: f64,
    /// MD5 of what is in it: of a picture its slices, of sound its frame.
    pub md5: String,
}

/// ffmpeg, and where its files go.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: PathBuf,
    folder: PathBuf,
}

impl Ffmpeg {
    /// Finds it, or says that its test is skipped.
    pub fn find(folder: &Path) -> Option<Ffmpeg> {
        client("ffprobe")?;
        Some(Ffmpeg {
            program: client("ffmpeg")?,
            folder: folder.into(),
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        command
            .args(["-hide_banner", "-nostats", "-loglevel", "info", "-y"])
            .args(arguments);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, name: &str, arguments: &[&str], limit: Duration) -> Finished {
        run(&self.folder, name, &mut self.command(arguments), limit)
    }

    /// Starts it.
    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Child {
        spawn(&self.folder, name, &mut self.command(arguments))
    }

    /// Makes an MP4 of so many seconds with pictures (H.264, 25 a second, of which each 25th is a key picture; no two alike) and
    /// a tone of 440 Hz (AAC).
    ///
    /// # Panics
    /// When it makes none.
    pub fn sample(&self, name: &str, seconds: u32) -> PathBuf {
        self.sample_of(name, seconds, "testsrc2=size=320x240:rate=25", "600k")
    }

    /// The same with 4 Mbit/s of noise in its pictures.
    ///
    /// # Panics
    /// When it makes none.
    pub fn noisy_sample(&self, name: &str, seconds: u32) -> PathBuf {
        let pictures = "testsrc2=size=320x240:rate=25,noise=alls=60:allf=t";
        self.sample_of(name, seconds, pictures, "4M")
    }

    fn sample_of(&self, name: &str, seconds: u32, pictures: &str, bitrate: &str) -> PathBuf {
        let path = self.folder.join(name);
        let target = path.display().to_string();
        let seconds = seconds.to_string();
        let sound = "sine=frequency=440:sample_rate=48000";
        let mut arguments = vec!["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound];
        arguments.extend(["-t", &seconds, "-c:v", "libx264", "-preset", "ultrafast"]);
        arguments.extend(["-pix_fmt", "yuv420p", "-g", "25", "-bf", "0", "-b:v", bitrate]);
        arguments.extend(["-c:a", "aac", "-b:a", "96k", "-movflags", "faststart", &target]);
        let made = self.run(&format!("make-{name}"), &arguments, LIMIT);
        assert!(made.succeeded(), "{}", made.output);
        path
    }

    /// Publishes a file at its pace, to its end or until it is dropped; `transport` is `tcp` or `udp`.
    pub fn publish(&self, name: &str, source: &Path, transport: &str, url: &str) -> Child {
        let source = source.display().to_string();
        let mut arguments = vec!["-re", "-i", &source, "-map", "0", "-c", "copy"];
        arguments.extend(["-f", "rtsp", "-rtsp_transport", transport, url]);
        self.spawn(name, &arguments)
    }

    /// The access units of a file or a URL; `options` stand before it, `-t` among them.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn units(&self, name: &str, options: &[&str], input: &str) -> Vec<Unit> {
        let read = self.try_units(name, options, input);
        read.unwrap_or_else(|output| panic!("{name} cannot be read:\n{output}"))
    }

    /// The same, or what it said instead.
    pub fn try_units(&self, name: &str, options: &[&str], input: &str) -> Result<Vec<Unit>, String> {
        self.units_through(SLICES, name, options, input)
    }

    /// The same of other pictures than H.264's, which are brought into one form by another filter of ffmpeg's (`null` for none).
    pub fn units_through(
        &self,
        filter: &str,
        name: &str,
        options: &[&str],
        input: &str,
    ) -> Result<Vec<Unit>, String> {
        let path = self.folder.join(format!("{name}.framemd5"));
        let target = path.display().to_string();
        // Without an end of its own a reader that gets nothing would wait for ever.
        let mut arguments = [
            options,
            &["-i", input, "-map", "0:v?", "-map", "0:a?", "-c", "copy"],
        ]
        .concat();
        arguments.extend(["-bsf:v", filter, "-f", "framemd5", &target]);
        let read = self.run(name, &arguments, LIMIT);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let units = units_of(&text);
        match read.succeeded() && !units.is_empty() {
            true => Ok(units),
            false => Err(read.output),
        }
    }
}

/// What framemd5 writes: `stream, dts, pts, duration, size, hash`, times in units that `#tb` lines name.
fn units_of(text: &str) -> Vec<Unit> {
    let mut bases = Vec::new();
    let mut units = Vec::new();
    for line in text.lines() {
        if let Some(base) = line.strip_prefix("#tb ") {
            let (_, base) = base.split_once(": ").expect("a base of time");
            let (over, under) = base.split_once('/').expect("a fraction");
            let of = |text: &str| text.parse::<f64>().expect("a number");
            bases.push(of(over) / of(under));
        } else if !line.starts_with('#') {
            let columns: Vec<&str> = line.split(',').map(str::trim).collect();
            let [stream, _, at, _, _, md5, ..] = columns[..] else {
                continue;
            };
            let stream: usize = stream.parse().expect("a stream's number");
            let at: f64 = at.parse().expect("a time");
            units.push(Unit {
                stream,
                at_s: at * bases[stream],
                md5: md5.into(),
            });
        }
    }
    units
}

/// Where `read` stands within `sent`, stream by stream: each unit of it is a unit that was sent, in the order in which they were
/// sent, none of those between is missing, and the times between them are those that were sent, to `jitter_s`. Gives the units of
/// each stream that were read, and how much later each stream was than what was sent, in seconds.
///
/// # Panics
/// When it is not so.
pub fn compare_units(sent: &[Unit], read: &[Unit], jitter_s: f64) -> Vec<(usize, f64)> {
    let of = |units: &[Unit], stream| -> Vec<Unit> {
        let units = units.iter().filter(|unit| unit.stream == stream);
        units.cloned().collect()
    };
    let streams = 1 + sent
        .iter()
        .map(|unit| unit.stream)
        .max()
        .expect("something was sent");
    let compared = (0..streams).map(|stream| {
        let (sent, read) = (of(sent, stream), of(read, stream));
        assert!(!read.is_empty(), "nothing of stream {stream} was read");
        let first = sent.iter().position(|unit| unit.md5 == read[0].md5);
        let first =
            first.unwrap_or_else(|| panic!("what came first of stream {stream} was not sent: {:?}", read[0]));
        // ffmpeg may not tell the time of the very first unit that it reads.
        let later = read
            .get(1)
            .zip(sent.get(first + 1))
            .map_or(0.0, |(read, sent)| read.at_s - sent.at_s);
        for (count, unit) in read.iter().enumerate() {
            let Some(meant) = sent.get(first + count) else {
                panic!("more of stream {stream} was read than sent: {unit:?}")
            };
            assert_eq!(
                unit.md5, meant.md5,
                "unit {count} of stream {stream}, {unit:?}, {meant:?}"
            );
            let apart = (unit.at_s - meant.at_s - later).abs();
            assert!(
                count == 0 || apart < jitter_s,
                "unit {count} of stream {stream} is {apart:.3} s off: {unit:?}, {meant:?}"
            );
        }
        (read.len(), later)
    });
    compared.collect()
}

/// The recorded files of a mount, the oldest first.
///
/// # Panics
/// When the server's folder cannot be read.
pub fn recorded(server: &Server, mount: &str) -> Vec<PathBuf> {
    let mut folders = vec![server.folder().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the server's folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let is_of_mount = path.parent().is_some_and(|folder| folder.ends_with(mount));
            match path.is_dir() {
                true => folders.push(path),
                false if is_of_mount && path.extension().is_some_and(|end| end == "mp4") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// Where a mount is published and read by who has no password.
pub fn stream_url(server: &Server, mount: &str) -> String {
    format!("rtsp://{}:8554/{mount}", server.address())
}

/// The lines of a mount in `stream list`, its own and those of its sessions; none while there is nothing of it.
pub fn listed_stream(server: &Server, mount: &str) -> Vec<String> {
    let list = server.command(&["stream", "list"]);
    let of_mount = list
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{mount}\t")));
    let mut lines: Vec<String> = of_mount.map(str::to_owned).collect();
    let end = lines.iter().skip(1).position(|line| !line.starts_with(' '));
    lines.truncate(end.map_or(lines.len(), |end| end + 1));
    lines
}

/// Waits until something of a mount has come.
///
/// # Panics
/// When nothing comes.
pub fn wait_until_live(server: &Server, mount: &str, publisher: &Child) {
    let is_live = wait_for(LIMIT, || {
        let lines = listed_stream(server, mount);
        lines.first().is_some_and(|line| !line.contains("\t0 bytes came"))
    });
    assert!(is_live, "{mount} does not come alive:\n{}", publisher.output());
}

/// Waits until a mount is no longer listed.
///
/// # Panics
/// When it stays.
pub fn wait_until_over(server: &Server, mount: &str) {
    let is_over = wait_for(LIMIT, || listed_stream(server, mount).is_empty());
    assert!(is_over, "{mount} stays");
}
