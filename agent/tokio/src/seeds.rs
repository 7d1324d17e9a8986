//! Seeds by name: looked up again and again, as names move.

use std::net::SocketAddr;

use tracing::debug;

/// What the seeds are called, and the last good answer for each.
#[derive(Debug)]
pub struct Seeds(Vec<(String, Vec<SocketAddr>)>);

impl Seeds {
    pub fn new(names: Vec<String>) -> Self {
        Self(names.into_iter().map(|name| (name, Vec::new())).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks for all of them. A name that does not resolve keeps its last addresses: a name server that is away for a moment
    /// takes no seed from us.
    pub async fn look_up(&mut self) -> Vec<SocketAddr> {
        for (name, known) in &mut self.0 {
            match tokio::net::lookup_host(name.as_str()).await {
                Ok(addresses) => {
                    let mut found: Vec<SocketAddr> = addresses.take(MOST_ADDRESSES).collect();
                    found.dedup();
                    if !found.is_empty() {
                        *known = found;
                    }
                }
                Err(error) => debug!(seed = %name, %error, kept = known.len(), "a seed does not resolve"),
            }
        }
        self.0.iter().flat_map(|(_, addresses)| addresses).copied().collect()
    }
}

/// Addresses that one name may stand for.
const MOST_ADDRESSES: usize = 32;
