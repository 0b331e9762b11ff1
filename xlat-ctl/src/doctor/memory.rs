//! Is there memory for the tables?

use std::{fs, path::Path};

use super::{Finding, Seen};
use crate::dataplane;

pub(super) const NAME: &str = "memory";

/// What the daemon takes beside the tables: by itself, and for each entry where a file changes all of them, comments of more than 24
/// bytes not counted. Measured: docs/operations.md, 14.
const DAEMON: u64 = 16 << 20;
const EACH_ENTRY: u64 = 280;

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let max_eams = seen.config.dataplane.max_eams;
    let accounts = if seen.config.accounting.services { dataplane::account_bytes(max_eams) } else { 0 };
    let needed = dataplane::table_bytes(max_eams) + accounts;
    // A change of the whole table has two generations of it for a moment.
    let at_most = 2 * needed + DAEMON + EACH_ENTRY * seen.pairs.len() as u64;
    let mut findings = Vec::new();
    if let Some((limit, whose)) = limit(Path::new("/"), seen.pid).filter(|(limit, _)| *limit < at_most) {
        let problem = if limit < needed {
            format!("the tables for {max_eams} EAMs take {} MiB, and {whose} {} MiB", mib(needed), mib(limit))
        } else {
            format!(
                "a reload, or a change of the whole table, takes {} MiB for a moment (two tables for {max_eams} EAMs, and the \
                 daemon), and {whose} {} MiB",
                mib(at_most),
                mib(limit)
            )
        };
        let remedy = format!("lower dataplane.max_eams, or raise the daemon's MemoryMax to {} MiB", mib(at_most));
        findings.push(Finding::serious(NAME, problem, remedy));
    }
    // Since Linux 5.11 maps are counted in the control group, before that against this limit.
    if seen.kernel < (5, 11)
        && let Some(limit) = locked_memory(seen.pid)
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

/// How many bytes the daemon may have, and who says so; `root`: where `proc` and `sys` are. Without a daemon this process'
/// control group stands for the one that it will be in.
fn limit(root: &Path, pid: Option<u32>) -> Option<(u64, &'static str)> {
    let group = memory_of_cgroup(root, pid);
    let group = group
        .map(|limit| (limit, pid.map_or("this control group may have", |_| "the daemon's control group may have")));
    group.into_iter().chain(memory_of_machine(root).map(|limit| (limit, "the machine has"))).min()
}

/// The least limit of a process' control group and those above it, in either version of control groups; `pid`: `None` for this
/// process.
fn memory_of_cgroup(root: &Path, pid: Option<u32>) -> Option<u64> {
    let text = fs::read_to_string(root.join(process(pid)).join("cgroup")).ok()?;
    let place = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(":/")?;
        let is_second = number == "0" && controllers.is_empty();
        let is_first = controllers.split(',').any(|controller| controller == "memory");
        let found = is_second.then_some(("", "memory.max"));
        let (folder, file) = found.or(is_first.then_some(("memory", "memory.limit_in_bytes")))?;
        let folder = root.join("sys/fs/cgroup").join(folder);
        let limit =
            move |group: &Path| fs::read_to_string(folder.join(group).join(file)).ok()?.trim().parse::<u64>().ok();
        Path::new(path).ancestors().filter_map(limit).min()
    };
    text.lines().filter_map(place).min()
}

fn memory_of_machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `RLIMIT_MEMLOCK` in bytes; `None`: there is no limit.
fn locked_memory(pid: Option<u32>) -> Option<u64> {
    let limits = fs::read_to_string(Path::new("/").join(process(pid)).join("limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn process(pid: Option<u32>) -> String {
    pid.map_or("proc/self".to_owned(), |pid| format!("proc/{pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let group = root.path().join("sys/fs/cgroup/system.slice/xlat.service");
        fs::create_dir_all(&group).expect("a group");
        fs::create_dir_all(root.path().join("proc/7")).expect("a process");
        let write = |file: &Path, text: &str| fs::write(file, text).expect("writing");
        write(&root.path().join("proc/7/cgroup"), "0::/system.slice/xlat.service\n");
        write(&group.join("memory.max"), "max\n");
        assert_eq!(limit(root.path(), Some(7)), None);
        write(&root.path().join("proc/meminfo"), "MemTotal:        8192 kB\nMemFree:         4096 kB\n");
        assert_eq!(limit(root.path(), Some(7)), Some((8_388_608, "the machine has")));
        write(&group.parent().expect("a parent").join("memory.max"), "4194304\n");
        assert_eq!(limit(root.path(), Some(7)), Some((4_194_304, "the daemon's control group may have")));
        assert_eq!(limit(root.path(), None), Some((8_388_608, "the machine has")), "this process has no group there");
        // The first version; what is not limited has a number larger than any machine.
        write(&root.path().join("proc/7/cgroup"), "9:cpu,memory:/relay\n3:pids:/\n0::/\n");
        let group = root.path().join("sys/fs/cgroup/memory/relay");
        fs::create_dir_all(&group).expect("a group");
        write(&group.parent().expect("a parent").join("memory.limit_in_bytes"), "9223372036854771712\n");
        assert_eq!(limit(root.path(), Some(7)), Some((8_388_608, "the machine has")));
        write(&group.join("memory.limit_in_bytes"), "2097152\n");
        assert_eq!(limit(root.path(), Some(7)), Some((2_097_152, "the daemon's control group may have")));
    }
}
