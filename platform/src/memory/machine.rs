//! The memory available to a node: by its cgroups (Linux, Documentation/admin-guide/cgroup-v2.rst,
//! `memory.max` and `memory.high`; in version 1 `memory.limit_in_bytes`), else of the machine
//! (`/proc/meminfo`).

use std::fs;
use std::path::{Path, PathBuf};

/// The assumed memory if the system reports nothing.
const UNKNOWN_BYTES: u64 = 512 * 1024 * 1024;

/// The default budget: 60 percent of the memory of the cgroup or machine. The rest is for the database's
/// cache, connections, and the system.
pub fn default_budget_bytes() -> u64 {
    available_bytes(Path::new("/")).unwrap_or(UNKNOWN_BYTES) / 10 * 6
}

/// The minimum of the machine's memory and the limits of this process's cgroups, read from the files below
/// `root`.
fn available_bytes(root: &Path) -> Option<u64> {
    let machine = machine_bytes(root);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| cgroup_bytes(root, line)).chain(machine).min()
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The minimum limit of a cgroup and its ancestors; `line` is one of `/proc/self/cgroup` (cgroups(7)):
/// `ID:CONTROLLERS:PATH`.
fn cgroup_bytes(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, files): (_, &[&str]) = match controllers {
        "" => (root.join("sys/fs/cgroup"), &["memory.max", "memory.high"]),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("sys/fs/cgroup/memory"), &["memory.limit_in_bytes"])
        }
        _ => return None,
    };
    let relative = Path::new(path.trim_start_matches('/'));
    // In a container the path can be that of the host and not exist: then the mount itself is the group.
    let groups: Vec<PathBuf> = relative.ancestors().map(|group| mount.join(group)).collect();
    let limits = groups.iter().flat_map(|group| files.iter().map(|file| group.join(file)));
    // `max` means no limit.
    limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree:         10 kB\n");

    #[test]
    fn machine_memory_applies_without_cgroup_limit() {
        let root = machine(&[MACHINE]);
        assert_eq!(available_bytes(root.path()), Some(1_024_000));
        let root = machine(&[
            MACHINE,
            ("proc/self/cgroup", "0::/system.slice/picloud.service\n"),
            ("sys/fs/cgroup/system.slice/picloud.service/memory.max", "max\n"),
        ]);
        assert_eq!(available_bytes(root.path()), Some(1_024_000));
        assert_eq!(available_bytes(Path::new("/nowhere")), None);
    }

    #[test]
    fn minimum_of_cgroup_ancestors_applies() {
        let root = machine(&[
            MACHINE,
            ("proc/self/cgroup", "0::/system.slice/picloud.service\n"),
            ("sys/fs/cgroup/system.slice/picloud.service/memory.max", "500000\n"),
            ("sys/fs/cgroup/system.slice/memory.high", "400000\n"),
        ]);
        assert_eq!(available_bytes(root.path()), Some(400_000));
    }

    #[test]
    fn container_with_only_its_own_group_is_limited() {
        let root = machine(&[
            MACHINE,
            ("proc/self/cgroup", "0::/docker/0123\n"),
            ("sys/fs/cgroup/memory.max", "300000\n"),
        ]);
        assert_eq!(available_bytes(root.path()), Some(300_000));
    }

    #[test]
    fn cgroup_v1_limit_applies() {
        let root = machine(&[
            MACHINE,
            ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/memory.limit_in_bytes", "1\n"),
        ]);
        assert_eq!(available_bytes(root.path()), Some(200_000));
    }
}
