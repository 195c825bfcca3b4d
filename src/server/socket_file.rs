//! The file of a Unix socket: created with the configured permissions, and removed only by its owner.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// The length of the kernel's queue of clients; its own limit may be lower.
const BACKLOG: i32 = 1024;

/// How long to wait for another process that is opening a socket in the same folder: it takes milliseconds.
const TURN_LIMIT: Duration = Duration::from_secs(1);
const TURN_PAUSE: Duration = Duration::from_millis(10);

/// A socket file created by this process. Removed with it if it is still the same file: those of systemd and other
/// processes stay.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl SocketFile {
    /// Listens at `path` with these permissions, whatever the umask; connecting requires write permission. A file
    /// left behind by a killed process is replaced.
    pub(super) async fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        // Without the lock, two processes could both find the file of a third, and the slower would remove the faster
        // one's new socket.
        let _turn = take_turn(path).await;
        remove_left_over(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        let file = Self { path: path.into(), identity: identity(path)? };
        // Connecting fails before `listen`, so the permissions apply to every client.
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        listen(&socket, BACKLOG)?;
        Ok((UnixListener::from(socket), file))
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Locks the socket's folder while the result lives. If a folder can't be locked, for example because it isn't
/// readable, the lock is skipped: it only guards against a rare race.
async fn take_turn(path: &Path) -> Option<File> {
    let folder = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder),
        None => File::open("."),
    };
    let folder = folder.ok()?;
    let waiting = async {
        while folder.try_lock().is_err() {
            tokio::time::sleep(TURN_PAUSE).await;
        }
    };
    tokio::time::timeout(TURN_LIMIT, waiting).await.ok()?;
    Some(folder)
}

/// Removes a socket file that no process serves any more; never one that is served, and never a file that isn't a
/// socket.
fn remove_left_over(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let message = "there is a file of this name that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let knock = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&knock, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        // A full queue has a listener, too.
        Ok(()) | Err(Errno::AGAIN) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket"))
        }
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn an_abandoned_socket_file_is_replaced_and_a_served_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it");
        let first = SocketFile::listen(&path, 0o660).await.unwrap();
        let second = SocketFile::listen(&path, 0o660).await.unwrap_err();
        assert!(second.to_string().contains("another process serves"), "{second}");
        drop(first);
        assert!(!path.exists(), "a listener that ends in good order takes its file along");
    }

    #[tokio::test]
    async fn a_socket_with_a_full_queue_counts_as_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let refused = SocketFile::listen(&path, 0o660).await.unwrap_err();
        assert!(refused.to_string().contains("another process serves"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_other_than_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        assert!(SocketFile::listen(&path, 0o660).await.unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_file_created_later_by_another_process_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = SocketFile::listen(&path, 0o660).await.unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        let _second = SocketFile::listen(&path, 0o660).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn the_permissions_are_those_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for bits in [0o600, 0o660, 0o777] {
            let path = folder.path().join(bits.to_string());
            let _listening = SocketFile::listen(&path, bits).await.unwrap();
            assert_eq!(mode(&path), bits);
        }
    }

    #[tokio::test]
    async fn of_many_processes_one_replaces_an_abandoned_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let opened: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(SocketFile::listen(&path, 0o660))
                })
            })
            .collect();
        let opened: Vec<_> = opened.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect();
        assert_eq!(opened.len(), 1);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }
}
