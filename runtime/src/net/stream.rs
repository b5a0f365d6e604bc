//! An encrypted connection whose two ends know each other.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::error::NetError;
use super::options::NetOptions;
use super::slots::ConnectionSlot;

/// What one system call brings in. TLS by itself asks for 4 KiB at a time.
const READ_AHEAD: usize = 64 << 10;

/// What is encrypted before it is written, at most. By default it is 64 KiB.
const WRITE_AT_ONCE: usize = 256 << 10;

/// A socket under TLS.
pub(super) type Socket = BufReader<TcpStream>;

/// One connection of a plane. On the listener's side it counts against the peer's share until dropped.
pub struct PlaneStream {
    tls: TlsStream<Socket>,
    _slot: Option<ConnectionSlot>,
}

impl PlaneStream {
    pub(super) fn dialled(tls: TlsStream<Socket>) -> Self {
        Self::new(tls, None)
    }

    pub(super) fn accepted(tls: TlsStream<Socket>, slot: ConnectionSlot) -> Self {
        Self::new(tls, Some(slot))
    }

    fn new(mut tls: TlsStream<Socket>, slot: Option<ConnectionSlot>) -> Self {
        match &mut tls {
            TlsStream::Client(tls) => tls.get_mut().1.set_buffer_limit(Some(WRITE_AT_ONCE)),
            TlsStream::Server(tls) => tls.get_mut().1.set_buffer_limit(Some(WRITE_AT_ONCE)),
        }
        Self { tls, _slot: slot }
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
        self.tls.get_ref().0.get_ref()
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

/// Makes a fresh connection ready for TLS: no delay for small messages, and TCP itself notices a peer whose machine is gone
/// or can't be reached, whether this side is silent (keepalive) or sends.
pub(super) fn prepare(tcp: TcpStream, options: &NetOptions) -> io::Result<Socket> {
    tcp.set_nodelay(true)?;
    let keepalive = options.keepalive;
    let probe = TcpKeepalive::new().with_time(keepalive).with_interval(keepalive / 3).with_retries(3);
    let socket = SockRef::from(&tcp);
    socket.set_tcp_keepalive(&probe)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(options.unacknowledged))?;
    Ok(BufReader::with_capacity(READ_AHEAD, tcp))
}
