//! Why a level's file can't be used. Only kinds: SQLite's own messages may contain data.

use std::fmt;
use std::io;

#[cfg(feature = "disk")]
use rusqlite::ErrorCode;

/// Why a file can't be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFailure {
    /// Held by another process: this one's predecessor, or another one with the same path.
    Held,
    /// The limit of open files is reached, and all are in use.
    TooMany,
    /// It is unreadable, and is recreated.
    Corrupt,
    /// It belongs to another account, format or size, and is recreated.
    Outdated,
    /// There is no space left, or a limit on file sizes is reached.
    Full,
    /// The directory is missing or can't be made.
    NoDirectory,
    /// The directory does not belong to the gateway alone.
    ForeignDirectory,
    /// It can't be written.
    ReadOnly,
    /// The disk failed.
    Disk,
}

impl FileFailure {
    /// For the log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Held => "another process holds the file; it is taken over once that process ends",
            Self::TooMany => "as many files as may be are open",
            Self::Corrupt => "the file is broken and begun anew",
            Self::Outdated => "the file is of another account, format or size and begun anew",
            Self::Full => "no space left on the device",
            Self::NoDirectory => "the directory does not exist and cannot be created",
            Self::ForeignDirectory => {
                "not a directory of this user's own with mode 0700: use a directory that the gateway creates itself"
            }
            Self::ReadOnly => "permission denied or read-only file system",
            Self::Disk => "input/output error",
        }
    }
}

impl fmt::Display for FileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl From<io::Error> for FileFailure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoDirectory,
            _ => Self::Disk,
        }
    }
}

#[cfg(feature = "disk")]
impl From<rusqlite::Error> for FileFailure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Self::ReadOnly,
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Disk,
            // What else can go wrong with these few statements is that the file is not what they expect.
            Some(_) | None => Self::Corrupt,
        }
    }
}
