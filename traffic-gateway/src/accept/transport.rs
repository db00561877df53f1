//! What carries a connection: a socket, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::{SslDigest, TlsStream};
use pingora::protocols::{ALPN, GetSocketDigest, SocketDigest, Ssl, UniqueID, UniqueIDType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A client's socket, with or without TLS. Both are boxed: one is a few hundred bytes, the other a few thousand.
pub(super) enum Transport {
    Plain(Box<Socket>),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.selected_alpn_proto() == Some(ALPN::H2),
        }
    }

    pub(super) fn socket_digest(&self) -> Option<Arc<SocketDigest>> {
        match self {
            Self::Plain(socket) => socket.get_socket_digest(),
            Self::Tls(stream) => stream.get_socket_digest(),
        }
    }

    pub(super) fn tls_digest(&self) -> Option<Arc<SslDigest>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ssl_digest(),
        }
    }

    pub(super) fn id(&self) -> UniqueIDType {
        match self {
            Self::Plain(socket) => socket.id(),
            Self::Tls(stream) => stream.id(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
