#![allow(clippy::unwrap_used, clippy::expect_used)]

mod age;
mod books;
mod cache;
mod keep;
mod nodes;
mod store;
mod transfer;
mod world;
