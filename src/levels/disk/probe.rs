//! A look at the level's directory, for `check --probe`. Opens no tenant's file, since a running gateway may hold it, and
//! creates no directory, which would belong to the user of the check.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::directory::LevelDirectory;
use super::failure::FileFailure;

/// The state of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryState {
    /// It is there, and was written to.
    Writable { room: u64 },
    /// It is missing, and can be created.
    Creatable { room: u64 },
}

/// Looks at the directory, and writes to it if it is there. Blocks. `room` is how many bytes its files may take: those
/// that they take already, and those that are free.
pub(crate) fn probe_directory(path: &Path) -> Result<DirectoryState, FileFailure> {
    let directory = LevelDirectory::new(path);
    match directory.check() {
        Ok(()) => {}
        Err(FileFailure::NoDirectory) => return creatable(path),
        Err(failure) => return Err(failure),
    }
    let file = path.join(format!("probe-{:016x}", fastrand::u64(..)));
    let written = write(&file);
    let removed = fs::remove_file(&file);
    written.and(removed)?;
    let files = fs::read_dir(path)?.flatten().filter_map(|entry| entry.metadata().ok());
    let taken = files.map(|metadata| metadata.len()).sum::<u64>();
    Ok(DirectoryState::Writable { room: taken.saturating_add(free(path)?) })
}

fn creatable(path: &Path) -> Result<DirectoryState, FileFailure> {
    let parent = path.parent().filter(|parent| parent.is_dir()).ok_or(FileFailure::NoDirectory)?;
    access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)?;
    Ok(DirectoryState::Creatable { room: free(parent)? })
}

/// Writes a page, so that a full disk is noticed.
fn write(file: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

fn free(path: &Path) -> io::Result<u64> {
    let space = statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_written_to_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("level");
        assert!(matches!(probe_directory(&path), Ok(DirectoryState::Creatable { room: 1.. })));
        assert!(!path.exists());
        LevelDirectory::new(&path).prepare().unwrap();
        assert!(matches!(probe_directory(&path), Ok(DirectoryState::Writable { room: 1.. })));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_the_gateway_would_not_use_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/level");
        assert_eq!(probe_directory(&missing), Err(FileFailure::NoDirectory));
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(probe_directory(&open), Err(FileFailure::ForeignDirectory));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(probe_directory(&file), Err(FileFailure::ForeignDirectory));
    }
}
