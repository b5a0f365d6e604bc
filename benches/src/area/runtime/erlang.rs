//! How the two Erlang machines are started: distribution over loopback, without the port mapper, so that no daemon stays.

use std::fs::{OpenOptions, write};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow, ensure};

use super::driver::free_port;
use crate::area::nodes::Killed;

const SOURCE: &str = include_str!("../../../peers/erlang_peer.erl");

/// The machine that is asked, and the one that has the other process.
pub fn prepare(dir: &Path) -> Result<(Command, Vec<Killed>)> {
    write(dir.join("erlang_peer.erl"), SOURCE)?;
    let compiled = Command::new("erlc").args(["-o", "."]).arg("erlang_peer.erl").current_dir(dir).output();
    let compiled = compiled.map_err(|e| match e.kind() {
        ErrorKind::NotFound => anyhow!("not installed (Debian: apt-get install erlang-base, or scripts/bench-peers)"),
        _ => e.into(),
    })?;
    ensure!(compiled.status.success(), "erlc: {}", String::from_utf8_lossy(&compiled.stdout).trim());
    cookie(dir)?;
    let port = free_port()?;
    let mut sink = machine(dir, port, "sink");
    sink.args(["-noinput", "-s", "erlang_peer", "serve"]);
    let sink = sink.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut driver = machine(dir, port, "driver");
    driver.args(["-noshell", "-dist_listen", "false", "-s", "erlang_peer", "drive"]);
    Ok((driver, vec![Killed(sink)]))
}

/// What both have in common. A larger distribution buffer (32 MiB rather than 1) keeps senders from being suspended:
/// it was the best of the settings tried, and busy-waiting schedulers (the default) better than sleeping ones.
fn machine(dir: &Path, port: u16, name: &str) -> Command {
    let mut command = Command::new("erl");
    command
        .current_dir(dir)
        .env("HOME", dir)
        .args(["+zdbbl", "32768", "-start_epmd", "false", "-erl_epmd_port", &port.to_string()])
        .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
        .args(["-name", &format!("fleet_bench_{name}@127.0.0.1")]);
    command
}

/// The secret that both machines know.
fn cookie(dir: &Path) -> Result<()> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let cookie: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(dir.join(".erlang.cookie"))?;
    Ok(file.write_all(cookie.as_bytes())?)
}
