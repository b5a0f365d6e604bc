//! What a command tries in order to get out, and that it doesn't.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Arc, Mutex};

use fleet_tools::sandbox::{Bind, Run, RunResult, SandboxError};

use crate::place::{Place, mark};

/// Tries each expression by itself; prints `name: open` or `name: stopped`.
const TRY: &str = r#"
import os, ctypes, socket, errno
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, what):
    try:
        result = what()
        print(name, "stopped" if result is False else "open")
    except Exception as error:
        print(name, "stopped", type(error).__name__)
def call(number, *args):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"#;

async fn attempts(place: &Place, program: &str) -> String {
    place.attack(&format!("{TRY}{program}")).await
}

fn assert_all_stopped(said: &str, count: usize) {
    assert_eq!(said.lines().count(), count, "{said}");
    let open: Vec<_> = said.lines().filter(|line| !line.contains("stopped")).collect();
    assert!(open.is_empty(), "these got through: {open:?}");
}

#[tokio::test]
async fn a_secret_of_the_host_is_not_read() {
    let place = Place::new();
    let secret = place.outside("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    std::os::unix::fs::symlink(&secret, place.workspace().join("link")).unwrap();
    let paths = format!(
        "['{}', '/work/link', '/work/../secret', '/etc/shadow', '/root/.bashrc', '/proc/1/root/etc/shadow', '/dev/vda', '/dev/mem', '/proc/kcore', '/proc/kmsg', '/sys/kernel/notes']",
        secret.display()
    );
    let said = attempts(&place, &format!("for p in {paths}: attempt(p, lambda: open(p,'rb').read(1) and None)")).await;
    assert_all_stopped(&said, 11);
}

#[tokio::test]
async fn nothing_is_written_outside_the_workspace() {
    let place = Place::new();
    let canary = place.outside("canary");
    std::fs::write(&canary, "alive").unwrap();
    std::fs::set_permissions(&canary, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink(&canary, place.workspace().join("link")).unwrap();
    let said = attempts(&place, &format!("
for p in ['{}', '/work/link', '/work/../canary', '/usr/bin/evil', '/etc/evil', '/evil', '/bin/evil', '/dev/evil', '/var/evil']:
    attempt(p, lambda: open(p,'w').write('x'))
attempt('hardlink', lambda: os.link('/usr/bin/env', '/work/env'))
attempt('rename root', lambda: os.rename('/work', '/gone'))", canary.display())).await;
    assert_all_stopped(&said, 11);
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    assert!(!std::path::Path::new("/usr/bin/evil").exists());
}

#[tokio::test]
async fn what_is_shown_read_only_stays_as_it_is() {
    let place = Place::new();
    place.put("tests/test_a.py", "original");
    let mut run = place.command(&[
        "sh",
        "-c",
        "echo evil > tests/test_a.py; rm -rf tests; mv tests t2; echo x > ok; cat tests/test_a.py",
    ]);
    run.read_only = vec![Bind { source: place.workspace().join("tests"), target: "/work/tests".into() }];
    let result = place.run(run).await;
    assert_eq!(result.stdout.text(), "original", "{}", result.stderr.text());
    assert_eq!(std::fs::read_to_string(place.workspace().join("tests/test_a.py")).unwrap(), "original");
    assert!(place.workspace().join("ok").exists());
}

#[tokio::test]
async fn a_link_planted_in_the_workspace_is_not_followed_by_the_next_run() {
    let place = Place::new();
    let planted = place.run(place.command(&["ln", "-s", "/root", "fixtures"])).await;
    assert_eq!(planted.exit, Some(0));
    let mut run = place.command(&["ls", "/shown"]);
    run.read_only = vec![Bind { source: place.workspace().join("fixtures"), target: "/shown".into() }];
    let refused = place.sandbox.run(run, std::future::pending()).await;
    assert!(matches!(refused, Err(SandboxError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn no_network_of_the_host_is_reached() {
    let place = Place::new();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("fleet-{}", mark());
    let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let path = place.outside("socket");
    let path_socket = UnixListener::bind(&path).unwrap();
    let program = format!(
        "
attempt('tcp', lambda: socket.create_connection(('127.0.0.1', {port}), 2))
attempt('tcp6', lambda: socket.create_connection(('::1', {port}), 2))
attempt('dns', lambda: socket.getaddrinfo('example.com', 80))
attempt('route', lambda: socket.create_connection(('1.1.1.1', 53), 2))
attempt('abstract', lambda: socket.socket(socket.AF_UNIX).connect('\\0{name}'))
attempt('path', lambda: socket.socket(socket.AF_UNIX).connect('{path}'))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW))
attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
attempt('netfilter', lambda: socket.socket(16, socket.SOCK_RAW, 12))
attempt('alg', lambda: socket.socket(38, socket.SOCK_SEQPACKET))",
        path = path.display()
    );
    assert_all_stopped(&attempts(&place, &program).await, 11);
    // The same attack without a sandbox gets through, so it is one.
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    for listener in [&abstract_socket, &path_socket] {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody connected");
    }
}

#[tokio::test]
async fn processes_of_the_host_are_neither_seen_nor_killed() {
    let place = Place::new();
    let mark = mark();
    // Of the very user that commands run as.
    let user = place.sandbox.owner().map_or(0, |(user, _)| user).to_string();
    let mut decoy = std::process::Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "sleep", &mark])
        .spawn()
        .unwrap();
    crate::place::wait_until("the decoy runs", || !crate::place::processes(&mark).is_empty());
    let said = place.attack(&format!("
import os, signal
seen = [p for p in os.listdir('/proc') if p.isdigit() and b'sleep\\x00{mark}' in open(f'/proc/{{p}}/cmdline','rb').read()]
print(len([p for p in os.listdir('/proc') if p.isdigit()]), seen)
try: os.kill({}, signal.SIGKILL)
except ProcessLookupError: print('no such process')
try: os.kill(-1, signal.SIGTERM)
except ProcessLookupError: print('nobody else')", decoy.id())).await;
    let alive = decoy.try_wait().unwrap().is_none();
    decoy.kill().unwrap();
    decoy.wait().unwrap();
    assert!(alive, "the decoy was killed");
    assert!(said.starts_with("2 []\nno such process"), "{said}");
}

#[tokio::test]
async fn the_kernels_interfaces_for_administrators_are_closed() {
    let place = Place::new();
    let program = r"
import fcntl
attempt('unshare user', lambda: call(272, 0x10000000))
attempt('clone user', lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0))
attempt('clone3', lambda: call(435, 0, 0))
attempt('setns', lambda: call(308, 0, 0))
attempt('mount', lambda: call(165, b'none', b'/tmp', b'tmpfs', 0, 0))
attempt('umount', lambda: call(166, b'/proc', 2))
attempt('fsopen', lambda: call(430, b'tmpfs', 0))
attempt('open_tree', lambda: call(428, -100, b'/', 1))
attempt('pivot_root', lambda: call(155, b'/tmp', b'/tmp'))
attempt('chroot', lambda: os.chroot('/tmp'))
attempt('bpf', lambda: call(321, 0, 0, 0))
attempt('io_uring', lambda: call(425, 1, ctypes.create_string_buffer(256)))
attempt('keyctl', lambda: call(250, 0, -3, 1))
attempt('add_key', lambda: call(248, b'user', b'a', b'b', 1, -3))
attempt('perf', lambda: call(298, 0, 0, -1, -1, 0))
attempt('userfaultfd', lambda: call(323, 0))
attempt('ptrace', lambda: call(101, 16, 1, 0, 0))
attempt('process_vm_readv', lambda: call(310, 1, 0, 0, 0, 0, 0))
attempt('personality', lambda: call(135, 0x0040000))
attempt('open_by_handle_at', lambda: call(304, 0, 0, 0))
attempt('mknod', lambda: os.mknod('/work/disk', 0o60666, os.makedev(254, 0)))
attempt('tiocsti', lambda: fcntl.ioctl(0, 0x5412, b'x'))
attempt('init_module', lambda: call(175, 0, 0, b''))
attempt('x32', lambda: call(0x40000000 + 39))
attempt('hostname', lambda: call(170, b'evil', 4))
attempt('setuid', lambda: os.setuid(0))
";
    let said = attempts(&place, program).await;
    assert_all_stopped(&said, 26);
    // Refused by the filter, and not because the attack was clumsy.
    for name in ["bpf", "io_uring", "keyctl", "ptrace", "unshare user", "mount"] {
        assert!(said.contains(&format!("{name} stopped PermissionError")), "{name}: {said}");
    }
}

#[tokio::test]
async fn the_kernels_settings_can_not_be_changed() {
    let place = Place::new();
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let said = attempts(&place, r"
def write(p, text): os.write(os.open(p, os.O_WRONLY), text)
for p in ['kernel/core_pattern', 'kernel/hostname', 'vm/overcommit_memory', 'net/ipv4/ip_forward', 'user/max_user_namespaces', 'fs/file-max']:
    attempt(p, lambda: write('/proc/sys/' + p, b'1'))
attempt('sysrq', lambda: write('/proc/sysrq-trigger', b'h'))
attempt('oom', lambda: write('/proc/1/oom_score_adj', b'-900'))
attempt('remount', lambda: os.system('mount -o remount,rw /proc/sys 2>/dev/null') == 0)").await;
    assert_all_stopped(&said, 9);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[tokio::test]
async fn the_command_is_nobody_and_holds_nothing() {
    let place = Place::new();
    let result = place.run(place.command(&["sh", "-c", "id -G; ls /proc/self/fd; cat /proc/self/status | grep -E 'Cap|Groups|NoNew|Seccomp:'; ls -A /root /home 2>&1; find / -xdev -perm -4000 -user root 2>/dev/null | head -1 | xargs -r ls -l"])).await;
    let said = result.stdout.text();
    assert!(
        said.starts_with("1000\n0\n1\n2\n3\n"),
        "no group but its own, no descriptor but three and that of ls: {said}"
    );
    assert!(said.contains("CapEff:\t0000000000000000") && said.contains("CapBnd:\t0000000000000000"), "{said}");
}

#[tokio::test]
async fn the_environment_of_the_node_is_not_seen() {
    let place = Place::new();
    // The helper's own environment is what a command could at most inherit; this program's holds PATH and HOME at least.
    let mut run = place.command(&["sh", "-c", "env; cat /proc/1/environ"]);
    run.env = vec![("GIVEN".into(), "yes".into())];
    let said = place.run(run).await.stdout.text();
    assert!(said.contains("GIVEN=yes"));
    for (key, value) in std::env::vars().filter(|(key, _)| key.starts_with("CARGO_") && key != "CARGO_TARGET_DIR") {
        assert!(!said.contains(&format!("{key}={value}")), "{key} leaked");
    }
    assert!(!said.contains(&std::env::var("HOME").unwrap_or_else(|_| "/root".into())), "{said}");
}

#[tokio::test]
async fn a_value_given_to_one_run_shows_in_no_process_list() {
    let place = Place::new();
    let secret = mark();
    let mut run = place.command(&["sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '; sleep 0.2"]);
    run.env = vec![("KEY".into(), secret.clone())];
    let found = Arc::new(Mutex::new(Vec::new()));
    let (eyes, look_for) = (found.clone(), secret.clone());
    let watching = std::thread::spawn(move || {
        for _ in 0..40 {
            eyes.lock().unwrap().extend(crate::place::processes(&look_for));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let result = place.run(run).await;
    watching.join().unwrap();
    assert!(!result.stdout.text().contains(&secret));
    assert!(found.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_workspace_of_somebody_else_is_refused() {
    let place = Place::new();
    let theirs = place.outside("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let result: Result<RunResult, _> = place.sandbox.run(Run::new(["true"], &theirs), std::future::pending()).await;
    assert!(matches!(result, Err(SandboxError::Refused(_))), "{result:?}");
    std::io::stdout().flush().unwrap();
}
