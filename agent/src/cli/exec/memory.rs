//! Whether the kernel killed a command because the memory of our cgroup had run out: its own count of that, before and after.
//!
//! Of [version 2](https://docs.kernel.org/admin-guide/cgroup-v2.html) `memory.events`, which counts those of groups below too, and of
//! version 1 `memory.oom_control`.

use std::fs;
use std::path::PathBuf;

/// The count of our cgroup, as it was.
#[derive(Debug)]
pub(super) struct MemoryKills {
    file: Option<PathBuf>,
    before: u64,
}

impl MemoryKills {
    /// From now on.
    pub(super) fn now() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = files(&groups).into_iter().find(|file| count(file).is_some());
        let before = file.as_ref().and_then(count).unwrap_or_default();
        Self { file, before }
    }

    /// Whether there were any since, as far as the kernel tells.
    pub(super) fn any(&self) -> bool {
        self.file.as_ref().and_then(count).is_some_and(|now| now > self.before)
    }
}

/// Where the count may be, by what the kernel says of a process (`cgroups(7)`).
fn files(groups: &str) -> Vec<PathBuf> {
    let file = |line: &str| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let path = path.trim_start_matches('/');
        let root = PathBuf::from("/sys/fs/cgroup");
        Some(match controllers {
            "" => root.join(path).join("memory.events"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                root.join("memory").join(path).join("memory.oom_control")
            }
            _ => return None,
        })
    };
    groups.lines().filter_map(file).collect()
}

fn count(file: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_looked_for_where_both_versions_have_it() {
        let both = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/system.slice/x.service\nnonsense\n";
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.oom_control",
            "/sys/fs/cgroup/system.slice/x.service/memory.events",
        ];
        assert_eq!(files(both), expected.map(PathBuf::from));
        assert!(files("").is_empty());
    }

    #[test]
    fn a_file_without_the_count_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        assert_eq!(count(&file), None);
        fs::write(&file, "low 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        assert_eq!(count(&file), Some(2));
        fs::write(&file, "oom_kill many\n").unwrap();
        assert_eq!(count(&file), None);
        let mut kills = MemoryKills { file: Some(file.clone()), before: 0 };
        fs::write(&file, "oom_kill 1\n").unwrap();
        assert!(kills.any());
        kills.before = 1;
        assert!(!kills.any());
    }
}
