//! A recorder joined with a writer of files.

use super::{Event, Output, Recorder};
use ringpost_base::Instant;
use ringpost_store::{FileCommand, FolderName};

/// Hands all that a recorder wants to the writer of files in a mount's folder, and gives its deadline.
pub fn write_out(
    recorder: &mut Recorder,
    now: Instant,
    folder: &FolderName,
    writer: &mut dyn ringpost_store::FileWriter,
    mut tell: impl FnMut(Event),
) -> Option<Instant> {
    loop {
        let command = match recorder.poll_output() {
            Output::Create { name } => match folder.file(&name) {
                Ok(name) => FileCommand::Create(name),
                Err(_) => {
                    recorder.handle_refused(now);
                    continue;
                }
            },
            Output::Append(bytes) => FileCommand::Append(bytes),
            Output::Sync => FileCommand::Sync,
            Output::Close => FileCommand::Close,
            Output::Event(event) => {
                tell(event);
                continue;
            }
            Output::Timeout(deadline) => return deadline,
        };
        if writer.submit(command).is_err() {
            recorder.handle_refused(now);
        }
    }
}
