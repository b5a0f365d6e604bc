#![allow(clippy::unwrap_used, clippy::expect_used)]
mod damage;
mod group;
mod kill;
mod semantics;
