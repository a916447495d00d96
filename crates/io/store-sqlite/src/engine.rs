use crate::error::{commit_error, is_failed_sync, store_error};
use crate::pending::{Change, Pending};
use crate::recent::Recent;
use crate::{OpenError, Options};
use ringpost_store::{Batch, CommitError, Key, StoreError, Version, Versioned};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::mem;
use std::path::Path;
use std::sync::Arc;

/// The writing side: puts groups of batches into transactions. Knows no threads.
pub(crate) struct Engine {
    conn: Connection,
    /// The last version given out.
    version: u64,
    /// What the open transaction will write.
    pending: Pending,
    recent: Arc<Recent>,
    /// Set when a sync has failed; from then on everything is refused.
    broken: Option<CommitError>,
}

/// What an applied batch got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) minted: Vec<u64>,
    pub(crate) version: Version,
}

/// Why a batch was not applied.
enum Stopped {
    /// By itself: a guard, a bound. It has written nothing.
    Refused(CommitError),
    /// By the medium: the transaction it is in must be taken back.
    Failed(rusqlite::Error),
}

/// The format of the tables and of what is in them. Format 1 had no table `large`; opening it brings it up to date.
const FORMAT: i64 = 2;
/// A longer value lies in the table `large`, and its row says where. A search walks past the rows of others and compares
/// their keys, and SQLite reads the whole of a row that is longer than a quarter of a page to do so: one account's long
/// values would slow every other down.
const LARGE_BYTES: usize = 768;
/// "Ring" in the database's header, so that `file` and people can tell what it is.
const APPLICATION_ID: i32 = 0x5269_6e67;
/// Pages of 4 KiB that the log may grow to before they are copied into the database: 32 MiB. Counters and the beginnings of
/// lists change with every message, and are copied once for all that the log holds.
const CHECKPOINT_PAGES: i32 = 8000;
/// The writer's page cache.
const CACHE_KIB: i32 = 8 * 1024;

const SCHEMA: &str = "
    CREATE TABLE kv (
        partition BLOB NOT NULL, key BLOB NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (partition, key)
    ) WITHOUT ROWID;
    CREATE TABLE body (partition BLOB NOT NULL, id BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (partition, id));
    CREATE TABLE last (version INTEGER NOT NULL);
    INSERT INTO last VALUES (0);
";

