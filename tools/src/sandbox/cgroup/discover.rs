//! Finds where this process may make control groups: from the mount table and from where it is itself.

use std::io;
use std::path::{Path, PathBuf};

use super::{Parents, v2};

/// No usable control group, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

const REMEDY: &str = "start the node with a control group of its own, for instance `systemd-run --user --scope -p Delegate=yes fleetd` \
    or a service unit with Delegate=yes; with version 1, let root make the group `fleet` below memory and pids, give it to the \
    node's user and set sandbox.cgroup = \"/fleet\"; or, on a machine that you could lose, set sandbox.allow_without_cgroup = true";

/// The parents for leaves: `wanted` below each controller's mount, or else where this process is.
pub(crate) fn discover(wanted: Option<&Path>) -> Result<Parents, Missing> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| missing(format!("{path}: {error}")));
    let parents = locate(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, wanted)?;
    let parents = match parents {
        Parents::V2 { dir } if !v2::offers(&dir) => {
            return Err(missing(format!("{} doesn't offer the controllers memory and pids", dir.display())));
        }
        Parents::V2 { dir } => Parents::V2 { dir: v2::prepare(&dir).map_err(|error| missing(error.to_string()))? },
        v1 => v1,
    };
    try_one(&parents).map_err(|error| missing(error.to_string()))?;
    Ok(parents)
}

fn missing(what: String) -> Missing {
    Missing { what: format!("no control group bounds memory: {what}"), remedy: REMEDY.to_owned() }
}

/// Makes a leaf with bounds and removes it again: permissions, read-only mounts and odd kernels all show here.
fn try_one(parents: &Parents) -> io::Result<()> {
    let leaf = parents.leaf(&format!("fleet-probe-{}", uuid::Uuid::new_v4().simple()));
    let made = leaf.create(&super::Limits::default());
    let removed = leaf.remove(std::time::Duration::from_secs(1));
    made?;
    removed.map(drop)
}

fn locate(mountinfo: &str, own: &str, wanted: Option<&Path>) -> Result<Parents, Missing> {
    let v1 = |controller: &str| {
        let mount = mountinfo.lines().filter_map(Mount::parse).find(|m| m.has_v1(controller))?;
        let path = own.lines().find_map(|line| v1_path(line, controller))?;
        mount.dir_of(wanted.unwrap_or(Path::new(path)))
    };
    if let (Some(memory), Some(pids)) = (v1("memory"), v1("pids")) {
        return Ok(Parents::V1 { memory, pids, cpuacct: v1("cpuacct") });
    }
    let mount = mountinfo.lines().filter_map(Mount::parse).find(|m| m.kind == "cgroup2");
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    mount
        .zip(path)
        .and_then(|(mount, path)| mount.dir_of(wanted.unwrap_or(Path::new(path))))
        .map(|dir| Parents::V2 { dir })
        .ok_or_else(|| missing("none is mounted".to_owned()))
}

/// `4:memory:/a/b` for `memory`.
fn v1_path<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    controllers.split(',').any(|name| name == controller).then_some(path)
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    fn has_v1(&self, controller: &str) -> bool {
        self.kind == "cgroup" && self.options.split(',').any(|option| option == controller)
    }

    /// Where the group `path` shows: a container sees only the part of the tree below the mount's root.
    fn dir_of(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root).or_else(|_| path.strip_prefix("/")).ok()?;
        let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        plain.then(|| Path::new(self.point).join(below))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const HYBRID: &str = "\
25 24 0:22 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
26 24 0:23 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
27 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
28 24 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn on_a_hybrid_machine_the_first_version_is_taken_below_the_own_group() {
        let own = "9:pids:/\n4:memory:/box/17\n2:cpu,cpuacct:/x\n0::/\n";
        assert_eq!(
            locate(HYBRID, own, None).unwrap(),
            Parents::V1 {
                memory: "/sys/fs/cgroup/memory/box/17".into(),
                pids: "/sys/fs/cgroup/pids".into(),
                cpuacct: Some("/sys/fs/cgroup/cpu,cpuacct/x".into()),
            }
        );
    }

    #[test]
    fn the_configured_group_replaces_the_own_one() {
        let own = "9:pids:/\n4:memory:/box/17\n0::/\n";
        let parents = locate(HYBRID, own, Some(Path::new("/fleet"))).unwrap();
        assert_eq!(parents.leaf("a").dirs().next().unwrap(), Path::new("/sys/fs/cgroup/memory/fleet/a"));
    }

    #[test]
    fn in_a_container_the_group_is_found_below_the_mounts_root() {
        let mounts = "30 29 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        let parents = locate(mounts, "0::/docker/abc/node\n", None).unwrap();
        assert_eq!(parents, Parents::V2 { dir: "/sys/fs/cgroup/node".into() });
    }

    #[test]
    fn without_any_the_remedy_is_named() {
        let missing = locate("", "", None).unwrap_err();
        assert!(missing.remedy.contains("allow_without_cgroup"), "{missing:?}");
    }

    #[test]
    fn a_group_can_not_be_configured_outside_the_controllers() {
        assert!(locate(HYBRID, "9:pids:/\n4:memory:/\n0::/\n", Some(Path::new("/../../etc"))).is_err());
    }
}
