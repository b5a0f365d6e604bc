//! An encrypted connection whose two ends know each other.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::error::NetError;
use super::slots::ConnectionSlot;

/// One connection of a plane. On the listener's side it counts against the peer's share until dropped.
pub struct PlaneStream {
    tls: TlsStream<TcpStream>,
    _slot: Option<ConnectionSlot>,
}

impl PlaneStream {
    pub(super) fn dialled(tls: TlsStream<TcpStream>) -> Self {
        Self { tls, _slot: None }
    }

    pub(super) fn accepted(tls: TlsStream<TcpStream>, slot: ConnectionSlot) -> Self {
        Self { tls, _slot: Some(slot) }
    }

    /// A secret that only the two ends of this connection can derive (RFC 5705, RFC 8446 §7.5), one for
    /// each `label`.
    pub fn export_secret(&self, label: &[u8]) -> Result<[u8; 32], NetError> {
        let secret = match &self.tls {
            TlsStream::Client(tls) => tls.get_ref().1.export_keying_material([0; 32], label, None),
            TlsStream::Server(tls) => tls.get_ref().1.export_keying_material([0; 32], label, None),
        };
        secret.map_err(NetError::crypto)
    }

    /// The socket below, for its addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        self.tls.get_ref().0
    }
}

impl fmt::Debug for PlaneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlaneStream").field(self.tcp()).finish()
    }
}

impl AsyncRead for PlaneStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for PlaneStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}

/// No delay for small messages; TCP itself notices a peer whose machine is gone.
pub(super) fn prepare(tcp: &TcpStream, keepalive: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let probe = TcpKeepalive::new().with_time(keepalive).with_interval(keepalive / 3).with_retries(3);
    SockRef::from(tcp).set_tcp_keepalive(&probe)
}