/// Where `kv.value` is an integer, it is the id of the value in here.
const LARGE_SCHEMA: &str = "
    CREATE TABLE large (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
    CREATE TRIGGER large_replaced AFTER UPDATE ON kv WHEN typeof(old.value) = 'integer'
        BEGIN DELETE FROM large WHERE id = old.value; END;
    CREATE TRIGGER large_deleted AFTER DELETE ON kv WHEN typeof(old.value) = 'integer'
        BEGIN DELETE FROM large WHERE id = old.value; END;
";

/// The value of a row of `kv`, wherever it lies.
macro_rules! value {
    () => {
        "CASE typeof(value) WHEN 'integer' THEN (SELECT large.value FROM large WHERE id = kv.value) ELSE value END"
    };
}
pub(crate) use value;

impl Engine {
    pub(crate) fn open(options: &Options) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite {
            path: options.path.clone(),
            error,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = connect(options, flags).map_err(failed)?;
        let mode: String = conn
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(failed)?;
        if mode != "wal" {
            return Err(OpenError::NoLog {
                path: options.path.clone(),
            });
        }
        conn.pragma_update(None, "synchronous", "full").map_err(failed)?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
            .map_err(failed)?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(failed)?;
        let found = prepare(&conn).map_err(failed)?;
        if found != FORMAT {
            return Err(OpenError::Format {
                path: options.path.clone(),
                found,
                known: FORMAT,
            });
        }
        let version: i64 = conn
            .query_row("SELECT version FROM last", [], |row| row.get(0))
            .map_err(failed)?;
        Ok(Engine {
            conn,
            version: version as u64,
            pending: Pending::default(),
            recent: Arc::default(),
            broken: None,
        })
    }

    /// What readers may take from it instead of asking the database.
    pub(crate) fn recent(&self) -> Arc<Recent> {
        self.recent.clone()
    }

    /// Applies the batches in one transaction, durably; each has its own outcome. If the medium fails, they are tried one by
    /// one, so that only those are refused for which there is no room.
    pub(crate) fn run(&mut self, group: &[Batch]) -> Vec<Result<Outcome, CommitError>> {
        if let Some(broken) = &self.broken {
            return vec![Err(broken.clone()); group.len()];
        }
        match self.transact(group) {
            Ok(outcomes) => outcomes,
            Err(error) if group.len() == 1 || self.broken.is_some() => vec![Err(error); group.len()],
            Err(_) => group
                .iter()
                .flat_map(|batch| self.run(std::slice::from_ref(batch)))
                .collect(),
        }
    }

    fn transact(&mut self, group: &[Batch]) -> Result<Vec<Result<Outcome, CommitError>>, CommitError> {
        let before = self.version;
        let done = self
            .begin()
            .and_then(|()| self.apply_all(group))
            .and_then(|outcomes| {
                match outcomes.iter().any(Result::is_ok) {
                    true => self.commit()?,
                    false => self.conn.execute_batch("ROLLBACK")?,
                }
                Ok(outcomes)
            });
        done.map_err(|error| {
            self.version = before;
            self.take_back(error)
        })
    }

    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        self.pending = Pending::default();
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    pub(crate) fn apply_all(
        &mut self,
        group: &[Batch],
    ) -> rusqlite::Result<Vec<Result<Outcome, CommitError>>> {
        let apply = |batch| match self.apply(batch) {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(Stopped::Refused(why)) => Ok(Err(why)),
            Err(Stopped::Failed(error)) => Err(error),
        };
        group.iter().map(apply).collect()
    }

    /// Makes the open transaction durable.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        let pending = mem::take(&mut self.pending);
        self.write(&pending)?;
        self.conn
            .prepare_cached("UPDATE last SET version = ?1")?
            .execute([self.version as i64])?;
        let hidden = self.recent.hide(&pending);
        let done = self.conn.prepare_cached("COMMIT")?.execute([]);
        self.recent.show(done.is_ok().then_some(&pending), hidden);
        done.map(drop)
    }

    fn take_back(&mut self, error: rusqlite::Error) -> CommitError {
        let failed_sync = is_failed_sync(&error);
        let error = commit_error(error);
        if failed_sync {
            self.broken = Some(error.clone());
        }
        if !self.conn.is_autocommit()
            && let Err(e) = self.conn.execute_batch("ROLLBACK")
        {
            // Without a way back nothing more can be promised.
            self.broken = Some(commit_error(e));
        }
        error
    }

    fn apply(&mut self, batch: &Batch) -> Result<Outcome, Stopped> {
        let partition = batch.partition.to_bytes();
        let mut failed = None;
        let resolved = batch.resolve(|key| {
            let found = self.look_up(&partition, key);
            found.map_err(|error| {
                let told = StoreError::Io(error.to_string());
                failed = Some(error);
                told
            })
        });
        if let Some(error) = failed {
            return Err(Stopped::Failed(error));
        }
        let resolved = resolved.map_err(Stopped::Refused)?;
        let version = self.version + 1;
        self.pending.add(&partition, version, resolved.writes, batch);
        self.version = version;
        Ok(Outcome {
            minted: resolved.minted,
            version: Version(version),
        })
    }

    /// One record as the batches before have left it.
    fn look_up(&self, partition: &[u8], key: &Key) -> rusqlite::Result<Option<Versioned>> {
        if let Some(changed) = self.pending.get(partition, key) {
            return Ok(changed);
        }
        if let Some(known) = self.recent.get(partition, key) {
            return Ok(known);
        }
        let found = get(&self.conn, partition, key)?;
        if let Some(record) = &found {
            self.recent.keep(partition, key, record);
        }
        Ok(found)
    }

    fn write(&self, pending: &Pending) -> rusqlite::Result<()> {
        let mut put = self.conn.prepare_cached(
            "INSERT INTO kv VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value",
        )?;
        let mut delete = self
            .conn
            .prepare_cached("DELETE FROM kv WHERE partition = ?1 AND key = ?2")?;
        for (partition, changes) in &pending.records {
            for (key, Change { version, value }) in changes {
                let (key, version) = (key.as_bytes(), *version as i64);
                match value {
                    Some(value) if value.len() > LARGE_BYTES => {
                        self.conn
                            .prepare_cached("INSERT INTO large (value) VALUES (?1)")?
                            .execute([&value[..]])?;
                        put.execute(params![partition, key, version, self.conn.last_insert_rowid()])?
                    }
                    Some(value) => put.execute(params![partition, key, version, &value[..]])?,
                    None => delete.execute(params![partition, key])?,
                };
            }
        }
        let mut put = self
            .conn
            .prepare_cached("INSERT OR REPLACE INTO body VALUES (?1, ?2, ?3)")?;
        let mut delete = self
            .conn
            .prepare_cached("DELETE FROM body WHERE partition = ?1 AND id = ?2")?;
        for (partition, bodies) in &pending.bodies {
            for (id, body) in bodies {
                match body {
                    Some(body) => put.execute(params![partition, id.0, &body[..]])?,
                    None => delete.execute(params![partition, id.0])?,
                };
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.conn
    }
}

/// A connection to the database, through the VFS that is asked for.
pub(crate) fn connect(options: &Options, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection stays on one thread, so SQLite needs no lock around it.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path: &Path = &options.path;
    let conn = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        None => Connection::open_with_flags(path, flags)?,
    };
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// Makes the tables of a new database, or those that one of an earlier format has not; says which format it has then.
fn prepare(conn: &Connection) -> rusqlite::Result<i64> {
    let format = |conn: &Connection| conn.pragma_query_value(None, "user_version", |row| row.get(0));
    let changes = match format(conn)? {
        0 => format!("{SCHEMA} {LARGE_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"),
        1 => format!("{LARGE_SCHEMA} {}", move_large_values()),
        found => return Ok(found),
    };
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE; {changes} PRAGMA user_version = {FORMAT}; COMMIT;"
    ))?;
    format(conn)
}

