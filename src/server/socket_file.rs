//! The file of a Unix socket: made for owner and group alone, and removed only by whom it belongs to.

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

/// Who may connect: connecting takes the right to write. A socket answers whoever reaches it, on the
/// admin plane even without a token, so the umask, whatever it is, doesn't decide this.
const MODE: u32 = 0o660;

/// Clients that may wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 1024;

/// How long to wait for another process that is opening a socket in the same folder: it takes
/// milliseconds.
const TURN_LIMIT: Duration = Duration::from_secs(1);
const TURN_PAUSE: Duration = Duration::from_millis(10);

/// A socket file that this process made. Goes with it, if it is still the same: systemd's and those
/// of others stay.
#[derive(Debug)]
pub struct SocketFile {
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
    /// Listens at `path`. What a process that was killed has left there is replaced.
    pub async fn listen(path: &Path) -> io::Result<(UnixListener, Self)> {
        // Without it, two processes could both see what a third has left, and the slower would remove
        // the faster one's new socket.
        let _turn = take_turn(path).await;
        remove_left_over(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        let file = Self { path: path.into(), identity: identity(path)? };
        // Nobody can connect before `listen`, so nobody ever could who may not.
        std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
        listen(&socket, BACKLOG)?;
        Ok((UnixListener::from(socket), file))
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Locks the socket's folder while the result lives. A folder that can't be locked, as one that may not
/// be read, is done without: the lock guards only against a rare race.
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

/// Removes a socket file that nobody serves any more; never one that somebody serves, and never a file
/// that is no socket.
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
        // A full queue is somebody's, too.
        Ok(()) | Err(Errno::AGAIN) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody serves this socket"))
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
    async fn a_left_over_socket_file_is_replaced_and_one_that_is_served_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it");
        let first = SocketFile::listen(&path).await.unwrap();
        let second = SocketFile::listen(&path).await.unwrap_err();
        assert!(second.to_string().contains("somebody serves"), "{second}");
        drop(first);
        assert!(!path.exists(), "a listener that ends in good order takes its file along");
    }

    #[tokio::test]
    async fn a_socket_whose_queue_is_full_is_served_by_somebody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let refused = SocketFile::listen(&path).await.unwrap_err();
        assert!(refused.to_string().contains("somebody serves"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        assert!(SocketFile::listen(&path).await.unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_file_that_another_has_put_there_since_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = SocketFile::listen(&path).await.unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        let _second = SocketFile::listen(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn owner_and_group_may_connect_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listening = SocketFile::listen(&path).await.unwrap();
        assert_eq!(mode(&path), MODE);
    }

    #[tokio::test]
    async fn of_many_who_find_what_was_left_one_gets_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let opened: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(SocketFile::listen(&path))
                })
            })
            .collect();
        let opened: Vec<_> = opened.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect();
        assert_eq!(opened.len(), 1);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }
}
