//! The memory limit of this process, read from the kernel's control groups.

use std::fs;
use std::path::Path;

/// The lowest limit of the process's control group and its ancestors, in bytes; `None` without a limit or without
/// control groups.
pub(crate) fn cgroup_limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

/// As [`cgroup_limit`], with `/proc` and `/sys` below `root`.
fn limit_below(root: &Path) -> Option<u64> {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = memberships.lines().filter_map(|line| {
        // Version 2 is the line "0::PATH"; version 1 has "N:CONTROLLERS:PATH".
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        if controllers.is_empty() {
            lowest(&root.join("sys/fs/cgroup"), group, "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            lowest(&root.join("sys/fs/cgroup/memory"), group, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.min()
}

/// The lowest figure in `file` from the group up to its mount. A container sees its own group as the mount, and
/// the group's path doesn't exist there.
fn lowest(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = mount.join(group.trim_start_matches('/'));
    let inside = group.ancestors().take_while(|folder| folder.starts_with(mount));
    let figures = inside.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok());
    // Version 1 expresses "no limit" by a number near the largest.
    figures.filter(|limit: &u64| *limit < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_lowest_limit_of_the_ancestors_holds_in_version_2() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/memory.max", "268435456\n"),
        ]);
        assert_eq!(limit_below(root.path()), Some(268_435_456));
    }

    #[test]
    fn a_container_sees_its_group_as_the_mount() {
        let root = tree(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1000000\n")]);
        assert_eq!(limit_below(root.path()), Some(1_000_000));
    }

    #[test]
    fn a_huge_limit_of_version_1_is_none() {
        let limit = "sys/fs/cgroup/memory/app/memory.limit_in_bytes";
        let group = ("proc/self/cgroup", "5:cpu:/app\n4:memory:/app\n");
        assert_eq!(limit_below(tree(&[group, (limit, "9223372036854771712\n")]).path()), None);
        assert_eq!(limit_below(tree(&[group, (limit, "5000000\n")]).path()), Some(5_000_000));
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(limit_below(tree(&[]).path()), None);
    }
}
