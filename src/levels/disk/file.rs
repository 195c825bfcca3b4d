//! One tenant's file: SQLite, bounded exactly, oldest entries evicted first. Holds sealed entries by sealed names and
//! has no keys.
//!
//! Everything here blocks, and runs on the file's own thread.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::bounds::{FileBounds, PAGE, pages_of};
use super::directory::{create, journal};
use super::failure::FileFailure;
use super::rows::{FileResult, FileSize, RemovedRows, RowWrite, StoredRow};
use crate::domain::Mark;
use crate::levels::seal::{SealKeyId, SealedName};

/// The format of the files; files of others are recreated.
const FORMAT: i64 = 2;
/// "CRGW": distinguishes our files from other SQLite files.
const APPLICATION: i64 = 0x4352_4757;

const SETUP: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA synchronous = NORMAL;
    PRAGMA secure_delete = ON;
    PRAGMA cache_size = -256;
    PRAGMA cache_spill = OFF;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    BEGIN EXCLUSIVE;
    COMMIT;
";

const SCHEMA: &str = "
    BEGIN EXCLUSIVE;
    CREATE TABLE entries (
        n INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, key BLOB NOT NULL, spent INTEGER NOT NULL, sealed BLOB NOT NULL
    );
    CREATE INDEX by_spent ON entries (spent);
    CREATE TABLE keys (id BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE count (entries INTEGER NOT NULL);
    INSERT INTO count VALUES (0);
    CREATE TABLE position (place INTEGER PRIMARY KEY, mark BLOB NOT NULL);
    PRAGMA user_version = 2;
    PRAGMA application_id = 1129465687;
    COMMIT;
";

/// An open file, locked against other processes.
pub(super) struct DiskFile {
    connection: Connection,
    path: PathBuf,
    bounds: FileBounds,
}

impl DiskFile {
    /// Opens or creates a file, and erases entries sealed by keys outside of `ring`.
    pub(super) fn open(path: &Path, max_bytes: u64, ring: &[SealKeyId]) -> FileResult<Self> {
        create(path)?;
        let before = fs::symlink_metadata(path)?;
        if !before.is_file() {
            return Err(FileFailure::Corrupt);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.execute_batch(SETUP)?;
        // The previous holder of the lock may have erased the file meanwhile.
        let is_same = fs::symlink_metadata(path).is_ok_and(|now| now.ino() == before.ino());
        if !is_same {
            return Err(FileFailure::Held);
        }
        let mut file = Self { connection, path: path.to_owned(), bounds: FileBounds::of(max_bytes) };
        file.check_format()?;
        // A journal is emptied before it grows, not when a lookup waits for the file; unless the bound was lowered.
        if file.bounds.is_exceeded(file.journal_bytes()) {
            file.empty_journal()?;
        }
        if file.pragma("page_size")? != PAGE || file.pragma("page_count")? > file.bounds.pages {
            return Err(FileFailure::Outdated);
        }
        file.connection.pragma_update(
            None,
            "max_page_count",
            i64::try_from(file.bounds.pages).unwrap_or(i64::MAX),
        )?;
        file.keep_ring(ring)?;
        Ok(file)
    }

    fn check_format(&self) -> FileResult<()> {
        let number = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        match (number("application_id")?, number("user_version")?, self.pragma("page_count")?) {
            (APPLICATION, FORMAT, _) => Ok(()),
            (0, 0, 0 | 1) => Ok(self.connection.execute_batch(SCHEMA)?),
            _ => Err(FileFailure::Outdated),
        }
    }

    /// Keeps only entries of the ring's keys. A file without any belongs to another account.
    fn keep_ring(&mut self, ring: &[SealKeyId]) -> FileResult<()> {
        let known: Vec<SealKeyId> = {
            let mut statement = self.connection.prepare("SELECT id FROM keys")?;
            let ids = statement.query_map([], |row| row.get(0).map(SealKeyId))?;
            ids.collect::<Result<_, _>>()?
        };
        if !known.is_empty() && !known.iter().any(|id| ring.contains(id)) {
            return Err(FileFailure::Outdated);
        }
        for id in ring.iter().filter(|id| !known.contains(id)) {
            self.connection.execute("INSERT INTO keys VALUES (?1)", [&id.0])?;
        }
        for id in known.iter().filter(|id| !ring.contains(id)) {
            while self
                .remove_some("SELECT n, length(sealed) FROM entries WHERE key = ?1 LIMIT 256", [&id.0])?
                > 0
            {}
            self.connection.execute("DELETE FROM keys WHERE id = ?1", [&id.0])?;
            self.make_last()?;
        }
        Ok(())
    }

    /// Up to where in the fleet's log of purges it was cleaned, if it ever was.
    pub(super) fn position(&self) -> FileResult<Option<Mark>> {
        let mut statement = self.connection.prepare("SELECT mark FROM position")?;
        let mark: Option<[u8; Mark::LEN]> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(mark.map(Mark::from_bytes))
    }

    pub(super) fn set_position(&self, position: Mark) -> FileResult<()> {
        let write = "INSERT OR REPLACE INTO position VALUES (0, ?1)";
        self.connection.prepare_cached(write)?.execute([position.to_bytes()])?;
        Ok(())
    }

    /// The entry of a call, under any of its names.
    pub(super) fn get(&self, names: &[SealedName]) -> FileResult<Option<StoredRow>> {
        // An entry beyond the limits was not written by this program: it is not even read.
        let largest = i64::try_from(self.bounds.largest_entry()).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(
            "SELECT key, spent, sealed FROM entries WHERE name = ?1 AND length(sealed) <= ?2",
        )?;
        for name in names {
            let row = statement.query_row(params![name.0, largest], |row| {
                Ok(StoredRow { key: SealKeyId(row.get(0)?), spent: row.get(1)?, sealed: row.get(2)? })
            });
            if let Some(row) = row.optional()? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether an entry of this size is stored at all.
    pub(super) const fn takes(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bounds.largest_entry()
    }

    /// How many of these entries, from the first on, fit one transaction: at least one.
    pub(super) fn batch(&self, sizes: impl Iterator<Item = usize>) -> usize {
        self.bounds.batch(sizes)
    }

    /// Writes entries in one transaction, at most as many as [`Self::batch`] says.
    pub(super) fn put(&mut self, puts: &[RowWrite]) -> FileResult<RemovedRows> {
        let pages = puts.iter().map(|put| pages_of(put.sealed.bytes.len())).sum();
        let mut left = RemovedRows { evicted: self.make_room(pages)?, replaced: 0 };
        match self.insert(puts) {
            Ok(replaced) => left.replaced = replaced,
            // The estimate was too low.
            Err(FileFailure::Full) => {
                left.evicted += self.make_room(pages * 4)?;
                left.replaced = self.insert(puts)?;
            }
            Err(failure) => return Err(failure),
        }
        Ok(left)
    }

    fn insert(&mut self, puts: &[RowWrite]) -> FileResult<u64> {
        self.empty_journal_if_full()?;
        let transaction = self.connection.transaction()?;
        let mut replaced = 0;
        {
            let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE name = ?1")?;
            let mut insert = transaction
                .prepare_cached("INSERT INTO entries (name, key, spent, sealed) VALUES (?1, ?2, ?3, ?4)")?;
            for RowWrite { sealed, others, spent } in puts {
                for name in others.iter().filter(|name| **name != sealed.name).chain([&sealed.name]) {
                    replaced += delete.execute([&name.0])?;
                }
                insert.execute(params![sealed.name.0, sealed.key.0, spent, sealed.bytes])?;
            }
            let more = i64::try_from(puts.len()).unwrap_or(0) - i64::try_from(replaced).unwrap_or(0);
            transaction.prepare_cached("UPDATE count SET entries = entries + ?1")?.execute([more])?;
        }
        transaction.commit()?;
        Ok(replaced as u64)
    }

    /// Removes the oldest entries until this many pages are free. Returns the number of removed entries.
    fn make_room(&mut self, pages: u64) -> FileResult<u64> {
        let mut evicted = 0;
        while self.free_pages()? < pages {
            let removed =
                self.remove_some("SELECT n, length(sealed) FROM entries ORDER BY n LIMIT 64", [])?;
            if removed == 0 {
                return Err(FileFailure::Full);
            }
            evicted += removed;
        }
        Ok(evicted)
    }

    fn free_pages(&self) -> FileResult<u64> {
        let unused = self.bounds.pages.saturating_sub(self.pragma("page_count")?);
        Ok(unused + self.pragma("freelist_count")?)
    }

    /// Removes the first entries selected by a query, by number and length, in one transaction: as many as fit the
    /// journal. Returns their number.
    fn remove_some<P: rusqlite::Params>(&mut self, query: &str, params: P) -> FileResult<u64> {
        self.empty_journal_if_full()?;
        let transaction = self.connection.transaction()?;
        let removed = {
            let mut statement = transaction.prepare_cached(query)?;
            let rows =
                statement.query_map(params, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
            let count = self.bounds.batch(rows.iter().map(|(_, len)| usize::try_from(*len).unwrap_or(0)));
            let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE n = ?1")?;
            let removed =
                rows.iter().take(count).map(|(n, _)| delete.execute([n])).sum::<Result<usize, _>>()?;
            let fewer = i64::try_from(removed).unwrap_or(0);
            transaction.prepare_cached("UPDATE count SET entries = entries - ?1")?.execute([fewer])?;
            removed as u64
        };
        transaction.commit()?;
        Ok(removed)
    }

    /// Removes a call's entries. They remain in the journal until [`Self::make_last`].
    pub(super) fn remove(&mut self, names: &[SealedName]) -> FileResult<u64> {
        let mut removed = 0;
        for name in names {
            removed +=
                self.remove_some("SELECT n, length(sealed) FROM entries WHERE name = ?1", [&name.0])?;
        }
        Ok(removed)
    }

    /// Erases some of the entries without any use; returns their number, 0 once there are none.
    pub(super) fn remove_spent(&mut self, now: i64) -> FileResult<u64> {
        self.remove_some("SELECT n, length(sealed) FROM entries WHERE spent <= ?1 LIMIT 256", [now])
    }

    /// Makes removals permanent: nothing of the removed entries is left in the file or the journal, and no power
    /// failure brings them back.
    pub(super) fn make_last(&mut self) -> FileResult<()> {
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        // Syncing a commit makes all earlier ones durable, too.
        let synced = self.connection.execute("UPDATE count SET entries = entries", []);
        let emptied = self.empty_journal();
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        synced?;
        emptied
    }

    fn empty_journal_if_full(&self) -> FileResult<()> {
        if self.bounds.is_full(self.journal_bytes()) { self.empty_journal() } else { Ok(()) }
    }

    fn journal_bytes(&self) -> u64 {
        fs::metadata(journal(&self.path)).map_or(0, |metadata| metadata.len())
    }

    fn empty_journal(&self) -> FileResult<()> {
        let busy: i64 = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        // No other connection exists, so nothing can keep the journal in use.
        if busy == 0 { Ok(()) } else { Err(FileFailure::Disk) }
    }

    pub(super) fn size(&self) -> FileResult<FileSize> {
        let entries: i64 = self.connection.query_row("SELECT entries FROM count", [], |row| row.get(0))?;
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let bytes = length(&self.path) + length(&journal(&self.path));
        Ok(FileSize { entries: u64::try_from(entries).unwrap_or(0), bytes })
    }

    /// Whether the disk responds: reads something that is never cached in memory.
    pub(super) fn probe(&self) -> FileResult<()> {
        self.size().map(drop)
    }

    fn pragma(&self, name: &str) -> FileResult<u64> {
        let value: i64 = self.connection.pragma_query_value(None, name, |row| row.get(0))?;
        Ok(u64::try_from(value).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
