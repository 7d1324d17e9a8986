//! Binding to an address that is not there yet: at boot an agent may be quicker than the network.
//!
//! An exit would leave the waiting to the service manager, which gives up after some quick exits.

use std::io;
use std::time::Duration;

use heartsay_tokio::net::BindError;
use nix::libc;
use tracing::{info, warn};

use crate::daemon::notify;

/// What `bind` makes, as soon as the address is on an interface of this host. Any other failure is final.
///
/// # Errors
/// That of `bind`, unless it is that the address is missing.
pub(crate) async fn when_there<T>(mut bind: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut looks = 0_u32;
    loop {
        let error = match bind() {
            Err(error) if is_missing(&error) => error,
            Ok(bound) => {
                if looks > 0 {
                    info!("the address is there now");
                }
                return Ok(bound);
            }
            Err(error) => return Err(error),
        };
        let sentence = format!("waiting for the address: {error:#}");
        if looks.is_multiple_of(SAID_AGAIN) {
            warn!("{sentence}");
        }
        notify::still_starting(&sentence, LOOK * 20);
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK).await;
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let udp = error.downcast_ref().map(BindError::of_system);
    let of_system = udp.or_else(|| error.downcast_ref()).and_then(io::Error::raw_os_error);
    of_system == Some(libc::EADDRNOTAVAIL)
}

/// Between two looks; DHCP takes seconds.
const LOOK: Duration = Duration::from_millis(500);
/// Said in the log at the first look and again once a minute.
const SAID_AGAIN: u32 = 120;

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn failing(code: i32) -> anyhow::Result<()> {
        Err(io::Error::from_raw_os_error(code)).context("cannot listen")
    }

    /// As the UDP socket does.
    fn failing_udp(code: i32) -> anyhow::Result<()> {
        let address = ([192, 0, 2, 1], 4327).into();
        let error = io::Error::from_raw_os_error(code);
        Err(BindError::Listen { address, remedy: "give --bind", error }.into())
    }

    #[tokio::test]
    async fn an_address_that_comes_later_is_waited_for_and_nothing_else_is() {
        for failing in [failing, failing_udp] {
            let mut tries = 0;
            let bound = when_there(|| {
                tries += 1;
                if tries < 2 { failing(libc::EADDRNOTAVAIL) } else { Ok(()) }
            });
            bound.await.unwrap();
            assert_eq!(tries, 2);
            assert!(when_there(|| failing(libc::EADDRINUSE)).await.is_err());
        }
    }
}
