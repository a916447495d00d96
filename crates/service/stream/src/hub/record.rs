//! Recording what is live.

use super::plane::Plane;
use super::{Event, MountKey, Output};
use crate::mount::MountName;
use crate::recording::{self, Recorder, Settings};
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_store::{FileCommand, FileName, FolderName};
use std::collections::HashMap;
use thiserror::Error;

/// How many files there are at least of what is kept, if that is little.
const PARTS: u64 = 4;
/// However little is kept, a file is no smaller.
const LEAST_SEGMENT_BYTES: u64 = 256 * 1024;

/// What is known of the recordings of mounts, whoever publishes.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    /// Mounts that somebody had recorded, or not, whatever the settings say.
    by_hand: HashMap<MountName, bool>,
    /// When files began that were called by a time that has not come yet, as a publisher's reports may be ahead: what another one
    /// publishes comes behind them.
    ahead: HashMap<MountName, UnixTime>,
}

impl Recordings {
    /// A file was begun: what its name says, and when it is now.
    fn note_begun(&mut self, mount: &MountName, began: UnixTime, wallclock: UnixTime) {
        self.ahead.retain(|_, began| *began > wallclock);
        if began > wallclock {
            self.ahead.insert(mount.clone(), began);
        }
    }
}

/// A mount's recording is not switched by hand: no further one can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{} mounts are switched by hand already; give it a line in the configuration",
    limits::RECORDED_BY_HAND
)]
pub struct NotRecorded;

impl Plane {
    /// Whether the settings want a mount recorded.
    pub(crate) fn is_to_be_recorded(&self, name: &MountName) -> bool {
        let by_hand = self.recordings.by_hand.get(name).copied();
        by_hand.unwrap_or_else(|| self.config.settings_of(name).record)
    }

    /// Begins and ends recordings by what is wanted now.
    pub(crate) fn look_at_recordings(&mut self, now: Instant) {
        let mounts: Vec<_> = self.names.values().copied().collect();
        for mount in mounts {
            self.look_at_recording(now, mount);
        }
    }

    /// The same for one mount.
    pub(crate) fn look_at_recording(&mut self, now: Instant, key: MountKey) {
        let Some(name) = self.name_of(key) else { return };
        let is_wanted = self.is_to_be_recorded(&name);
        let settings = Settings {
            segment_bytes: segment_bytes(self.config.settings_of(&name).keep_bytes),
            ..Settings::default()
        };
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        match (is_wanted, &mut live.recorder) {
            (true, None) if live.publisher.is_some() => match Recorder::new(&live.description, settings) {
                Ok(mut recorder) => {
                    if let Some(began) = self.recordings.ahead.get(&name) {
                        recorder.follow(*began);
                    }
                    live.recorder = Some(recorder);
                }
                Err(error) => {
                    let why = error.to_string();
                    self.tell(Event::NotRecorded { mount: name, why });
                }
            },
            (true, Some(recorder)) => recorder.set_segment_bytes(settings.segment_bytes),
            (false, Some(recorder)) => {
                recorder.finish(now);
                self.flush_recorder(now, key);
                if let Some(live) = self.live.get_mut(&key) {
                    live.recorder = None;
                }
            }
            _ => {}
        }
        self.flush_recorder(now, key);
    }

    /// Hands on what a mount's recorder wants written.
    pub(crate) fn flush_recorder(&mut self, now: Instant, key: MountKey) {
        let wallclock = self.wallclock(now);
        // It is looked at with each packet: most often there is nothing, and then nothing is copied.
        while let Some(live) = self.live.get_mut(&key)
            && let Some(recorder) = &mut live.recorder
        {
            let command = match recorder.poll_output() {
                recording::Output::Create { name } => match file_of(&live.name, &name) {
                    Some(file) => {
                        if let Some(began) = recording::began(&name) {
                            self.recordings.note_begun(&live.name, began, wallclock);
                        }
                        FileCommand::Create(file)
                    }
                    None => {
                        recorder.handle_refused(now);
                        continue;
                    }
                },
                recording::Output::Append(bytes) => FileCommand::Append(bytes),
                recording::Output::Sync => FileCommand::Sync,
                recording::Output::Close => FileCommand::Close,
                recording::Output::Event(event) => {
                    let mount = live.name.clone();
                    self.tell(Event::Recording { mount, event });
                    continue;
                }
                recording::Output::Timeout(_) => return,
            };
            let mount = live.name.clone();
            self.push(Output::Write { mount, command });
        }
    }

    /// What a mount's recorder wanted written was not taken.
    pub(crate) fn handle_write_refused(&mut self, now: Instant, mount: &MountName) {
        let Some(key) = self.names.get(mount).copied() else {
            return;
        };
        if let Some(recorder) = self.live.get_mut(&key).and_then(|live| live.recorder.as_mut()) {
            recorder.handle_refused(now);
            self.flush_recorder(now, key);
            self.set_mount_timer(key);
        }
    }

    pub(crate) fn record_by_hand(
        &mut self,
        now: Instant,
        mount: &MountName,
        is_wanted: bool,
    ) -> Result<bool, NotRecorded> {
        let by_hand = &mut self.recordings.by_hand;
        if by_hand.len() >= limits::RECORDED_BY_HAND && !by_hand.contains_key(mount) {
            return Err(NotRecorded);
        }
        by_hand.insert(mount.clone(), is_wanted);
        let Some(key) = self.names.get(mount).copied() else {
            return Ok(false);
        };
        self.look_at_recording(now, key);
        self.set_mount_timer(key);
        Ok(true)
    }

    /// Everything that is recorded is written to its end.
    pub(crate) fn finish_recordings(&mut self, now: Instant) {
        let mounts: Vec<_> = self.live.keys().copied().collect();
        for key in mounts {
            if let Some(recorder) = self.live.get_mut(&key).and_then(|live| live.recorder.as_mut()) {
                recorder.finish(now);
                self.flush_recorder(now, key);
            }
        }
    }

    pub(crate) fn name_of(&self, key: MountKey) -> Option<MountName> {
        self.live.get(&key).map(|live| live.name.clone())
    }
}

/// How long a file is of which so much is kept: whole files are removed, and the one that is open never.
fn segment_bytes(keep_bytes: Option<u64>) -> Option<u64> {
    keep_bytes.map(|keep_bytes| (keep_bytes / PARTS).max(LEAST_SEGMENT_BYTES))
}

/// Where a recording of a mount lies.
fn file_of(mount: &MountName, name: &str) -> Option<FileName> {
    folder_of(mount)?.file(name).ok()
}

/// The folder of a mount's recordings.
pub fn folder_of(mount: &MountName) -> Option<FolderName> {
    mount.as_str().parse().ok()
}
