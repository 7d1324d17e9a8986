//! The kernel's word that addresses or routes of this host have changed (rtnetlink(7)).
//!
//! The content of a message is not read: each one means to look at everything again. At rest none comes, and nothing is done.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Hears of every change of an address or a route.
#[derive(Debug)]
pub(super) struct Changes(UdpSocket);

impl Changes {
    /// Listens from now on. Within the runtime that will wait.
    ///
    /// # Errors
    /// The host does not allow it (AF_NETLINK, rtnetlink).
    pub(super) fn listen() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        let groups = [
            libc::RTMGRP_IPV4_IFADDR,
            libc::RTMGRP_IPV6_IFADDR,
            libc::RTMGRP_IPV4_ROUTE,
            libc::RTMGRP_IPV6_ROUTE,
        ];
        let groups = groups.into_iter().fold(0, |all, group| all | group.unsigned_abs());
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        // The runtime waits for datagrams of any family in the same way.
        Ok(Self(UdpSocket::from_std(fd.into())?))
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            self.0.readable().await?;
            match self.read() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Takes out what has come, as far as it was there in one go.
    pub(super) fn drain(&mut self) {
        for _ in 0..MOST {
            if self.read().is_err() {
                break;
            }
        }
    }

    /// Takes one message out, whatever it says; its rest is dropped by the kernel. One that did not fit into the queue
    /// is one too.
    fn read(&self) -> io::Result<()> {
        self.0.try_io(Interest::READABLE, || {
            match recv(self.0.as_raw_fd(), &mut [0; 16], MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
                Err(e) => Err(e.into()),
            }
        })
    }
}

/// More than the queue of the socket holds.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_comes_while_nothing_changes() {
        let mut changes = match Changes::listen() {
            Ok(changes) => changes,
            Err(e) => {
                crate::skipped::skipped(e);
                return;
            }
        };
        changes.drain();
        assert_eq!(changes.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
