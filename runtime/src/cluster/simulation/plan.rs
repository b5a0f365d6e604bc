//! What goes wrong, and when: all from the seed.

/// Splitmix64.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `of` - 1.
    pub fn below(&mut self, of: u64) -> u64 {
        self.next() % of.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What the node sends is lost.
    Upwards(usize),
    /// What is sent to the node is lost.
    Downwards(usize),
    /// Both, and the link is known to be down.
    Cut(usize),
    Freeze(usize),
    /// Its process is gone for so long.
    Crash(usize),
    ControlCrash,
    ControlFreeze,
    SlowDisk,
    /// Appends are refused; nobody knows whether they got there.
    FullDisk,
}

/// A fault, from when to when, in ms.
pub(super) type Outage = (Fault, u64, u64);

/// Something that a person or an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Ask for an actor, until it is there.
    Spawn(usize),
    /// Submit a job, until that is acknowledged.
    Submit(usize),
    Stop(usize),
    Drain(usize),
    /// The actor fails and is started again on its node.
    Fail(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub nodes: usize,
    /// In one direction, ms.
    pub max_delay: u64,
    /// Messages lost of a hundred.
    pub loss: u64,
    pub heal: u64,
    pub outages: Vec<Outage>,
    pub deeds: Vec<(u64, Deed)>,
}

const HEAL: u64 = 20_000;
const ACTORS: u64 = 8;
const JOBS: u64 = 5;

impl Plan {
    pub fn new(random: &mut Random) -> Self {
        let nodes = 3 + random.below(2);
        let outages = (0..2 + random.below(7)).map(|_| outage(random, nodes)).collect();
        let mut deeds = Vec::new();
        for n in 0..ACTORS {
            deeds.push((random.below(6_000), Deed::Spawn(index(n))));
            deeds.push((7_000 + random.below(HEAL), Deed::Fail(index(n))));
            deeds.push((7_000 + random.below(HEAL), Deed::Fail(index(n))));
        }
        for n in 0..JOBS {
            deeds.push((random.below(HEAL / 2), Deed::Submit(index(n))));
        }
        deeds.push((8_000 + random.below(HEAL), Deed::Stop(index(random.below(ACTORS)))));
        if random.chance(25) {
            deeds.push((8_000 + random.below(HEAL), Deed::Drain(index(1 + random.below(nodes - 1)))));
        }
        deeds.sort_by_key(|(at, _)| *at);
        let (max_delay, loss) = (1 + random.below(150), random.below(15));
        Self { nodes: index(nodes), max_delay, loss, heal: HEAL, outages, deeds }
    }
}

fn outage(random: &mut Random, nodes: u64) -> Outage {
    // Node 0 shares the control node's process.
    let node = index(1 + random.below(nodes - 1));
    let fault = match random.below(12) {
        0 => Fault::Upwards(node),
        1 => Fault::Downwards(node),
        2 => Fault::Cut(node),
        3 | 4 => Fault::Freeze(node),
        5 | 6 => Fault::Crash(node),
        7 | 8 => Fault::ControlCrash,
        9 => Fault::ControlFreeze,
        10 => Fault::SlowDisk,
        _ => Fault::FullDisk,
    };
    let from = 500 + random.below(HEAL - 1_500);
    (fault, from, (from + 100 + random.below(7_000)).min(HEAL))
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
