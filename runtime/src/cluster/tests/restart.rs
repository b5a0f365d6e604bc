//! The control node ends abruptly and is started again: what runs goes on.

use super::*;
use crate::actor::ActorAddr;
use crate::membership::{Member, MemberState};

/// Ends the control node without a word.
async fn kill(hub: &Hub, node: Node, part: ClusterNode) {
    hub.0.lock().unwrap().remove(&node.id);
    part.stop().await;
    node.die().await;
}

async fn restart(cluster: &Cluster, hub: &Hub, id: NodeId, incarnation: u64) -> (Node, ClusterNode) {
    let node = cluster.node(id, incarnation).await;
    let part = member(&node, hub, "n0", Role::Control(cluster.ports()), 0).await;
    (node, part)
}

async fn alive(part: &ClusterNode, ids: &[NodeId]) {
    let mut members = part.members();
    let all = |members: &Vec<Member>| {
        ids.iter().all(|id| members.iter().any(|m| m.node == *id && m.state == MemberState::Alive))
    };
    tokio::time::timeout(SOON, members.wait_for(all)).await.expect("they are members").unwrap();
}

/// Asks until it answers: it may be on its way.
async fn value(counter: &Ref<CounterMsg>) -> u64 {
    let asked = async {
        loop {
            match counter.ask(SOON, CounterMsg::Get).await {
                Ok(value) => break value,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(SOON, asked).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_outlive_the_control_node_and_those_whose_node_died_meanwhile_begin_elsewhere() {
    let (cluster, hub, mut nodes) = three().await;
    let (control_node, control) = nodes.remove(0);
    let control_id = control_node.id;
    let mut counters: Vec<Ref<CounterMsg>> = Vec::new();
    for n in 0..10 {
        let spawned = control.spawn::<Counter>(&format!("c/{n}"), &n, Restart::Permanent, one_cpu(), SOON).await;
        let counter = spawned.unwrap();
        counter.tell(CounterMsg::Add(100)).await.unwrap();
        assert_eq!(value(&counter).await, n + 100);
        counters.push(counter);
    }
    let addrs: Vec<ActorAddr> = counters.iter().map(Ref::addr).collect();
    let (dying_node, dying) = nodes.pop().unwrap();
    let (staying_node, staying) = nodes.pop().unwrap();

    kill(&hub, control_node, control).await;
    let dead = dying_node.id;
    kill(&hub, dying_node, dying).await;
    let began = std::time::Instant::now();
    let (_node, control) = restart(&cluster, &hub, control_id, 2).await;

    // Long before anything is placed, what is known is known again.
    let kept: Vec<usize> = (0..10).filter(|n| addrs[*n].node == staying_node.id).collect();
    assert_eq!(kept.len(), 5);
    alive(&control, &[staying_node.id]).await;
    for n in &kept {
        let found: Ref<CounterMsg> = staying.find(&format!("c/{n}")).await.unwrap().unwrap();
        assert_eq!(found.addr(), addrs[*n], "it has stayed where it was, in the same life");
        assert_eq!(value(&found).await, *n as u64 + 100, "with its state");
    }
    let old = staying.spawn::<Counter>("c/3", &3, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    assert_eq!(old.addr().actor, addrs[3].actor, "an old key means the old actor");

    for n in (0..10).filter(|n| !kept.contains(n)) {
        let (key, from) = (format!("c/{n}"), n as u64);
        let again = control.spawn::<Counter>(&key, &from, Restart::Permanent, one_cpu(), SOON).await.unwrap();
        let (addr, before) = (again.addr(), addrs[n]);
        assert_eq!((addr.actor, addr.node), (before.actor, staying_node.id));
        assert!(addr.generation > before.generation);
        assert_eq!(value(&again).await, n as u64, "anew from its arguments");
    }
    assert!(began.elapsed() > fast().membership.fence_after, "not while the dead node's lease may run");
    assert_eq!(*staying.standing().borrow(), Standing::Member, "it never had to join again");
    let there = control.nodes().await.unwrap();
    let state = |id: NodeId| there.iter().find(|n| n.id == id).map(|n| (n.state, n.incarnation, n.actors));
    assert_eq!(state(staying_node.id), Some((MemberState::Alive, Incarnation(1), 10)));
    assert_eq!(state(dead).unwrap().0, MemberState::Dead);
    assert_eq!(state(control_id).unwrap().1, Incarnation(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_one_segment_however_much_has_happened_and_a_restart_finds_all_of_it() {
    let (cluster, hub, mut nodes) = three().await;
    let (control_node, control) = nodes.remove(0);
    let control_id = control_node.id;
    control.spawn::<Counter>("stays", &7, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    for n in 0..40 {
        let key = format!("c/{n}");
        control.spawn::<Counter>(&key, &n, Restart::Permanent, one_cpu(), SOON).await.unwrap();
        control.stop_actor(&key).await.unwrap();
    }
    let ports = cluster.ports();
    let segments = tokio::time::timeout(SOON, async {
        loop {
            let segments = ports.journal.streams("cluster/").await.unwrap();
            if segments.len() == 1 && segments[0].stream.as_str() != "cluster/1" {
                return segments;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let segments = segments.await.expect("the segments before are deleted");
    assert!(segments[0].last_seq.0 < 100, "{segments:?}");

    kill(&hub, control_node, control).await;
    let (_node, control) = restart(&cluster, &hub, control_id, 2).await;
    let ids: Vec<NodeId> = nodes.iter().map(|(node, _)| node.id).collect();
    alive(&control, &ids).await;
    let actors = control.actors(ActorFilter { with_over: true, ..Default::default() }).await.unwrap();
    assert_eq!((actors.len(), actors[0].key.as_str()), (41, "stays"));
    assert!(actors[1..].iter().all(|actor| actor.state == ActorState::Over));
    let found: Ref<CounterMsg> = nodes[0].1.find("stays").await.unwrap().unwrap();
    assert_eq!(value(&found).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_with_an_owner_ends_with_it_and_not_before() {
    let (cluster, hub, mut nodes) = three().await;
    let (control_node, control) = nodes.remove(0);
    let (control_id, part) = (control_node.id, nodes[1].1.clone());
    let owned = |owner: &'static str, key: &'static str| {
        let part = part.clone();
        async move { part.spawn_owned::<Counter>(owner, key, &1, Restart::Permanent, one_cpu(), SOON).await }
    };
    let unknown = owned("nobody", "c/lost").await.unwrap_err();
    assert!(unknown.to_string().contains("\"nobody\""), "{unknown}");
    part.spawn::<Counter>("job", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    part.spawn::<Counter>("other", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    owned("job", "job/a").await.unwrap();
    owned("job/a", "job/a/b").await.unwrap();
    owned("other", "other/a").await.unwrap();

    // Who owns whom is recorded.
    kill(&hub, control_node, control).await;
    let (_node, control) = restart(&cluster, &hub, control_id, 2).await;
    let ids: Vec<NodeId> = nodes.iter().map(|(node, _)| node.id).collect();
    alive(&control, &ids).await;
    part.stop_actor("job").await.unwrap();

    let left = part.actors(ActorFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|actor| actor.key.as_str()).collect::<Vec<_>>(), ["other", "other/a"]);
    let explained = part.explain_actor("job/a/b").await.unwrap().unwrap();
    assert!(explained.to_string().contains("its owner is over"), "{explained}");
}
