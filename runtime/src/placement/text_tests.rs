#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_compose, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::codec;

const GIB: u64 = 1 << 30;

fn request(text: &str) -> Request {
    text.parse().unwrap()
}

#[test]
fn a_request_is_read_as_people_write_it() {
    let r = request("cpu=1.5, memory=4 GiB, gpu=2x24GiB, custom slots=2, label zone in (a, b), label !spot");
    assert_eq!((r.cpu_milli, r.memory_bytes), (1500, 4 * GIB));
    assert_eq!(r.gpu, GpuRequest::Whole { count: 2, memory_bytes: 24 * GIB });
    assert_eq!(r.custom, BTreeMap::from([("slots".to_owned(), 2000)]));
    assert_eq!(r.to_string(), "cpu=1.5, memory=4 GiB, gpu=2x24 GiB, custom slots=2, label zone in (a,b), label !spot");
    assert_eq!(request("gpu=share 1.5 GiB").gpu, GpuRequest::Share { memory_bytes: 3 * GIB / 2 });
    let named = GpuRequest::Named { uuid: "GPU-7".into(), share_bytes: Some(8 * GIB) };
    assert_eq!(request("gpu=id GPU-7 share 8 GiB").gpu, named);
    assert_eq!(request("nothing"), Request::default());
}

#[test]
fn a_node_names_its_gpus_and_counts_them_for_people() {
    let text = "cpu=2, memory=4 GiB, gpu GPU-1=24 GiB, gpu GPU-2=24 GiB, label zone=a";
    let node: Resources = text.parse().unwrap();
    assert_eq!(node.to_string(), text);
    assert_eq!(format!("{node:#}"), "cpu=2, memory=4 GiB, gpu=2x24 GiB, label zone=a");
}

#[test]
fn what_is_wrong_is_named_with_what_is_right() {
    for (text, says) in [
        ("cpus=2", "a part is cpu="),
        ("cpu=0.0001", "at most three places"),
        ("cpu=-1", "at most three places"),
        ("memory=4 GB/s", "a size is wanted"),
        ("memory=99999999999 TiB", "a size is wanted"),
        ("cpu=1, cpu=2", "given twice"),
        ("cpu=1,,memory=1", "nothing between"),
        ("gpu=0", "at least one GPU"),
        ("gpu=share 0", "more than 0"),
        ("label zone in a", "stand in ( )"),
        ("label a b", "a name is"),
    ] {
        let error = text.parse::<Request>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!("gpu=1x24 GiB".parse::<Resources>().unwrap_err().to_string().contains("are named"));
    assert!("gpu G=0".parse::<Resources>().is_err());
}

#[test]
fn selectors_hold_as_in_kubernetes() {
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let holds = |text: &str| text.parse::<Selector>().unwrap().holds(&labels);
    assert!(holds("zone=a") && holds("zone!=b") && holds("zone in (b,a)") && holds("zone") && holds("!spot"));
    assert!(!holds("zone=b") && !holds("zone!=a") && !holds("zone in (b)") && !holds("spot") && !holds("!zone"));
    assert!(holds("spot!=yes"), "a label that isn't there is not that value");
}

fn name() -> impl Generate<Value = String> {
    "[a-zA-Z0-9._/-]{1,8}"
}

fn selector() -> impl Generate<Value = Selector> {
    prop_oneof![
        (name(), name()).prop_map(|(key, value)| Selector::Is { key, value }),
        (name(), name()).prop_map(|(key, value)| Selector::IsNot { key, value }),
        (name(), prop::collection::btree_set(name(), 1..4)).prop_map(|(key, values)| Selector::In { key, values }),
        name().prop_map(|key| Selector::Exists { key }),
        name().prop_map(|key| Selector::Missing { key }),
    ]
}

fn gpu() -> impl Generate<Value = GpuRequest> {
    prop_oneof![
        Just(GpuRequest::None),
        (1_u32.., any::<u64>()).prop_map(|(count, memory_bytes)| GpuRequest::Whole { count, memory_bytes }),
        (1_u64..).prop_map(|memory_bytes| GpuRequest::Share { memory_bytes }),
        (name(), prop::option::of(1_u64..)).prop_map(|(uuid, share_bytes)| GpuRequest::Named { uuid, share_bytes }),
    ]
}

prop_compose! {
    fn any_request()(
        cpu_milli: u64,
        memory_bytes: u64,
        gpu in gpu(),
        custom in prop::collection::btree_map(name(), any::<u64>(), 0..3),
        labels in prop::collection::btree_set(selector(), 0..4),
    ) -> Request {
        Request { cpu_milli, memory_bytes, gpu, custom, labels }
    }
}

prop_compose! {
    fn any_node()(
        cpu_milli: u64,
        memory_bytes: u64,
        gpus in prop::collection::btree_map(name(), 1_u64.., 0..3),
        custom in prop::collection::btree_map(name(), any::<u64>(), 0..3),
        labels in prop::collection::btree_map(name(), name(), 0..3),
    ) -> Resources {
        Resources { amounts: Amounts { cpu_milli, memory_bytes, gpus, custom }, labels }
    }
}

proptest! {
    #[test]
    fn what_a_request_displays_reads_back_the_same_and_travels(r in any_request()) {
        prop_assert_eq!(&r.to_string().parse::<Request>().unwrap(), &r);
        prop_assert_eq!(&codec::decode::<Request>(&codec::encode(&r).unwrap()).unwrap(), &r);
        prop_assert_eq!(&serde_json::from_str::<Request>(&serde_json::to_string(&r).unwrap()).unwrap(), &r);
    }

    #[test]
    fn what_a_node_displays_reads_back_the_same_and_travels(node in any_node()) {
        prop_assert_eq!(&node.to_string().parse::<Resources>().unwrap(), &node);
        prop_assert_eq!(&codec::decode::<Resources>(&codec::encode(&node).unwrap()).unwrap(), &node);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), like in "((cpu|memory|gpu|label|custom)[ =x,.()!a0-9GiB]{0,12},?){0,4}") {
        for text in [text, like] {
            // Whatever was read obeys the rules: it reads back.
            if let Ok(request) = text.parse::<Request>() {
                prop_assert_eq!(request.to_string().parse::<Request>().unwrap(), request);
            }
            if let Ok(node) = text.parse::<Resources>() {
                prop_assert_eq!(node.to_string().parse::<Resources>().unwrap(), node);
            }
        }
    }

    #[test]
    fn sums_are_exact_or_refused(a in any_node(), b in any_node()) {
        let (a, b) = (a.amounts, b.amounts);
        if let Some(sum) = a.checked_add(&b) {
            let rest = sum.checked_sub(&b).unwrap();
            prop_assert!(!rest.has_more_than(&a) && !a.has_more_than(&rest));
        }
        prop_assert_eq!(a.checked_sub(&b).is_none(), b.has_more_than(&a));
    }
}

#[test]
fn the_machines_gpus_are_found_by_uuid_and_one_without_memory_is_left_away() {
    let gpu = |uuid: &str, memory_bytes| crate::probe::Gpu { uuid: uuid.into(), name: "x".into(), memory_bytes };
    let node = Resources::default().with_gpus(&[gpu("GPU-1", GIB), gpu("GPU-0", 0)]);
    assert_eq!(node.amounts.gpus, BTreeMap::from([("GPU-1".to_owned(), GIB)]));
    assert_eq!(BTreeSet::from_iter(node.labels.keys()), BTreeSet::new());
}
