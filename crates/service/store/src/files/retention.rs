use super::{FileInfo, FileName};
use ringpost_base::UnixTime;
use std::time::Duration;

/// How long files are kept, and how many octets of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Files that were written last longer ago than this go; `None` keeps them whatever their age.
    pub age: Option<Duration>,
    /// While all files together are longer than this, the one that was written last longest ago goes; `None` sets no bound.
    pub size_bytes: Option<u64>,
}

/// The files of a list that are not to be kept, the oldest first. One that is being written is never among them, and counts.
pub fn expired(files: &[FileInfo], now: UnixTime, keep: Retention) -> Vec<FileName> {
    let mut total: u64 = files.iter().map(|file| file.size_bytes).sum();
    let mut closed: Vec<&FileInfo> = files.iter().filter(|file| !file.is_open).collect();
    closed.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
    let goes = closed.into_iter().take_while(|file| {
        let is_old = keep.age.is_some_and(|age| now.since(file.modified) > age);
        let is_too_much = keep.size_bytes.is_some_and(|most| total > most);
        total -= file.size_bytes;
        is_old || is_too_much
    });
    goes.map(|file| file.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten files of ten octets, of which one was written in each hour; the last is being written.
    fn files() -> Vec<FileInfo> {
        let info = |hour: u64| FileInfo {
            name: format!("door/{hour}.mp4").parse().expect("a name"),
            size_bytes: 10,
            modified: UnixTime::from_secs(hour * 3_600),
            is_open: hour == 9,
        };
        (0..10).rev().map(info).collect()
    }

    fn goes(keep: Retention) -> Vec<String> {
        let now = UnixTime::from_secs(9 * 3_600 + 1);
        let names = expired(&files(), now, keep);
        names.iter().map(|name| name.name().to_string()).collect()
    }

    #[test]
    fn what_is_older_or_too_much_goes_and_the_oldest_first() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
        assert!(goes(Retention::default()).is_empty());
        let age = hours(7);
        assert_eq!(
            goes(Retention {
                age,
                size_bytes: None
            }),
            ["0.mp4", "1.mp4", "2.mp4"]
        );
        let size_bytes = Some(75);
        assert_eq!(
            goes(Retention {
                age: None,
                size_bytes
            }),
            ["0.mp4", "1.mp4", "2.mp4"]
        );
        assert_eq!(
            goes(Retention {
                age: hours(9),
                size_bytes
            }),
            ["0.mp4", "1.mp4", "2.mp4"]
        );
        assert_eq!(
            goes(Retention {
                age,
                size_bytes: Some(95)
            })
            .len(),
            3
        );
        let size_bytes = Some(100);
        assert!(
            goes(Retention {
                age: None,
                size_bytes
            })
            .is_empty()
        );
    }

    #[test]
    fn what_is_being_written_stays_whatever_it_takes() {
        let size_bytes = Some(0);
        let gone = goes(Retention {
            age: None,
            size_bytes,
        });
        assert_eq!(gone.len(), 9);
        assert!(!gone.contains(&"9.mp4".to_string()));
    }
}