/// Long values of format 1 go to where they belong.
fn move_large_values() -> String {
    format!(
        "CREATE TEMP TABLE moving (id INTEGER PRIMARY KEY, partition BLOB, key BLOB, UNIQUE (partition, key));
         INSERT INTO moving (partition, key) SELECT partition, key FROM kv WHERE length(value) > {LARGE_BYTES};
         INSERT INTO large SELECT id, value FROM moving JOIN kv USING (partition, key);
         UPDATE kv SET value = (SELECT id FROM moving WHERE partition = kv.partition AND key = kv.key)
             WHERE length(value) > {LARGE_BYTES};
         DROP TABLE moving;"
    )
}

/// One record.
pub(crate) fn get(conn: &Connection, partition: &[u8], key: &Key) -> rusqlite::Result<Option<Versioned>> {
    const GET: &str = concat!(
        "SELECT version, ",
        value!(),
        " FROM kv WHERE partition = ?1 AND key = ?2"
    );
    conn.prepare_cached(GET)?
        .query_row(params![partition, key.as_bytes()], |row| {
            let version: i64 = row.get(0)?;
            let value: Vec<u8> = row.get(1)?;
            Ok(Versioned {
                version: Version(version as u64),
                value: value.into(),
            })
        })
        .optional()
}

/// The same, with the store's error.
pub(crate) fn read_one(
    conn: &Connection,
    partition: &[u8],
    key: &Key,
) -> Result<Option<Versioned>, StoreError> {
    get(conn, partition, key).map_err(store_error)
}
