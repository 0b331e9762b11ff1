//! Is there memory for the tables?

use std::{fs, path::Path};

use super::{Finding, Seen};

pub(super) const NAME: &str = "memory";

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let max_eams = seen.config.dataplane.max_eams;
    let needed = crate::dataplane::table_bytes(max_eams);
    let mut findings = Vec::new();
    if let Some(limit) = memory_of_cgroup(Path::new("/"))
        && limit < needed
    {
        findings.push(Finding::serious(
            NAME,
            format!(
                "the tables for {max_eams} EAMs take {} MiB, and this control group may have {}",
                mib(needed),
                mib(limit)
            ),
            "lower dataplane.max_eams, or raise the daemon's MemoryMax".to_owned(),
        ));
    }
    // Since Linux 5.11 maps are counted in the control group, before that against this limit.
    if seen.kernel < (5, 11)
        && let Some(limit) = locked_memory()
        && limit < needed
    {
        findings.push(Finding::serious(
            NAME,
            format!("the tables take {} MiB, and a process may lock {} MiB only", mib(needed), mib(limit)),
            "start the daemon with `ulimit -l unlimited`, or LimitMEMLOCK=infinity in its unit".to_owned(),
        ));
    }
    findings
}

const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// The least `memory.max` of this process' control group and those above it; `root`: where `proc` and `sys` are.
fn memory_of_cgroup(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let all = root.join("sys/fs/cgroup");
    let limit = |group: &Path| fs::read_to_string(all.join(group).join("memory.max")).ok()?.trim().parse().ok();
    path.ancestors().filter_map(limit).min()
}

/// `RLIMIT_MEMLOCK` in bytes; `None`: there is no limit.
fn locked_memory() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let group = root.path().join("sys/fs/cgroup/system.slice/xlat.service");
        fs::create_dir_all(&group).expect("a group");
        fs::create_dir_all(root.path().join("proc/self")).expect("a process");
        let write = |file: &Path, text: &str| fs::write(file, text).expect("writing");
        write(&root.path().join("proc/self/cgroup"), "0::/system.slice/xlat.service\n");
        write(&group.join("memory.max"), "max\n");
        assert_eq!(memory_of_cgroup(root.path()), None);
        write(&group.parent().expect("a parent").join("memory.max"), "4194304\n");
        assert_eq!(memory_of_cgroup(root.path()), Some(4_194_304));
    }
}
