//! What this machine takes for a round trip at least: 64 bytes over a bare TCP connection, two threads that block.
//!
//! On a virtual machine that sleeps when idle, waking it is most of a round trip; without this figure that would look
//! like the runtime's own time.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::driver::{micros, quantile};

const BYTES: usize = 64;

/// Median microseconds of `count` round trips.
pub fn round_trips(count: usize) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || echo(far));
    let mut times = Vec::with_capacity(count);
    let mut bytes = [7; BYTES];
    for _ in 0..count {
        let began = Instant::now();
        near.write_all(&bytes)?;
        near.read_exact(&mut bytes)?;
        times.push(micros(began));
    }
    drop(near);
    echo.join().map_err(|_| anyhow!("the echoing thread panicked"))?;
    Ok(quantile(&mut times, 0.5))
}

/// Until the other end closes.
fn echo(mut far: TcpStream) {
    let mut bytes = [0; BYTES];
    while far.read_exact(&mut bytes).and_then(|()| far.write_all(&bytes)).is_ok() {}
}
