//! The engine of `demo --fleet`: a Valkey or Redis of its own, on a Unix socket in a directory of its own, where one is
//! installed. Both end with the demo.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::cli::outcome::Exit;
use crate::clock;

/// The programs that can be the engine, the preferred one first.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running engine. Dropping it ends it, and removes its directory.
pub(super) struct DemoEngine {
    process: Child,
    directory: PathBuf,
    name: &'static str,
}

impl DemoEngine {
    /// `None` where no engine is installed.
    pub(super) async fn start() -> Result<Option<Self>, Exit> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut found = PROGRAMS.into_iter().filter_map(|name| Some((name, find(name, &path)?)));
        let Some((name, program)) = found.next() else { return Ok(None) };
        let directory = env::temp_dir().join(format!("credira-gateway-demo-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let started = command(&program, &directory).spawn();
        let process = started.map_err(|error| {
            // Nothing else is in it.
            let _ = std::fs::remove_dir(&directory);
            Exit::failure(format!("{} cannot be started: {error}", program.display()))
        })?;
        let mut engine = Self { process, directory, name };
        engine.wait_until_ready().await?;
        Ok(Some(engine))
    }

    async fn wait_until_ready(&mut self) -> Result<(), Exit> {
        let deadline = clock::now() + PATIENCE;
        while UnixStream::connect(self.socket()).await.is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || clock::now() > deadline {
                let why = ended.map_or_else(|| "does not listen".into(), |status| format!("ended: {status}"));
                return Err(Exit::failure(format!("{} {why}", self.name)));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("engine.sock")
    }

    /// The program's name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }
}

impl Drop for DemoEngine {
    fn drop(&mut self) {
        // It keeps nothing, so there is nothing to save. Errors say that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The first program of this name in the directories of `PATH`.
fn find(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        let metadata = file.metadata();
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    // Relative ones depend on the current directory, which anyone may have filled.
    let directories = env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(name)).find(is_program)
}

/// It inherits nothing: neither the environment, which may hold secrets, nor the terminal's signals, so that it ends
/// after the gateways.
fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocketperm", "700"]);
    command.args(["--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru", "--unixsocket"]);
    command.arg(directory.join("engine.sock")).arg("--dir").arg(directory);
    command.env_clear().current_dir(directory).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_in_absolute_directories_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str();
        assert_eq!(find("valkey-server", path), None);
        let program = folder.path().join("valkey-server");
        std::fs::write(&program, "").unwrap();
        assert_eq!(find("valkey-server", path), None, "it can't be executed");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("valkey-server", path), Some(program));
        assert_eq!(find("sh", "bin:".as_ref()), None);
    }
}
