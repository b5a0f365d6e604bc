//! Nodes that join the node of a place: each a process of its own, with its own state.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Node, Place, Ran, finish, free_port};

/// A further node of a place's cluster, running or not.
pub struct Member<'a> {
    pub name: &'static str,
    place: &'a Place,
    port: u16,
}

impl<'a> Member<'a> {
    pub fn new(place: &'a Place, name: &'static str) -> Self {
        let member = Self { name, place, port: free_port() };
        let text = format!(
            "[node]\nname = \"{name}\"\nlisten = \"127.0.0.1:{}\"\n\n[cluster]\nlisten = \"127.0.0.1:0\"\ncpus = 4.0\n",
            member.port
        );
        fs::write(member.config(), text).unwrap();
        member
    }

    fn config(&self) -> PathBuf {
        self.place.path().join(format!("{}.toml", self.name))
    }

    pub fn state(&self) -> PathBuf {
        self.place.path().join(format!("state-{}", self.name))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `fleetd` for this node, with these arguments, not yet started.
    pub fn fleetd(&self, args: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
        command.arg("--config").arg(self.config()).arg("--state-dir").arg(self.state()).args(args);
        command.env_remove("FLEET_STATE_DIR").env_remove("FLEET_LOG").env("TMPDIR", self.place.temporary());
        command
    }

    /// Joins by a new invitation, as a person would: with what `fleet node invite` prints.
    pub fn join(&self) -> Node {
        self.start(&invitation(self.place))
    }

    /// Starts it again; it knows its cluster.
    pub fn restart(&self) -> Node {
        self.start(&[])
    }

    fn start(&self, args: &[String]) -> Node {
        let log = self.place.path().join(format!("{}.log", self.name));
        Node::start(self.fleetd(args), log, &self.url())
    }

    /// `fleet` speaking to this node.
    pub fn fleet(&self, args: &[&str]) -> Command {
        let mut command = self.place.fleet(args);
        command.env("FLEET_SERVER", self.url()).env("FLEET_STATE_DIR", self.state());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.fleet(args))
    }
}

/// The arguments by which one node joins the place's.
pub fn invitation(place: &Place) -> Vec<String> {
    let invited = place.run(&["node", "invite"]);
    assert_eq!(invited.code, Some(0), "{invited:?}");
    let command = invited.stdout.trim().strip_prefix("fleetd ").expect("it prints the command");
    command.split(' ').map(str::to_owned).collect()
}

/// The nodes of the cluster: name and state.
pub fn nodes(place: &Place) -> Vec<(String, String)> {
    let text = |node: &Value, key: &str| node[key].as_str().unwrap_or_default().to_owned();
    listed(place, &["node", "list", "-o", "json"])
        .iter()
        .map(|node| (text(node, "name"), text(node, "state")))
        .collect()
}

pub fn is(place: &Place, node: &str, state: &str) -> bool {
    nodes(place).contains(&(node.to_owned(), state.to_owned()))
}

/// Where actors of that kind are up, by the names of the nodes; one entry an actor.
pub fn nodes_of(place: &Place, kind: &str) -> Vec<String> {
    let up = listed(place, &["actor", "list", "--kind", kind, "--state", "up", "-o", "json"]);
    up.iter().filter_map(|actor| actor["node"].as_str().map(str::to_owned)).collect()
}

fn listed(place: &Place, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&place.run(args).stdout).unwrap_or_default()
}
