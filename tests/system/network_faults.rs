//! Nodes that live and can't be reached.

use crate::cluster::{AUTO, assert_solved, where_it_runs};
use crate::harness::Place;
use crate::members::{Member, is, nodes_of};
use crate::network::{Network, addr, inside};

/// A story whose runner's node is cut off in some way: it ends well elsewhere, and the node comes back when it can.
fn survives(cut: impl Fn(&Network, &str), heal: impl Fn(&Network, &str)) {
    let network = Network::new(&["control", "a", "b"]);
    let place = Place::in_cluster("clamp/slow.yaml", "listen = \"10.77.0.2:0\"\ncpus = 0.0\n");
    place.configure("clamp/slow.yaml", crate::cluster::FOUR_AT_ONCE);
    let mut control = place.start();
    let (a, b) = (Member::within(&place, "a", &addr(1), "a"), Member::within(&place, "b", &addr(2), "b"));
    let members = [&a, &b];
    let processes = [a.join(), b.join()];
    let job = place.submit_detached(AUTO);
    let lost = where_it_runs(&place, &mut control, &members);
    let name = members[lost].name;

    cut(&network, name);

    assert_solved(&place, &job);
    let logs = place.run(&["job", "logs", &job]).stdout;
    assert!(logs.contains(&format!("its run on node {name} was lost")), "{logs}");
    assert!(is(&place, name, "dead"), "{:?}", place.run(&["node", "list"]));
    heal(&network, name);
    control.wait_until(|| is(&place, name, "alive"));
    control.wait_until(|| processes[lost].log().contains("joins again in a new life"));
    control.wait_until(|| nodes_of(&place, "fleet.agent").is_empty() && nodes_of(&place, "fleet.job").is_empty());
}

#[test]
fn a_story_goes_on_when_the_cable_of_its_node_is_pulled() {
    if inside("network_faults::a_story_goes_on_when_the_cable_of_its_node_is_pulled") {
        survives(|network, node| network.cable(node, "down"), |network, node| network.cable(node, "up"));
    }
}

#[test]
fn a_story_goes_on_when_nothing_of_its_node_reaches_the_control_node() {
    if inside("network_faults::a_story_goes_on_when_nothing_of_its_node_reaches_the_control_node") {
        let (cut, heal) = (Network::drop_from, Network::heal);
        survives(|network, node| cut(network, node, "control"), |network, node| heal(network, node, "control"));
    }
}

#[test]
fn a_story_goes_on_when_nothing_of_the_control_node_reaches_its_node() {
    if inside("network_faults::a_story_goes_on_when_nothing_of_the_control_node_reaches_its_node") {
        let (cut, heal) = (Network::drop_from, Network::heal);
        survives(|network, node| cut(network, "control", node), |network, node| heal(network, "control", node));
    }
}
