//! A network of a test's own: this process and each host in a network namespace of its own, with a router between them.
//! Needs root, and `ip` and `unshare` of Debian's iproute2 and util-linux. All of it is gone when the test's processes are.

use std::process::Command;

/// Says that the process is in the test's network already.
const INSIDE: &str = "FLEET_TEST_NETWORK";

/// Whether the test goes on in this process: it is in a network of its own. Otherwise it has been run in one meanwhile.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let prepare = "mount -t tmpfs network /run && mkdir -p /run/netns && ip link set lo up && exec \"$0\" \"$@\"";
    let ran = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-c", prepare])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare of util-linux is needed");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "in a network of its own (which needs root):\n{out}\n{err}");
    assert!(out.contains("1 passed"), "there is no test {test:?}:\n{out}");
    false
}

/// The hosts by their names. The first one is this process; each is reached at [`addr`].
pub struct Network {
    hosts: Vec<&'static str>,
}

/// The address of the host at that place in the list.
pub fn addr(host: usize) -> String {
    format!("10.77.{host}.2")
}

const ROUTER: &str = "router";

impl Network {
    pub fn new(hosts: &[&'static str]) -> Self {
        ip(&["netns", "add", ROUTER]);
        for (n, host) in hosts.iter().enumerate() {
            let (inner, outer) = (format!("{host}0"), port(host));
            ip(&["link", "add", &inner, "type", "veth", "peer", "name", &outer]);
            ip(&["link", "set", &outer, "netns", ROUTER]);
            ip(&["-n", ROUTER, "addr", "add", &format!("10.77.{n}.1/24"), "dev", &outer]);
            ip(&["-n", ROUTER, "link", "set", &outer, "up"]);
            let mut here = Vec::new();
            if n > 0 {
                ip(&["netns", "add", host]);
                ip(&["link", "set", &inner, "netns", host]);
                here = vec!["-n", *host];
                ip(&["-n", host, "link", "set", "lo", "up"]);
            }
            ip(&[&here[..], &["addr", "add", &format!("{}/24", addr(n)), "dev", &inner]].concat());
            ip(&[&here[..], &["link", "set", &inner, "up"]].concat());
            ip(&[&here[..], &["route", "add", "default", "via", &format!("10.77.{n}.1")]].concat());
        }
        ip(&["netns", "exec", ROUTER, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
        Self { hosts: hosts.to_vec() }
    }

    fn host(&self, name: &str) -> usize {
        self.hosts.iter().position(|host| *host == name).expect("it is one of the hosts")
    }

    /// Takes the cable out of a host, or puts it back.
    pub fn cable(&self, host: &str, state: &str) {
        ip(&["-n", ROUTER, "link", "set", &port(self.hosts[self.host(host)]), state]);
    }

    /// From now on nothing that `from` sends reaches `to`; the other way all is well.
    pub fn drop_from(&self, from: &str, to: &str) {
        self.rule("add", from, to);
    }

    pub fn heal(&self, from: &str, to: &str) {
        self.rule("del", from, to);
    }

    fn rule(&self, what: &str, from: &str, to: &str) {
        let (from, to) = (addr(self.host(from)), addr(self.host(to)));
        ip(&["-n", ROUTER, "rule", what, "from", &from, "to", &to, "blackhole"]);
    }
}

/// The router's end of a host's cable.
fn port(host: &str) -> String {
    format!("to-{host}")
}

fn ip(args: &[&str]) {
    let ran = Command::new("ip").args(args).output().expect("ip of iproute2 is needed");
    assert!(ran.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}
