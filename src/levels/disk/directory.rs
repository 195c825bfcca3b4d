//! The directory of the disk level, which belongs to the gateway alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::FileFailure;
use crate::domain::TenantName;

/// The end of a file's name.
const SUFFIX: &str = ".calls";

#[derive(Debug, Clone)]
pub(crate) struct LevelDirectory(PathBuf);

impl LevelDirectory {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, tenant: &TenantName) -> PathBuf {
        self.0.join(format!("{}{SUFFIX}", tenant.as_str()))
    }

    /// Ensures that the directory exists and belongs to the gateway alone.
    pub(crate) fn prepare(&self) -> Result<(), FileFailure> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => sync(self.0.parent().unwrap_or(&self.0))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        self.check()
    }

    /// Ensures that no other user can have put anything into it.
    pub(crate) fn check(&self) -> Result<(), FileFailure> {
        // Links are not followed: one may lead into another user's directory.
        let metadata = fs::symlink_metadata(&self.0)?;
        let is_own = metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.permissions().mode() & 0o077 == 0;
        if is_own { Ok(()) } else { Err(FileFailure::ForeignDirectory) }
    }

    /// The tenants that have a file here.
    pub(crate) fn tenants(&self) -> Vec<TenantName> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let name = entry.file_name();
            TenantName::parse(name.to_str()?.strip_suffix(SUFFIX)?).ok()
        });
        named.collect()
    }

    /// Erases a tenant's file and everything that belongs to it, permanently.
    pub(crate) fn erase(&self, tenant: &TenantName) -> Result<(), FileFailure> {
        let file = self.file(tenant);
        let mut has_erased = false;
        for path in [file.clone(), journal(&file), with_end(&file, "-shm")] {
            has_erased |= erase(&path)?;
        }
        if has_erased { sync(&self.0) } else { Ok(()) }
    }
}

pub(super) fn journal(file: &Path) -> PathBuf {
    with_end(file, "-wal")
}

fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Erases the file, if there is one; returns whether there was.
fn erase(path: &Path) -> Result<bool, FileFailure> {
    let erased = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match erased {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes changes of a directory durable.
fn sync(directory: &Path) -> Result<(), FileFailure> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Creates a file readable by this user only, unless it exists.
pub(super) fn create(file: &Path) -> Result<(), FileFailure> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}
