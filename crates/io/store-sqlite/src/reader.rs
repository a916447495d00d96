use crate::engine::{connect, read_one, value};
use crate::error::store_error;
use crate::{OpenError, Options};
use bytes::Bytes;
use ringpost_store::{
    BlobId, Entry, Found, FoundBytes, Key, Partition, Query, Scan, StoreError, Version, clamp,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::ops::Range;

/// A reading connection. Each question is answered from one snapshot.
pub(crate) struct Reader {
    conn: Connection,
}

/// A reader's page cache.
const CACHE_KIB: i32 = 4 * 1024;

impl Reader {
    /// The database must have been opened by an [`Engine`](crate::engine::Engine) before.
    pub(crate) fn open(options: &Options) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite {
            path: options.path.clone(),
            error,
        };
        let conn = connect(options, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
        conn.pragma_update(None, "query_only", true).map_err(failed)?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(failed)?;
        Ok(Reader { conn })
    }

    pub(crate) fn read(&self, partition: &[u8], queries: &[Query]) -> Result<Vec<Found>, StoreError> {
        let mut bytes = FoundBytes::default();
        let answer = |query: &Query| match query {
            Query::Get(key) => Ok(Found::Value(read_one(&self.conn, partition, key)?)),
            Query::Scan(scan) => {
                let entries = self.scan(partition, scan, &mut bytes);
                Ok(Found::Entries(entries.map_err(store_error)?))
            }
        };
        let answers = || queries.iter().map(answer).collect();
        match queries.len() {
            0 | 1 => answers(),
            _ => self.at_one_moment(answers),
        }
    }

    /// Answers several questions from one snapshot: also faster than each by itself, which would lock the database anew.
    fn at_one_moment<T>(&self, answer: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let run = |sql| self.conn.prepare_cached(sql)?.execute([]);
        run("BEGIN").map_err(store_error)?;
        let answer = answer();
        let ended = run("COMMIT");
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK").map_err(store_error)?;
        }
        let answer = answer?;
        ended.map_err(store_error)?;
        Ok(answer)
    }

    fn scan(&self, partition: &[u8], scan: &Scan, found: &mut FoundBytes) -> rusqlite::Result<Vec<Entry>> {
        // One statement for each form: a condition on an absent end would be looked through to the partition's end.
        macro_rules! select {
            ($rest:literal) => {
                concat!(
                    "SELECT key, version, ",
                    value!(),
                    " FROM kv WHERE partition = ?1 AND key >= ?2 ",
                    $rest
                )
            };
        }
        let sql = match (&scan.end, scan.reverse) {
            (None, false) => select!("ORDER BY key LIMIT ?3"),
            (None, true) => select!("ORDER BY key DESC LIMIT ?3"),
            (Some(_), false) => select!("AND key < ?4 ORDER BY key LIMIT ?3"),
            (Some(_), true) => select!("AND key < ?4 ORDER BY key DESC LIMIT ?3"),
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let (start, limit) = (scan.start.as_bytes(), sql_limit(scan.limit));
        let mut rows = match &scan.end {
            None => statement.query(params![partition, start, limit])?,
            Some(end) => statement.query(params![partition, start, limit, end.as_bytes()])?,
        };
        let mut entries = Vec::new();
        while found.leaves_room(scan)
            && let Some(row) = rows.next()?
        {
            let version: i64 = row.get(1)?;
            let entry = Entry {
                key: Key(row.get(0)?),
                version: Version(version as u64),
                value: Bytes::from(row.get::<_, Vec<u8>>(2)?),
            };
            found.count(scan, &entry);
            entries.push(entry);
        }
        Ok(entries)
    }

    pub(crate) fn blob(
        &self,
        partition: &[u8],
        id: BlobId,
        range: &Range<u64>,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(body) = self.body(partition, id).map_err(store_error)? else {
            return Ok(None);
        };
        let range = clamp(range, body.len() as u64);
        Ok(Some(body.slice(range.start as usize..range.end as usize)))
    }

    /// Several bodies, whole.
    pub(crate) fn blob_many(
        &self,
        partition: &[u8],
        ids: &[BlobId],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let body = |id: &BlobId| self.body(partition, *id);
        self.at_one_moment(|| {
            ids.iter()
                .map(body)
                .collect::<rusqlite::Result<_>>()
                .map_err(store_error)
        })
    }

    fn body(&self, partition: &[u8], id: BlobId) -> rusqlite::Result<Option<Bytes>> {
        self.conn
            .prepare_cached("SELECT bytes FROM body WHERE partition = ?1 AND id = ?2")?
            .query_row(params![partition, id.0], |row| row.get::<_, Vec<u8>>(0))
            .optional()
            .map(|body| body.map(Bytes::from))
    }

    pub(crate) fn blobs(
        &self,
        partition: &[u8],
        after: Option<BlobId>,
        limit: usize,
    ) -> Result<Vec<BlobId>, StoreError> {
        let ids = || -> rusqlite::Result<Vec<BlobId>> {
            let mut statement = self.conn.prepare_cached(
                "SELECT id FROM body WHERE partition = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?;
            let after: &[u8] = after.as_ref().map_or(&[], |id| &id.0);
            let ids = statement.query_map(params![partition, after, sql_limit(limit)], |row| {
                Ok(BlobId(row.get(0)?))
            })?;
            ids.collect()
        };
        ids().map_err(store_error)
    }

    pub(crate) fn partitions(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Partition>, StoreError> {
        let mut found = Vec::new();
        let mut last = after.unwrap_or_default();
        let snapshot = self.conn.unchecked_transaction().map_err(store_error)?;
        // From each partition to the next one: DISTINCT would look at every record.
        let mut next = self
            .conn
            .prepare_cached("SELECT partition FROM kv WHERE partition > ?1 ORDER BY partition LIMIT 1")
            .map_err(store_error)?;
        while found.len() < limit {
            let row: Option<Vec<u8>> = next
                .query_row(params![last], |row| row.get(0))
                .optional()
                .map_err(store_error)?;
            let Some(bytes) = row else { break };
            let partition = Partition::from_bytes(&bytes);
            found.push(
                partition
                    .ok_or_else(|| StoreError::Damaged(format!("partition {}", bytes.escape_ascii())))?,
            );
            last = bytes;
        }
        drop(next);
        snapshot.finish().map_err(store_error)?;
        Ok(found)
    }
}

/// SQLite's way to say "all".
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(-1)
}
